"""Files named by the SHA-256 of their bytes: `ab/cd/abcd….`, written once, checked at every reading."""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from scheduler.clock import utc_now
from scheduler.media.errors import MediaCorruptError, MediaMissingError, StorageFullError

_NAME: Final = re.compile(r"[0-9a-f]{64}")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ABANDONED_AFTER_S: Final = 3600


class MediaStore:
    """Blocks on the disk: call it through `asyncio.to_thread` where a loop must go on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        for each in (folder, self._incoming):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_abandoned()

    def put(self, data: bytes) -> str:
        """Store `data` durably and return its SHA-256 in hexadecimal; an intact copy is left alone.

        Raises:
            StorageFullError: no room; nothing of it is left behind.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        if _holds(path, sha256):
            return sha256
        with _full_disk_told():
            self._make_folders(path.parent)
            self._write(path, data)
        return sha256

    def read(self, sha256: str) -> bytes:
        """Return the bytes, which have this hash.

        Raises:
            MediaMissingError: never stored, or `sha256` is no such name.
            MediaCorruptError: the file's bytes have changed.
        """
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError as exc:
            raise MediaMissingError(f"no stored file {sha256}") from exc
        if hashlib.sha256(data).hexdigest() != sha256:
            raise MediaCorruptError(
                f"the stored file {sha256} has changed; restore it", sha256=sha256
            )
        return data

    def _path(self, sha256: str) -> Path:
        if not _NAME.fullmatch(sha256):
            raise MediaMissingError("a stored file is named by 64 hexadecimal digits")
        return self._folder / sha256[:2] / sha256[2:4] / sha256

    def _make_folders(self, folder: Path) -> None:
        for each in (folder.parent, folder):
            if not each.is_dir():
                each.mkdir(mode=0o700, exist_ok=True)
                _sync(each.parent)

    def _write(self, path: Path, data: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).rename(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync(path.parent)

    def _remove_abandoned(self) -> None:
        """Remove what a killed process left half-written; a younger file may still be in work."""
        oldest = utc_now().timestamp() - _ABANDONED_AFTER_S
        for path in self._incoming.iterdir():
            with suppress(FileNotFoundError):  # another process tidies too
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _holds(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except FileNotFoundError:
        return False


@contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise StorageFullError(
                "the disk is full; make room in the data folder and try again"
            ) from exc
        raise


def _sync(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
