"""The three lines a log signs: https://c2sp.org/tlog-checkpoint, without extension lines, which nobody can audit."""

import re
from dataclasses import dataclass
from typing import Final

from scheduler.audit.parsing import MalformedError, decode_base64, encode_base64
from scheduler.audit.tree import HASH_SIZE

_LINES: Final = 3
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The size and root hash of the log that `origin` names."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """The exact bytes that are signed."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> "Checkpoint":
        """Read the text of a note.

        Raises:
            MalformedError: not exactly origin, size without leading zeros, and root hash.
        """
        lines = _decode(text).split("\n")
        if len(lines) != _LINES + 1 or lines.pop():
            raise MalformedError("a checkpoint is three lines, without extensions")
        origin, size, root = lines
        if not origin:
            raise MalformedError("a checkpoint names its origin")
        if not _DECIMAL.fullmatch(size):
            raise MalformedError("a checkpoint's size is a plain decimal")
        hash_ = decode_base64(root)
        if len(hash_) != HASH_SIZE:
            raise MalformedError("a checkpoint's root is a SHA-256 hash")
        return cls(origin=origin, size=int(size), root=hash_)


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as exc:
        raise MalformedError("a checkpoint is UTF-8") from exc
