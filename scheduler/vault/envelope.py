"""Sealed bytes: a token under its account's data key, and a data key under the installation's key.

Token blob: `MT2`, algorithm 1 (AES-256-GCM), data key id (u32), nonce (12), ciphertext, tag (16). The plaintext is the
token, 0x80 and zeros up to a multiple of 64, so that the length tells no kind of token. Wrapped key: `MK1`, algorithm,
nonce (12), ciphertext (32), tag (16). Where a blob belongs is bound into it: moved to another row it does not open.
`MT1` bound less in; such a blob opens only to be sealed anew.
"""

import os
import struct
from dataclasses import dataclass, replace
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scheduler.canonical import JsonValue, canonical
from scheduler.errors import UnavailableError

KEY_SIZE: Final = 32

_AES_256_GCM: Final = 1
_TOKEN_MAGIC: Final = b"MT2"
_OLDER_TOKEN_MAGIC: Final = b"MT1"
_KEY_HEADER: Final = b"MK1" + bytes([_AES_256_GCM])
_TOKEN_LABEL: Final = b"chancery/token/v2\0"
_OLDER_TOKEN_LABEL: Final = b"chancery/token/v1\0"
_KEY_LABEL: Final = b"chancery/dek/v1\0"
_NONCE_SIZE: Final = 12
_PAD_MARK: Final = b"\x80"
_PAD_BLOCK: Final = 64


class TokenUnavailableError(UnavailableError):
    """The one answer to whatever is wrong with sealed bytes: it says nothing about the cause."""

    code = "token_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "a sealed secret of this account cannot be opened: the key is missing, or the account was changed by hand"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The one place where a sealed token belongs, and the one profile it may be shown to.

    `server`, `external` and `login` are the account's; `generation` counts the token's renewals.
    """

    table: str
    row: str
    account: str
    platform: str
    server: str
    external: str
    login: str
    kind: str
    generation: int

    def bound(self) -> bytes:
        return canonical(
            self._place() | {"server": self.server, "ext": self.external, "login": self.login}
        )

    def bound_before(self) -> bytes:
        """What `MT1` bound in: not where the token may go."""
        return canonical(self._place())

    def _place(self) -> dict[str, JsonValue]:
        return {
            "tbl": self.table,
            "row": self.row,
            "acct": self.account,
            "platform": self.platform,
            "kind": self.kind,
            "gen": self.generation,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key as the database keeps it, with all that is bound into the blob."""

    dek_id: int
    purpose: str
    subject: str
    kek_uri: str
    kek_version: int
    blob: bytes

    def bound(self) -> bytes:
        return _KEY_LABEL + canonical(
            {
                "dek_id": self.dek_id,
                "kek_uri": self.kek_uri,
                "kek_version": self.kek_version,
                "purpose": self.purpose,
                "subject": self.subject,
            }
        )


def seal_token(secret: str, *, dek: bytes, dek_id: int, context: Context) -> bytes:
    """Seal a token; two calls never give the same bytes.

    Raises:
        ValueError: the id does not fit into 32 bits.
    """
    if not 0 <= dek_id < 1 << 32:
        raise ValueError("a data key id has 32 bits")
    header = _header(_TOKEN_MAGIC, dek_id)
    nonce = os.urandom(_NONCE_SIZE)
    bound = _TOKEN_LABEL + header + context.bound()
    return header + nonce + AESGCM(dek).encrypt(nonce, _pad(secret.encode()), bound)


def open_token(blob: bytes, *, dek: bytes, dek_id: int, context: Context) -> str:
    """Open what `seal_token` sealed with this key for this context.

    Raises:
        TokenUnavailableError: anything else, whatever the reason.
    """
    header = _header(_TOKEN_MAGIC, dek_id)
    return _open(blob, header, dek, _TOKEN_LABEL + header + context.bound())


def is_older(blob: bytes) -> bool:
    """Whether the blob is of the format before, which says nothing of the server the token may go to."""
    return blob.startswith(_OLDER_TOKEN_MAGIC)


def open_older_token(blob: bytes, *, dek: bytes, dek_id: int, context: Context) -> str:
    """Open a blob of the format before, to seal it anew; its server has to be believed on other grounds.

    Raises:
        TokenUnavailableError: anything else, whatever the reason.
    """
    header = _header(_OLDER_TOKEN_MAGIC, dek_id)
    return _open(blob, header, dek, _OLDER_TOKEN_LABEL + header + context.bound_before())


def wrap_key(dek: bytes, *, kek: bytes, place: WrappedKey) -> WrappedKey:
    """Return the place with the blob of `dek` in it; what blob it had before does not matter."""
    nonce = os.urandom(_NONCE_SIZE)
    sealed = AESGCM(kek).encrypt(nonce, dek, place.bound())
    return replace(place, blob=_KEY_HEADER + nonce + sealed)


def unwrap_key(wrapped: WrappedKey, *, kek: bytes) -> bytes:
    """The data key.

    Raises:
        TokenUnavailableError: not wrapped with this key for this place.
    """
    if not wrapped.blob.startswith(_KEY_HEADER):
        raise TokenUnavailableError
    return _decrypt(wrapped.blob[len(_KEY_HEADER) :], kek, wrapped.bound())


def _header(magic: bytes, dek_id: int) -> bytes:
    return magic + struct.pack(">BI", _AES_256_GCM, dek_id)


def _open(blob: bytes, header: bytes, dek: bytes, bound: bytes) -> str:
    if not blob.startswith(header):
        raise TokenUnavailableError
    return _unpad(_decrypt(blob[len(header) :], dek, bound)).decode()


def _decrypt(sealed: bytes, key: bytes, bound: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], bound)
    except (InvalidTag, ValueError):  # ValueError: cut short
        raise TokenUnavailableError from None


def _pad(secret: bytes) -> bytes:
    marked = secret + _PAD_MARK
    return marked + bytes(-len(marked) % _PAD_BLOCK)


def _unpad(padded: bytes) -> bytes:
    """Only what `_pad` made arrives here: the tag has been checked."""
    return padded.rstrip(b"\0").removesuffix(_PAD_MARK)
