"""Sealed tokens and wrapped keys: what they look like, and that nothing else opens."""

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.canonical import canonical
from scheduler.vault.envelope import (
    Context,
    TokenUnavailableError,
    WrappedKey,
    is_older,
    open_older_token,
    open_token,
    seal_token,
    unwrap_key,
    wrap_key,
)

DEK = bytes(range(32))
KEK = bytes(range(32, 64))
CONTEXT = Context(
    table="sealed_token",
    row="0193-row",
    account="0193-account",
    platform="mastodon",
    server="https://social.karvenia.example",
    external="1094",
    login="mfa@karvenia.example",
    kind="secret",
    generation=3,
)
TOKEN = "tok_Ljubnica-2026"
BLOB = seal_token(TOKEN, dek=DEK, dek_id=0x01020304, context=CONTEXT)
PLACE = WrappedKey(
    dek_id=7, purpose="token", subject="0193-account", kek_uri="file:", kek_version=2, blob=b""
)
WRAPPED = wrap_key(DEK, kek=KEK, place=PLACE)

OTHER_CONTEXTS = [
    replace(CONTEXT, table="webhook"),
    replace(CONTEXT, row="0193-rov"),
    replace(CONTEXT, account="0193-account2"),
    replace(CONTEXT, platform="bluesky"),
    replace(CONTEXT, server="https://social.karvenia.example.net"),
    replace(CONTEXT, external="1095"),
    replace(CONTEXT, login="mfa@karvenia.example.net"),
    replace(CONTEXT, kind="session"),
    replace(CONTEXT, generation=2),
    replace(CONTEXT, row=CONTEXT.account, account=CONTEXT.row),
]
OTHER_PLACES = [
    replace(WRAPPED, dek_id=8),
    replace(WRAPPED, purpose="pii"),
    replace(WRAPPED, subject="0193-account2"),
    replace(WRAPPED, kek_uri="vault:"),
    replace(WRAPPED, kek_version=1),
]


def opened(blob: bytes, context: Context = CONTEXT, dek_id: int = 0x01020304) -> str:
    return open_token(blob, dek=DEK, dek_id=dek_id, context=context)


def unwrapped(blob: bytes) -> bytes:
    return unwrap_key(replace(WRAPPED, blob=blob), kek=KEK)


def refuses(act: Callable[..., object], *args: object, **kwargs: object) -> bool:
    try:
        act(*args, **kwargs)
    except TokenUnavailableError as exc:
        return (
            str(exc).startswith("a sealed secret of this account cannot be opened")
            and exc.details == {}
            and exc.__cause__ is None
        )
    return False


def test_a_token_blob_is_laid_out_as_designed() -> None:
    assert BLOB[:4] == b"MT2\x01"
    assert BLOB[4:8] == b"\x01\x02\x03\x04"
    assert len(BLOB) == 8 + 12 + 64 + 16
    bound = b"chancery/token/v2\0" + BLOB[:8]
    bound += canonical(
        {
            "tbl": "sealed_token",
            "row": "0193-row",
            "acct": "0193-account",
            "platform": "mastodon",
            "server": "https://social.karvenia.example",
            "ext": "1094",
            "login": "mfa@karvenia.example",
            "kind": "secret",
            "gen": 3,
        }
    )
    padded = AESGCM(DEK).decrypt(BLOB[8:20], BLOB[20:], bound)
    assert padded == TOKEN.encode() + b"\x80" + bytes(64 - len(TOKEN) - 1)


def test_a_wrapped_key_is_laid_out_as_designed() -> None:
    assert replace(WRAPPED, blob=b"") == PLACE
    assert WRAPPED.blob[:4] == b"MK1\x01"
    assert len(WRAPPED.blob) == 4 + 12 + 32 + 16
    bound = b"chancery/dek/v1\0" + canonical(
        {
            "dek_id": 7,
            "kek_uri": "file:",
            "kek_version": 2,
            "purpose": "token",
            "subject": "0193-account",
        }
    )
    assert AESGCM(KEK).decrypt(WRAPPED.blob[4:16], WRAPPED.blob[16:], bound) == DEK
    assert unwrap_key(WRAPPED, kek=KEK) == DEK


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_every_token_comes_back_and_its_length_is_hidden(token: str) -> None:
    blob = seal_token(token, dek=DEK, dek_id=1, context=CONTEXT)
    assert opened(blob, dek_id=1) == token
    assert (len(blob) - 36) % 64 == 0
    assert len(blob) - 36 - len(token.encode()) in range(1, 65)


@pytest.mark.parametrize("token", ["", "\0", "x\0\0", "x\x80", "\x80\0", "č" * 31 + "x", "x" * 64])
def test_tokens_that_look_like_padding_come_back(token: str) -> None:
    assert opened(seal_token(token, dek=DEK, dek_id=1, context=CONTEXT), dek_id=1) == token


@pytest.mark.parametrize(("length", "blocks"), [(0, 1), (62, 1), (63, 1), (64, 2), (127, 2)])
def test_padding_fills_blocks_of_64(length: int, blocks: int) -> None:
    blob = seal_token("x" * length, dek=DEK, dek_id=1, context=CONTEXT)
    assert len(blob) == 36 + 64 * blocks


def test_no_two_blobs_are_alike() -> None:
    blobs = {seal_token(TOKEN, dek=DEK, dek_id=1, context=CONTEXT) for _ in range(50)}
    assert len({blob[8:20] for blob in blobs}) == 50
    assert len({wrap_key(DEK, kek=KEK, place=PLACE).blob[4:16] for _ in range(50)}) == 50


def test_every_flipped_bit_of_a_blob_is_refused() -> None:
    tried = 0
    for index in range(len(BLOB)):
        for bit in range(8):
            flipped = BLOB[:index] + bytes([BLOB[index] ^ 1 << bit]) + BLOB[index + 1 :]
            assert refuses(opened, flipped)
            tried += 1
    assert tried == 800


def test_every_truncation_and_extension_of_a_blob_is_refused() -> None:
    for length in range(len(BLOB)):
        assert refuses(opened, BLOB[:length])
        assert refuses(opened, BLOB[length + 1 :])
    assert refuses(opened, BLOB + b"\0")


def test_every_flipped_bit_and_truncation_of_a_wrapped_key_is_refused() -> None:
    blob = WRAPPED.blob
    forged = [blob[:length] for length in range(len(blob))]
    forged += [
        blob[:index] + bytes([blob[index] ^ 1 << bit]) + blob[index + 1 :]
        for index in range(len(blob))
        for bit in range(8)
    ]
    assert len(forged) == 64 + 512
    for item in forged:
        assert refuses(unwrapped, item)


@pytest.mark.parametrize("context", OTHER_CONTEXTS)
def test_a_token_moved_to_another_place_does_not_open(context: Context) -> None:
    assert opened(BLOB) == TOKEN
    assert refuses(opened, BLOB, context)


@pytest.mark.parametrize("place", OTHER_PLACES)
def test_a_wrapped_key_moved_to_another_row_does_not_open(place: WrappedKey) -> None:
    assert refuses(unwrap_key, place, kek=KEK)


def test_tokens_of_many_rows_cannot_be_swapped() -> None:
    contexts = [
        replace(CONTEXT, row=f"row-{row}", generation=generation)
        for row in range(6)
        for generation in range(6)
    ]
    blobs = [seal_token(TOKEN, dek=DEK, dek_id=1, context=context) for context in contexts]
    for here, context in enumerate(contexts):
        for there, blob in enumerate(blobs):
            if here == there:
                assert opened(blob, context, 1) == TOKEN
            else:
                assert refuses(opened, blob, context, 1)


def test_another_key_or_key_id_does_not_open() -> None:
    assert refuses(opened, BLOB, dek_id=0x01020305)
    assert refuses(open_token, BLOB, dek=KEK, dek_id=0x01020304, context=CONTEXT)
    assert refuses(unwrap_key, WRAPPED, kek=DEK)


def test_a_blob_of_another_version_or_algorithm_is_refused_even_when_its_tag_fits() -> None:
    for start in (b"MT3\x01", b"MT2\x02"):
        header = start + struct.pack(">I", 1)
        bound = b"chancery/token/v2\0" + header + CONTEXT.bound()
        blob = header + bytes(12) + AESGCM(DEK).encrypt(bytes(12), b"x\x80" + bytes(62), bound)
        assert refuses(opened, blob, dek_id=1)
    for start in (b"MK2\x01", b"MK1\x02"):
        blob = start + WRAPPED.blob[4:]
        assert refuses(unwrapped, blob)


def test_a_blob_of_the_format_before_opens_only_to_be_sealed_anew() -> None:
    header = b"MT1\x01" + struct.pack(">I", 1)
    place = {
        "tbl": "sealed_token",
        "row": "0193-row",
        "acct": "0193-account",
        "platform": "mastodon",
        "kind": "secret",
        "gen": 3,
    }
    bound = b"chancery/token/v1\0" + header + canonical(place)
    blob = header + bytes(12) + AESGCM(DEK).encrypt(bytes(12), b"x\x80" + bytes(62), bound)
    assert refuses(opened, blob, dek_id=1)
    assert is_older(blob)
    assert not is_older(BLOB)
    assert open_older_token(blob, dek=DEK, dek_id=1, context=CONTEXT) == "x"
    elsewhere = replace(CONTEXT, row="0193-rov")
    assert refuses(open_older_token, blob, dek=DEK, dek_id=1, context=elsewhere)
    assert refuses(open_older_token, BLOB, dek=DEK, dek_id=0x01020304, context=CONTEXT)


def test_a_data_key_id_has_32_bits() -> None:
    for dek_id in (0, 2**32 - 1):
        blob = seal_token(TOKEN, dek=DEK, dek_id=dek_id, context=CONTEXT)
        assert opened(blob, dek_id=dek_id) == TOKEN
    for dek_id in (-1, 2**32):
        with pytest.raises(ValueError, match="32 bits"):
            seal_token(TOKEN, dek=DEK, dek_id=dek_id, context=CONTEXT)


def test_the_refusal_has_a_code() -> None:
    assert (TokenUnavailableError().code, TokenUnavailableError().status) == (
        "token_unavailable",
        503,
    )
