"""The key file on disk, and the ring of keys in it; both are made once and the file is never overwritten by another.

The file must be ours (or root's), closed to everybody else and not a symbolic link. It is changed only by writing a new
one beside it and renaming; a crash leaves the old or the new file, whole.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scheduler.errors import ChanceryError, ConflictError, InvalidError, NotFoundError
from scheduler.vault.envelope import (
    KEY_SIZE,
    TokenUnavailableError,
    WrappedKey,
    unwrap_key,
    wrap_key,
)
from scheduler.vault.keyformat import KeyFile, KeyFileInvalidError, KeyState, LogSeeds

KEK_URI: Final = "file:"

_MAX_SIZE: Final = 1 << 20
_DERIVATION_LABEL: Final = b"chancery/derive/v1\0"
_CLOSED_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class KeyFileMissingError(NotFoundError):
    code = "key_file_missing"


class KeyFileExistsError(ConflictError):
    """There is a key file already; without it everything sealed is lost, so it stays."""

    code = "key_file_exists"


class KeyFilePermissionsError(InvalidError):
    """Somebody else could read or replace the key file; nothing is opened with it."""

    code = "key_file_permissions"


class KeyVersionError(ConflictError):
    """The version of the key cannot be retired."""

    code = "key_version_refused"


class KeyRing:
    """The keys of the installation; a version another process has added is found by itself."""

    def __init__(self, path: Path) -> None:
        """Read the key file.

        Raises:
            KeyFileMissingError: there is none.
            KeyFilePermissionsError: it is a link, belongs to somebody else, or is open to others.
            KeyFileInvalidError: it cannot be read as a key file.
        """
        self._path = path
        self._file = _read(path)

    @classmethod
    def create(cls, path: Path, *, origin: str) -> "KeyRing":
        """Make an installation's keys, once.

        Raises:
            KeyFileExistsError: there is a file of this name, whatever is in it.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked_folder(path) as folder:
            beside = _write_beside(path, KeyFile.generate(origin=origin).encode())
            try:
                os.link(beside, path, follow_symlinks=False)
            except FileExistsError as exc:
                message = f"{path} is there already; it is never overwritten"
                raise KeyFileExistsError(message) from exc
            finally:
                beside.unlink()
            os.fsync(folder)
        return cls(path)

    @property
    def kek_uri(self) -> str:
        return KEK_URI

    @property
    def current_version(self) -> int:
        return self._file.current()[0]

    @property
    def versions(self) -> dict[int, KeyState]:
        """All versions there ever were, in ascending order."""
        return {item.version: item.state for item in self._file.versions}

    @property
    def log(self) -> LogSeeds:
        return self._file.log

    @property
    def instance_seed(self) -> bytes:
        return self._file.instance_seed

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another secret (such as `job`), the same every time and useless for any other purpose."""
        info = _DERIVATION_LABEL + purpose.encode()
        hkdf = HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=None, info=info)
        return hkdf.derive(self._file.derivation_key)

    def wrap(self, dek: bytes, *, dek_id: int, purpose: str, subject: str) -> WrappedKey:
        """Wrap a data key with the newest version that the file holds now.

        Raises:
            KeyFileMissingError: the file is gone; nothing more is sealed with keys that may be lost.
        """
        self._file = _read(self._path)  # another process may have added a version
        version, kek = self._file.current()
        place = WrappedKey(
            dek_id=dek_id,
            purpose=purpose,
            subject=subject,
            kek_uri=KEK_URI,
            kek_version=version,
            blob=b"",
        )
        return wrap_key(dek, kek=kek, place=place)

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """The data key.

        Raises:
            TokenUnavailableError: another provider's, a retired version's, or not wrapped for this place.
        """
        if wrapped.kek_uri != KEK_URI:
            raise TokenUnavailableError
        kek = self._file.find_key(wrapped.kek_version)
        if kek is None:
            with suppress(ChanceryError):  # one answer for all causes
                self._file = _read(self._path)
            kek = self._file.find_key(wrapped.kek_version)
        if kek is None:
            raise TokenUnavailableError
        return unwrap_key(wrapped, kek=kek)

    def add_version(self) -> int:
        """Make a new version current and return its number; the older ones still unwrap."""
        self._rewrite(KeyFile.with_new_version)
        return self.current_version

    def retire(self, version: int) -> None:
        """Destroy a version; whatever is still wrapped with it is lost, so ask the database first.

        Raises:
            KeyVersionError: it is the current one, is retired already, or never was.
        """

        def retired(file: KeyFile) -> KeyFile:
            states = {item.version: item.state for item in file.versions}
            if states.get(version) is not KeyState.PREVIOUS:
                raise KeyVersionError(f"version {version} of the key is not a previous one")
            return file.without(version)

        self._rewrite(retired)

    def _rewrite(self, change: Callable[[KeyFile], KeyFile]) -> None:
        with _locked_folder(self._path) as folder:
            file = _read(self._path)
            _write_beside(self._path, change(file).encode()).replace(self._path)
            os.fsync(folder)
            self._file = _read(self._path)


def _read(path: Path) -> KeyFile:
    try:
        # O_NONBLOCK: a pipe in its place must not make us wait
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        raise _refusal(path, exc) from exc
    try:
        _check_access(path, os.fstat(descriptor))
        data = os.read(descriptor, _MAX_SIZE + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_SIZE:
        raise KeyFileInvalidError(f"{path} is too large for a key file")
    return KeyFile.parse(data)


def _refusal(path: Path, exc: OSError) -> ChanceryError:
    match exc.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return KeyFileMissingError(f"there is no key file {path}; `chancery init` makes one")
        case errno.ELOOP:
            return KeyFilePermissionsError(f"{path} is a symbolic link; name the file itself")
        case _:
            return KeyFilePermissionsError(f"{path} cannot be opened: {exc.strerror}")


def _check_access(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFilePermissionsError(f"{path} is not a plain file")
    if status.st_uid not in {os.geteuid(), 0}:
        raise KeyFilePermissionsError(f"{path} belongs to another user")
    if status.st_mode & _CLOSED_TO_OTHERS and not _is_credential(status):
        mode = stat.S_IMODE(status.st_mode)
        raise KeyFilePermissionsError(
            f"{path} is open to others (mode {mode:04o}); run: chmod 600 {path}"
        )


def _is_credential(status: os.stat_result) -> bool:
    """As systemd leaves it for a service: root's, with an access list whose mask stands where the group's bits are."""
    is_roots = (status.st_uid, status.st_gid) == (0, 0)
    return is_roots and stat.S_IMODE(status.st_mode) == stat.S_IRUSR | stat.S_IRGRP


def _write_beside(path: Path, data: bytes) -> Path:
    """Write a new file, synced, that only we can read; the folder's lock is held."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # left by a crash
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    return beside


@contextmanager
def _locked_folder(path: Path) -> Iterator[int]:
    """Hold the folder for one writer, across processes; the descriptor serves to sync it."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)
