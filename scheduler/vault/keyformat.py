"""What the installation's key file holds, as JSON: keys in base64, 32 bytes each."""

import base64
import binascii
import json
import secrets
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from scheduler.errors import InvalidError
from scheduler.vault.envelope import KEY_SIZE

_VERSION: Final = 1


class KeyFileInvalidError(InvalidError):
    """The key file is not one, or was damaged; the keys are nowhere else, so restore it from its copy."""

    code = "key_file_invalid"


class KeyState(StrEnum):
    """Where a key-encrypting key is in its life; nothing ever goes back."""

    CURRENT = "current"  #: wraps and unwraps; there is exactly one
    PREVIOUS = "previous"  #: only unwraps
    RETIRED = "retired"  #: destroyed; its number is never used again


@dataclass(frozen=True, slots=True, kw_only=True)
class KekVersion:
    version: int
    state: KeyState
    key: bytes | None = field(repr=False)  #: None when retired


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSeeds:
    """The seeds of the log's two signing keys and the origin they sign for."""

    origin: str
    ed25519: bytes = field(repr=False)
    ml_dsa_44: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """All keys of an installation; `versions` are in ascending order."""

    versions: tuple[KekVersion, ...]
    log: LogSeeds
    instance_seed: bytes = field(repr=False)
    derivation_key: bytes = field(repr=False)

    @classmethod
    def generate(cls, *, origin: str) -> "KeyFile":
        first = KekVersion(version=1, state=KeyState.CURRENT, key=secrets.token_bytes(KEY_SIZE))
        return cls(
            versions=(first,),
            log=LogSeeds(
                origin=origin,
                ed25519=secrets.token_bytes(KEY_SIZE),
                ml_dsa_44=secrets.token_bytes(KEY_SIZE),
            ),
            instance_seed=secrets.token_bytes(KEY_SIZE),
            derivation_key=secrets.token_bytes(KEY_SIZE),
        )

    def current(self) -> tuple[int, bytes]:
        """The number and the key that wrap now."""
        return next(
            (item.version, item.key)
            for item in self.versions
            if item.state is KeyState.CURRENT and item.key is not None
        )

    def find_key(self, version: int) -> bytes | None:
        return next((item.key for item in self.versions if item.version == version), None)

    def with_new_version(self) -> "KeyFile":
        """A new current version; the one before it only unwraps from now on."""
        older = tuple(
            replace(item, state=KeyState.PREVIOUS) if item.state is KeyState.CURRENT else item
            for item in self.versions
        )
        new = KekVersion(
            version=older[-1].version + 1,
            state=KeyState.CURRENT,
            key=secrets.token_bytes(KEY_SIZE),
        )
        return replace(self, versions=(*older, new))

    def without(self, version: int) -> "KeyFile":
        """The key of this version destroyed, its number kept."""
        return replace(
            self,
            versions=tuple(
                replace(item, state=KeyState.RETIRED, key=None) if item.version == version else item
                for item in self.versions
            ),
        )

    def encode(self) -> bytes:
        value = {
            "v": _VERSION,
            "kek": [
                {
                    "version": item.version,
                    "state": item.state.value,
                    "key_b64": None if item.key is None else _encode(item.key),
                }
                for item in self.versions
            ],
            "log": {
                "origin": self.log.origin,
                "ed25519": _encode(self.log.ed25519),
                "ml_dsa_44": _encode(self.log.ml_dsa_44),
            },
            "instance": _encode(self.instance_seed),
            "derivation": _encode(self.derivation_key),
        }
        return json.dumps(value, indent=1).encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> "KeyFile":
        """Read what `encode` wrote.

        Raises:
            KeyFileInvalidError: anything else; the message never shows the contents.
        """
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise _invalid("it is not JSON") from None  # the cause would show its contents
        keys = _parse_keys(value)
        if json.loads(keys.encode()) != value:
            raise _invalid("there is more in it than this version knows")
        return keys


def _parse_keys(value: object) -> KeyFile:
    match value:
        case {
            "v": 1,
            "kek": [_, *_] as versions,
            "log": {"origin": str(origin), "ed25519": ed25519, "ml_dsa_44": ml_dsa_44},
            "instance": instance,
            "derivation": derivation,
        }:
            return KeyFile(
                versions=_parse_versions(versions),
                log=LogSeeds(origin=origin, ed25519=_decode(ed25519), ml_dsa_44=_decode(ml_dsa_44)),
                instance_seed=_decode(instance),
                derivation_key=_decode(derivation),
            )
        case _:
            raise _invalid("something is missing in it, or it is of another version")


def _parse_versions(values: list[object]) -> tuple[KekVersion, ...]:
    versions = tuple(_parse_version(value) for value in values)
    numbers = [item.version for item in versions]
    if numbers != sorted(set(numbers)):
        raise _invalid("its versions are not in order")
    if [item.state for item in versions].count(KeyState.CURRENT) != 1:
        raise _invalid("not exactly one version is current")
    return versions


def _parse_version(value: object) -> KekVersion:
    match value:
        case {"version": int(version), "state": "retired", "key_b64": None}:
            return KekVersion(version=version, state=KeyState.RETIRED, key=None)
        case {"version": int(version), "state": "current" | "previous" as state, "key_b64": key}:
            return KekVersion(version=version, state=KeyState(state), key=_decode(key))
        case _:
            raise _invalid("one of its versions cannot be read")


def _encode(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _decode(value: object) -> bytes:
    try:
        key = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_SIZE:
        raise _invalid("one of its keys is not 32 bytes in base64")
    return key


def _invalid(reason: str) -> KeyFileInvalidError:
    return KeyFileInvalidError(f"the key file cannot be used: {reason}")
