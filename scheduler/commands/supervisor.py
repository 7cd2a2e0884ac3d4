"""Keeps the installation's processes running, ends them together, and never lets one outlive it."""

import asyncio
import fcntl
import os
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from scheduler.clock import monotonic_s
from scheduler.commands.refusals import (
    AlreadyRunningError,
    ProcessRefusedError,
    WorkerRunningError,
)

log = structlog.get_logger()

_BACK_OFF_S: Final = 0.5
_MAX_BACK_OFF_S: Final = 30.0
#: A process that lived this long has started well; its next end begins with a short pause again.
_SETTLED_S: Final = 10.0
#: Longer than a publish call may take: what is in flight is finished.
_END_S: Final = 45.0
_POLL_S: Final = 0.1
#: Asks the kernel for SIGTERM when the parent's thread ends (prctl 1 is PR_SET_PDEATHSIG), then becomes the program; a
#: parent that was gone before the question is seen by its process id.
_LAUNCHER: Final = (
    "import ctypes, os, signal, sys\n"
    "if sys.platform == 'linux':\n"
    "    ctypes.CDLL(None).prctl(1, signal.SIGTERM)\n"
    "if os.getppid() == int(sys.argv[1]):\n"
    "    os.execv(sys.argv[2], sys.argv[2:])\n"
)


@dataclass(slots=True)
class Supervisor:
    """Runs `programs` (arguments by name); each holds the start lock, so that nobody starts beside it."""

    programs: Mapping[str, Sequence[str]]
    lock: int
    running: dict[str, Process] = field(default_factory=dict)

    async def run(self, stopping: asyncio.Event) -> None:
        """Start every program, start it again when it ends, until `stopping`; then end all.

        Raises:
            ProcessRefusedError: a program refused at its first start; the others are ended.
        """
        keepers = [asyncio.ensure_future(self._keep(name)) for name in self.programs]
        stopper = asyncio.ensure_future(stopping.wait())
        try:
            done, _ = await asyncio.wait({*keepers, stopper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*keepers, stopper):
                task.cancel()
            await asyncio.gather(*keepers, stopper, return_exceptions=True)
            await self._end_all()
        for task in done - {stopper}:
            task.result()

    async def _keep(self, name: str) -> None:
        back_off_s, is_first = _BACK_OFF_S, True
        while True:
            started_s = monotonic_s()
            process = self.running[name] = await self._start(name)
            status = await process.wait()
            lived_s = monotonic_s() - started_s
            if is_first and status == 1 and lived_s < _SETTLED_S:
                raise ProcessRefusedError(f"{name} refused to start; it says why above")
            is_first = False
            back_off_s = (
                _BACK_OFF_S if lived_s > _SETTLED_S else min(2 * back_off_s, _MAX_BACK_OFF_S)
            )
            log.warning("process.ended", name=name, status=status, again_in_s=back_off_s)
            await asyncio.sleep(back_off_s)

    async def _start(self, name: str) -> Process:
        """Start the program in a process group of its own: Ctrl-C is for us, who end it in order."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            "-c",
            _LAUNCHER,
            str(os.getpid()),
            *self.programs[name],
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(self.lock,),
            process_group=0,
        )

    async def _end_all(self) -> None:
        alive = [process for process in self.running.values() if process.returncode is None]
        for process in alive:
            process.terminate()
        try:
            async with asyncio.timeout(_END_S):
                await asyncio.gather(*(process.wait() for process in alive))
        except TimeoutError:
            for process in alive:
                if process.returncode is None:
                    process.kill()
                    await process.wait()


@contextmanager
def hold_start(folder: Path) -> Iterator[int]:
    """Hold the data folder's start lock; the processes of an `up` that was killed are waited for.

    Raises:
        AlreadyRunningError: another `chancery up` is alive on this folder.
    """
    descriptor = os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, folder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def hold_worker(database: Path) -> None:
    """Hold the one worker's lock beside a SQLite database until this process ends, whatever it becomes by then.

    The kernel lets go of it with the process, so one that was killed leaves nothing behind.

    Raises:
        WorkerRunningError: another worker is alive on this database.
    """
    database = database.resolve()  # one database, whatever it is called
    path = database.with_name(f"{database.name}-worker.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        owner = os.pread(descriptor, 20, 0).decode() or "starting"
        os.close(descriptor)
        raise WorkerRunningError(
            f"a worker runs already on {database} (process {owner}); several need PostgreSQL"
        ) from exc
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - the signature is the system's
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _lock(descriptor: int, folder: Path) -> None:
    end_s = monotonic_s() + _END_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            owner = os.pread(descriptor, 20, 0).decode() or "starting"
            if _is_alive(owner) or monotonic_s() > end_s:
                message = f"`chancery up` runs already on {folder} (process {owner})"
                raise AlreadyRunningError(message) from exc
            time.sleep(_POLL_S)
        else:
            return


def _is_alive(owner: str) -> bool:
    try:
        os.kill(int(owner), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
