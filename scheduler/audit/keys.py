"""The keys that make evidence: the log's pair signs checkpoints, the instance's signs transactions."""

import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from scheduler.audit.checkpoint import Checkpoint
from scheduler.audit.notes import (
    Note,
    NoteSignature,
    SignatureType,
    VerifierKey,
    cosigned_message,
)
from scheduler.audit.parsing import MalformedError

_INSTANCE_KEY_SIZE: Final = 32
_HEX_KEY: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeys:
    """Signs the checkpoints of one log, always with both algorithms."""

    origin: str
    _ed25519: Ed25519PrivateKey = field(repr=False)
    _ml_dsa_44: MLDSA44PrivateKey = field(repr=False)

    @classmethod
    def from_seeds(cls, *, origin: str, ed25519: bytes, ml_dsa_44: bytes) -> "LogKeys":
        """Both seeds are 32 bytes.

        Raises:
            MalformedError: the origin is no name for a key.
        """
        keys = cls(
            origin=origin,
            _ed25519=Ed25519PrivateKey.from_private_bytes(ed25519),
            _ml_dsa_44=MLDSA44PrivateKey.from_seed_bytes(ml_dsa_44),
        )
        keys.verifier_keys()
        return keys

    def verifier_keys(self) -> tuple[VerifierKey, VerifierKey]:
        """The public halves, to be published as `str(key)`: Ed25519, then ML-DSA-44."""
        return (
            VerifierKey(
                name=self.origin,
                type=SignatureType.ED25519,
                public_key=self._ed25519.public_key().public_bytes_raw(),
            ),
            VerifierKey(
                name=self.origin,
                type=SignatureType.ML_DSA_44,
                public_key=self._ml_dsa_44.public_key().public_bytes_raw(),
            ),
        )

    def sign_checkpoint(self, *, size: int, root: bytes, at: datetime) -> bytes:
        """The signed note of the log's head.

        Whoever calls must know that it extends every earlier checkpoint: to sign a fork ends the log's worth.
        """
        checkpoint = Checkpoint(origin=self.origin, size=size, root=root)
        if at.tzinfo is None:
            raise ValueError("an instant needs a zone")
        timestamp_s = int(at.timestamp())
        message = cosigned_message(self.origin, checkpoint, timestamp_s=timestamp_s)
        signatures = (
            self._ed25519.sign(checkpoint.text()),
            struct.pack(">Q", timestamp_s) + self._ml_dsa_44.sign(message),
        )
        note = Note(
            text=checkpoint.text(),
            signatures=tuple(
                NoteSignature(name=key.name, key_id=key.key_id, signature=signature)
                for key, signature in zip(self.verifier_keys(), signatures, strict=True)
            ),
        )
        return note.encode()


@dataclass(frozen=True, slots=True)
class InstancePublicKey:
    """An instance's public key; records name it by `key_id`.

    Raises:
        MalformedError: not 32 bytes.
    """

    public_bytes: bytes

    def __post_init__(self) -> None:
        if len(self.public_bytes) != _INSTANCE_KEY_SIZE:
            raise MalformedError("an instance key has 32 bytes")

    @property
    def key_id(self) -> str:
        """16 hex digits."""
        return hashlib.sha256(self.public_bytes).hexdigest()[:16]

    def accepts(self, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public_bytes).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceKey:
    """Signs the records of every transaction of this installation."""

    public: InstancePublicKey
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> "InstanceKey":
        private = Ed25519PrivateKey.from_private_bytes(seed)
        public = InstancePublicKey(private.public_key().public_bytes_raw())
        return cls(public=public, _private=private)

    @property
    def key_id(self) -> str:
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The keys an auditor believes, kept apart from the exports they judge.

    The text has one key a line: `log <vkey>` or `instance <64 hex digits>`; lines with `#` in front are remarks.
    """

    log: tuple[VerifierKey, ...]
    instances: tuple[InstancePublicKey, ...]

    def encode(self) -> bytes:
        lines = [f"log {key}" for key in self.log]
        lines += [f"instance {key.public_bytes.hex()}" for key in self.instances]
        return "".join(f"{line}\n" for line in lines).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Trust":
        """Read what `encode` wrote.

        Raises:
            MalformedError: another line, or no key of a log.
        """
        try:
            lines = [line for line in data.decode().split("\n") if line and line[0] != "#"]
        except UnicodeDecodeError as exc:
            raise MalformedError("a trust file is UTF-8") from exc
        log, instances = [], []
        for line in lines:
            kind, _, key = line.partition(" ")
            match kind:
                case "log":
                    log.append(VerifierKey.parse(key))
                case "instance":
                    instances.append(_parse_instance(key))
                case _:
                    raise MalformedError(f"a trust file has no line {kind[:32]!r}")
        if not log:
            raise MalformedError("a trust file names a log")
        return cls(log=tuple(log), instances=tuple(instances))


def build_trust(log: LogKeys, instances: Iterable[InstanceKey]) -> Trust:
    """The public halves of an installation's keys."""
    return Trust(log=log.verifier_keys(), instances=tuple(key.public for key in instances))


def _parse_instance(text: str) -> InstancePublicKey:
    if not _HEX_KEY.fullmatch(text):
        raise MalformedError("an instance key is 64 hex digits")
    return InstancePublicKey(bytes.fromhex(text))
