"""Signed notes, checkpoints and the keys of the log."""

import base64
import hashlib
import struct
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from scheduler.audit.checkpoint import Checkpoint
from scheduler.audit.keys import InstancePublicKey, LogKeys, Trust
from scheduler.audit.notes import (
    MAX_NOTE_SIZE,
    Note,
    NoteSignature,
    SignatureRejectedError,
    SignatureType,
    VerifierKey,
    cosigned_message,
    is_key_name,
)
from scheduler.audit.parsing import MalformedError
from tests.support.audit_log import INSTANCE, LOG_KEYS, NOON, ORIGIN, TRUST

ROOT = hashlib.sha256(b"root").digest()
CHECKPOINT = Checkpoint(origin=ORIGIN, size=300, root=ROOT)
TEXT = f"{ORIGIN}\n300\n{base64.b64encode(ROOT).decode()}\n".encode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
ED25519, ML_DSA = LOG_KEYS.verifier_keys()
NOTE = Note.parse(LOG_KEYS.sign_checkpoint(size=300, root=ROOT, at=NOON))


def key_named(name: str) -> VerifierKey:
    public = PRIVATE.public_key().public_bytes_raw()
    return VerifierKey(name=name, type=SignatureType.ED25519, public_key=public)


def signed_by(key: VerifierKey, text: bytes) -> NoteSignature:
    return NoteSignature(name=key.name, key_id=key.key_id, signature=PRIVATE.sign(text))


# Checkpoints


def test_a_checkpoint_is_exactly_three_lines() -> None:
    assert CHECKPOINT.text() == TEXT
    assert Checkpoint.parse(TEXT) == CHECKPOINT
    empty = Checkpoint(origin=ORIGIN, size=0, root=ROOT)
    assert Checkpoint.parse(empty.text()) == empty


@pytest.mark.parametrize(
    "text",
    [
        b"",
        TEXT[:-1],
        TEXT + b"\n",
        TEXT + b"extension\n",
        b"\n" + TEXT,
        TEXT.replace(ORIGIN.encode(), b""),
        TEXT.replace(b"300", b"0300"),
        TEXT.replace(b"300", b"00"),
        TEXT.replace(b"300", b"+300"),
        TEXT.replace(b"300", b" 300"),
        TEXT.replace(b"300", "३".encode()),
        TEXT.replace(b"300", b"9" * 20),
        TEXT.replace(b"300", b""),
        TEXT.replace(b"=", b""),
        TEXT.replace(b"300\n", b"300\nAA"),
        TEXT.replace(b"300\n", b"300\nAAAA"),
        TEXT.replace(base64.b64encode(ROOT), base64.b64encode(ROOT[:31])),
        TEXT.replace(base64.b64encode(ROOT), base64.b64encode(ROOT + b"x")),
        TEXT.replace(b"audit", b"\xff\xfe"),
    ],
)
def test_anything_else_is_no_checkpoint(text: bytes) -> None:
    with pytest.raises(MalformedError, match=r"checkpoint|base64"):
        Checkpoint.parse(text)


# Keys as text


def test_a_vkey_has_the_name_the_id_and_the_typed_key() -> None:
    material = b"\x01" + ED25519.public_key
    key_id = hashlib.sha256(ORIGIN.encode() + b"\n" + material).digest()[:4]
    assert ED25519.key_id == key_id
    assert str(ED25519) == f"{ORIGIN}+{key_id.hex()}+{base64.b64encode(material).decode()}"
    material = b"\x06" + ML_DSA.public_key
    assert len(material) == 1313
    assert ML_DSA.key_id == hashlib.sha256(ORIGIN.encode() + b"\n" + material).digest()[:4]


@pytest.mark.parametrize("key", [ED25519, ML_DSA, key_named("witness.karvenia.example/č")])
def test_a_vkey_is_read_back(key: VerifierKey) -> None:
    assert VerifierKey.parse(str(key)) == key


def vkey(name: str, data: bytes, key_id: str | None = None) -> str:
    key_id = key_id or hashlib.sha256(name.encode() + b"\n" + data).digest()[:4].hex()
    return f"{name}+{key_id}+{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ORIGIN,
        vkey(ORIGIN, b""),
        vkey(ORIGIN, b"\x01" + b"k" * 31),
        vkey(ORIGIN, b"\x01" + b"k" * 33),
        vkey(ORIGIN, b"\x06" + b"k" * 32),
        vkey(ORIGIN, b"\x04" + b"k" * 32),
        vkey(ORIGIN, b"\x01" + b"k" * 32, "00000000"),
        vkey("", b"\x01" + b"k" * 32),
        vkey("two words", b"\x01" + b"k" * 32),
        vkey("n" * 256, b"\x01" + b"k" * 32),
        str(ED25519).upper(),
        str(ED25519) + " ",
        str(ED25519) + "+",
        str(ED25519).replace("+", "+0x", 1),
    ],
)
def test_anything_else_is_no_vkey(text: str) -> None:
    with pytest.raises(MalformedError, match=r"key|base64"):
        VerifierKey.parse(text)


def test_a_key_may_have_a_name_of_255_bytes() -> None:
    assert key_named("n" * 255).name == "n" * 255
    with pytest.raises(MalformedError, match="no name"):
        key_named("č" * 128)


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\tb", "a\x00b", "\x7f"]
)
def test_a_name_with_spaces_plus_or_controls_is_none(name: str) -> None:
    assert not is_key_name(name)
    assert is_key_name("audit.karvenia.example/log1~č")


# Notes


def test_a_note_is_read_back_byte_for_byte() -> None:
    key = key_named("desk.karvenia.example")
    text = b"Prvi odstavek\n\nDrugi odstavek\n"
    note = Note(text=text, signatures=(signed_by(key, text),))
    data = text + f"\n— desk.karvenia.example {encoded(note)}\n".encode()
    assert note.encode() == data
    assert Note.parse(data) == note
    assert note.verify([key]) == (key,)


def encoded(note: Note) -> str:
    item = note.signatures[0]
    return base64.b64encode(item.key_id + item.signature).decode()


SIGNED = NOTE.encode()
LINE = SIGNED.split(b"\n\n")[1]
SIGNATURE = base64.b64encode(b"keyidsignature").decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        TEXT,
        TEXT + b"\n",
        TEXT + b"\n\n",
        LINE,
        SIGNED[:-1],
        SIGNED + b"\n",
        SIGNED.replace(b"\n\n", b"\n"),
        SIGNED + b"more\n",
        SIGNED.replace("—".encode(), b"-"),
        SIGNED.replace("— ".encode(), "—".encode()),
        SIGNED.replace(b"300", b"300\t"),
        SIGNED.replace(b"300", b"300\r"),
        SIGNED.replace(b"300", b"\xff"),
        TEXT + f"\n— {ORIGIN}\n".encode(),
        TEXT + f"\n—  {SIGNATURE}\n".encode(),
        TEXT + f"\n— a+b {SIGNATURE}\n".encode(),
        TEXT + f"\n— {ORIGIN} {SIGNATURE} \n".encode(),
        TEXT + f"\n— {ORIGIN} {SIGNATURE[:-1]}\n".encode(),
        TEXT + f"\n— {ORIGIN} {base64.b64encode(b'keyi').decode()}\n".encode(),
        TEXT + f"\n— {ORIGIN} a2V5aWR=\n".encode(),  # stray bits behind the last byte
        TEXT + b"\n" + LINE.splitlines(keepends=True)[0] * 101,
        b"x" * (MAX_NOTE_SIZE + 1 - len(SIGNED)) + SIGNED,
    ],
)
def test_anything_else_is_no_note(data: bytes) -> None:
    with pytest.raises(MalformedError, match=r"note|signature|base64"):
        Note.parse(data)


def test_a_note_of_the_largest_size_is_read() -> None:
    assert MAX_NOTE_SIZE == 1_048_576
    assert Note.parse(b"x" * (MAX_NOTE_SIZE - len(SIGNED)) + SIGNED).signatures == NOTE.signatures


def test_a_signature_of_one_byte_is_long_enough_to_be_read() -> None:
    note = Note.parse(TEXT + f"\n— {ORIGIN} {base64.b64encode(b'keyid').decode()}\n".encode())
    assert note.signatures[0] == NoteSignature(name=ORIGIN, key_id=b"keyi", signature=b"d")


def test_a_hundred_signatures_are_accepted_and_unknown_ones_ignored() -> None:
    keys = [key_named(f"witness{number}.karvenia.example") for number in range(100)]
    note = Note(text=TEXT, signatures=tuple(signed_by(key, TEXT) for key in keys))
    assert Note.parse(note.encode()).verify([keys[99], keys[16]]) == (keys[16], keys[99])


def test_a_known_key_whose_signature_does_not_fit_rejects_the_note() -> None:
    good, bad = key_named("good.karvenia.example"), key_named("bad.karvenia.example")
    note = Note(text=TEXT, signatures=(signed_by(good, TEXT), signed_by(bad, TEXT + b"x")))
    assert note.verify([good]) == (good,)
    with pytest.raises(SignatureRejectedError, match=r"bad.karvenia.example does not fit"):
        note.verify([good, bad])


def test_a_key_that_shares_only_the_name_or_only_the_id_is_unknown() -> None:
    key = key_named("desk.karvenia.example")
    signature = signed_by(key, TEXT)
    for name, key_id in ((key.name, b"\x00" * 4), ("other.karvenia.example", key.key_id)):
        line = NoteSignature(name=name, key_id=key_id, signature=signature.signature)
        with pytest.raises(SignatureRejectedError, match="no trusted key"):
            Note(text=TEXT, signatures=(line,)).verify([key])


def test_a_note_without_a_trusted_signature_is_rejected() -> None:
    with pytest.raises(SignatureRejectedError, match="no trusted key"):
        NOTE.verify([])
    assert SignatureRejectedError.code == "signature_rejected"


# The log's own checkpoints


def test_the_log_signs_with_both_algorithms() -> None:
    assert NOTE.text == TEXT
    assert [item.name for item in NOTE.signatures] == [ORIGIN, ORIGIN]
    assert NOTE.verify(LOG_KEYS.verifier_keys()) == (ED25519, ML_DSA)
    assert NOTE.verify([ML_DSA]) == (ML_DSA,)
    assert NOTE.verify([ED25519]) == (ED25519,)


def test_ed25519_signs_the_text_of_the_checkpoint() -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    assert key.public_key().public_bytes_raw() == ED25519.public_key
    assert NOTE.signatures[0].signature == key.sign(TEXT)


def test_ml_dsa_signs_the_cosigned_message_and_carries_its_time() -> None:
    key = MLDSA44PrivateKey.from_seed_bytes(b"\x02" * 32)
    assert key.public_key().public_bytes_raw() == ML_DSA.public_key
    name = ORIGIN.encode()
    seconds = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp())
    message = (
        b"subtree/v1\n\x00"
        + bytes([len(name)])
        + name
        + seconds.to_bytes(8, "big")
        + bytes([len(name)])
        + name
        + bytes(8)
        + (300).to_bytes(8, "big")
        + ROOT
    )
    assert cosigned_message(ORIGIN, CHECKPOINT, timestamp_s=seconds) == message
    signature = NOTE.signatures[1].signature
    assert len(signature) == 8 + 2420
    assert signature[:8] == seconds.to_bytes(8, "big")
    MLDSA44PublicKey.from_public_bytes(ML_DSA.public_key).verify(signature[8:], message)


def test_no_byte_of_a_signature_or_of_the_text_can_be_changed() -> None:
    for position, key in enumerate((ED25519, ML_DSA)):
        signature = NOTE.signatures[position].signature
        assert key.accepts(TEXT, signature)
        for index in {0, 7, 8, 31, 63, len(signature) - 1}:
            changed = bytearray(signature)
            changed[index] ^= 1
            assert not key.accepts(TEXT, bytes(changed))
        for other in (TEXT.replace(b"300", b"301"), TEXT.replace(b"log1", b"log2"), b"text\n"):
            assert not key.accepts(other, signature)
        for wrong in (b"", signature[:7], signature[:-1], signature + b"x"):
            assert not key.accepts(TEXT, wrong)


def test_a_signature_under_another_name_does_not_fit() -> None:
    other = LogKeys.from_seeds(origin="other", ed25519=b"\x01" * 32, ml_dsa_44=b"\x02" * 32)
    assert not other.verifier_keys()[1].accepts(TEXT, NOTE.signatures[1].signature)


def test_a_time_after_the_limit_of_the_specification_is_refused() -> None:
    latest = cosigned_message(ORIGIN, CHECKPOINT, timestamp_s=2**63 - 1)
    assert struct.pack(">Q", 2**63 - 1) in latest
    with pytest.raises(MalformedError, match="from 1970"):
        cosigned_message(ORIGIN, CHECKPOINT, timestamp_s=2**63)
    with pytest.raises(MalformedError, match="from 1970"):
        cosigned_message(ORIGIN, CHECKPOINT, timestamp_s=-1)
    assert not ML_DSA.accepts(TEXT, b"\xff" * (8 + 2420))


@pytest.mark.parametrize(
    ("name", "origin"), [("", "o"), ("n", ""), ("n" * 256, "o"), ("n", "o" * 256)]
)
def test_the_signed_structure_has_room_for_255_bytes(name: str, origin: str) -> None:
    with pytest.raises(MalformedError, match="1 to 255"):
        cosigned_message(name, Checkpoint(origin=origin, size=1, root=ROOT), timestamp_s=0)
    assert cosigned_message(
        "n" * 255, Checkpoint(origin="o" * 255, size=1, root=ROOT), timestamp_s=0
    )


def test_a_checkpoint_is_not_signed_at_a_time_without_a_zone() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        LOG_KEYS.sign_checkpoint(size=1, root=ROOT, at=NOON.replace(tzinfo=None))


def test_a_log_needs_an_origin_that_can_be_a_key_name() -> None:
    with pytest.raises(MalformedError, match="no name"):
        LogKeys.from_seeds(origin="two words", ed25519=bytes(32), ml_dsa_44=bytes(32))


def test_private_keys_are_not_shown() -> None:
    assert repr(LOG_KEYS) == f"LogKeys(origin='{ORIGIN}')"
    assert "private" not in repr(INSTANCE).lower()


# The instance's key and the auditor's trust


def test_an_instance_key_is_named_by_the_hash_of_its_public_half() -> None:
    public = Ed25519PrivateKey.from_private_bytes(b"\x03" * 32).public_key().public_bytes_raw()
    assert INSTANCE.public == InstancePublicKey(public)
    assert INSTANCE.key_id == hashlib.sha256(public).hexdigest()[:16] == INSTANCE.public.key_id
    assert INSTANCE.public.accepts(b"message", INSTANCE.sign(b"message"))
    assert not INSTANCE.public.accepts(b"massage", INSTANCE.sign(b"message"))
    with pytest.raises(MalformedError, match="32 bytes"):
        InstancePublicKey(public[:-1])


def test_a_trust_file_has_one_key_a_line() -> None:
    data = TRUST.encode()
    public = INSTANCE.public.public_bytes.hex()
    assert data.decode() == f"log {ED25519}\nlog {ML_DSA}\ninstance {public}\n"
    assert Trust.parse(data) == TRUST
    assert Trust.parse(b"# kept in the safe\n\n" + data) == TRUST


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# nothing\n",
        f"instance {'0' * 64}\n".encode(),
        f"log {ED25519}\nwitness {ML_DSA}\n".encode(),
        f"log {ED25519}\ninstance {'0' * 63}\n".encode(),
        f"log {ED25519}\ninstance {'A' * 64}\n".encode(),
        f" log {ED25519}\n".encode(),
        f"log {ED25519} \n".encode(),
        b"\xff" + TRUST.encode(),
    ],
)
def test_anything_else_is_no_trust_file(data: bytes) -> None:
    with pytest.raises(MalformedError, match=r"trust|key|base64"):
        Trust.parse(data)
