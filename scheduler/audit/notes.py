"""Signed notes: https://c2sp.org/signed-note, with the signature types our log uses.

Type 0x01 signs the note's text with Ed25519. Type 0x06 is the ML-DSA-44 cosignature of
https://c2sp.org/tlog-cosignature: the text must be a checkpoint, and what is signed is a structure of its three values,
the signer's name and the time, which stands in front of the signature.
"""

import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from scheduler.audit.checkpoint import Checkpoint
from scheduler.audit.parsing import MalformedError, decode_base64, encode_base64
from scheduler.errors import InvalidError

MAX_NOTE_SIZE: Final = 1 << 20
MAX_SIGNATURES: Final = 100  #: the specification asks for 16 at least

_KEY_ID_SIZE: Final = 4
_MAX_NAME_SIZE: Final = 255  # one length byte in what ML-DSA signs
_MAX_TIMESTAMP: Final = 2**63 - 1
_LABEL: Final = b"subtree/v1\n\0"
_DASH: Final = "— "
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}")


class SignatureRejectedError(InvalidError):
    """No trusted key signed, or a trusted key's signature does not fit."""

    code = "signature_rejected"


class SignatureType(IntEnum):
    """The signature type byte of the specification."""

    ED25519 = 0x01
    ML_DSA_44 = 0x06

    @property
    def key_size(self) -> int:
        return 32 if self is SignatureType.ED25519 else 1312


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key under a name; its text form is the specification's vkey.

    Raises:
        MalformedError: a name with a space or plus, or a key of another size.
    """

    name: str
    type: SignatureType
    public_key: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name) or len(self.name.encode()) > _MAX_NAME_SIZE:
            raise MalformedError(f"{self.name!r} is no name for a key")
        if len(self.public_key) != self.type.key_size:
            raise MalformedError(f"a key of {self.name} has the wrong size")

    @property
    def key_id(self) -> bytes:
        material = self.name.encode() + b"\n" + bytes([self.type]) + self.public_key
        return hashlib.sha256(material).digest()[:_KEY_ID_SIZE]

    def __str__(self) -> str:
        material = encode_base64(bytes([self.type]) + self.public_key)
        return f"{self.name}+{self.key_id.hex()}+{material}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read a vkey.

        Raises:
            MalformedError: not a vkey, of another type, or the id does not belong to the key.
        """
        name, _, rest = text.partition("+")
        key_id, _, material = rest.partition("+")
        if not _KEY_ID.fullmatch(key_id):
            raise MalformedError("a vkey is name+id+key")
        data = decode_base64(material)
        if not data or data[0] not in set(SignatureType):
            raise MalformedError(f"the key of {name!r} has a type not used here")
        key = cls(name=name, type=SignatureType(data[0]), public_key=data[1:])
        if key.key_id.hex() != key_id:
            raise MalformedError(f"the id {key_id} does not belong to the key of {name!r}")
        return key

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Whether this key made `signature` over a note of `text`."""
        try:
            if self.type is SignatureType.ED25519:
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text)
            else:
                (timestamp_s,) = struct.unpack_from(">Q", signature)
                message = cosigned_message(
                    self.name, Checkpoint.parse(text), timestamp_s=timestamp_s
                )
                key = MLDSA44PublicKey.from_public_bytes(self.public_key)
                key.verify(signature[8:], message)
        except (InvalidSignature, struct.error, MalformedError):
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text, with its final newline, and the signatures under it; parsing proves nothing yet."""

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        return self.text + b"\n" + "".join(item.line() for item in self.signatures).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Note":
        """Read a note.

        Raises:
            MalformedError: not UTF-8, a control character, no signature, or a line that is none.
        """
        if len(data) > MAX_NOTE_SIZE:
            raise MalformedError("the note is too large")
        try:
            note = data.decode()
        except UnicodeDecodeError as exc:
            raise MalformedError("a note is UTF-8") from exc
        if any(char < " " and char != "\n" for char in note):
            raise MalformedError("a note has no control characters")
        text, blank, under = note.rpartition("\n\n")
        if not blank or not under.endswith("\n"):
            raise MalformedError("a note is a text, an empty line and signature lines")
        lines = under[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise MalformedError(f"a note has at most {MAX_SIGNATURES} signatures")
        return cls(
            text=f"{text}\n".encode(), signatures=tuple(_parse_signature(line) for line in lines)
        )

    def verify(self, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
        """Return the keys that signed; signatures of unknown keys do not count.

        Raises:
            SignatureRejectedError: none of the keys signed, or the signature of one does not fit.
        """
        known = {(key.name, key.key_id): key for key in keys}
        signers = []
        for item in self.signatures:
            key = known.get((item.name, item.key_id))
            if key is None:
                continue
            if not key.accepts(self.text, item.signature):
                raise SignatureRejectedError(f"the signature of {item.name} does not fit")
            signers.append(key)
        if not signers:
            raise SignatureRejectedError("no trusted key signed this note")
        return tuple(signers)


def is_key_name(name: str) -> bool:
    """Whether a key may have this name: no spaces, no plus, no control characters."""
    return bool(name) and not any(char in "+\x7f" or char.isspace() or char < " " for char in name)


def cosigned_message(name: str, checkpoint: Checkpoint, *, timestamp_s: int) -> bytes:
    """The bytes an ML-DSA-44 cosigner `name` signs for a whole tree, as the specification lays them out.

    Raises:
        MalformedError: a name, origin, size or time the structure has no room for.
    """
    cosigner, origin = name.encode(), checkpoint.origin.encode()
    if not all(0 < len(item) <= _MAX_NAME_SIZE for item in (cosigner, origin)):
        raise MalformedError("a cosigner and an origin have 1 to 255 bytes")
    if not 0 <= timestamp_s <= _MAX_TIMESTAMP:
        raise MalformedError("a cosignature's time is from 1970 on")
    return b"".join(
        (
            _LABEL,
            bytes([len(cosigner)]) + cosigner,
            struct.pack(">Q", timestamp_s),
            bytes([len(origin)]) + origin,
            struct.pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        )
    )


def _parse_signature(line: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not is_key_name(name):
        raise MalformedError("a signature line is a dash, a name and base64")
    data = decode_base64(encoded)
    if len(data) <= _KEY_ID_SIZE:
        raise MalformedError(f"the signature of {name} is too short")
    return NoteSignature(name=name, key_id=data[:_KEY_ID_SIZE], signature=data[_KEY_ID_SIZE:])
