"""Pictures are decoded in a process of their own, one process per picture.

A process that is used again would let one broken-into decoder touch the next person's picture. A fresh one costs about
0.1 s per upload.
"""

import asyncio
import hashlib
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scheduler.errors import InvalidError
from scheduler.media import errors, sandbox
from scheduler.media.errors import (
    MediaBombError,
    MediaDecoderError,
    MediaUnreadableError,
)
from scheduler.media.model import CleanImage, ImageType, MediaLimits

_ROOT: Final = Path(__file__).resolve().parents[2]
_LINE_BYTES: Final = 64 * 1024  #: more than any answer's first line
_REFUSALS: Final[Mapping[str, type[InvalidError]]] = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, InvalidError) and each is not InvalidError
}
#: How the kernel ends a process that wants more time or memory than it has.
_EXHAUSTED: Final = frozenset({-signal.SIGXCPU, -signal.SIGKILL})
_CRASHED: Final = frozenset(
    {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGABRT, -signal.SIGILL}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    memory_bytes: int = 1024 * 1024 * 1024  #: address space, the interpreter's own included
    cpu_s: int = 20
    timeout_s: float = 60.0
    at_once: int = 2


class MediaIntake:
    """The only way for a picture into the store."""

    def __init__(
        self,
        limits: MediaLimits | None = None,
        confinement: SandboxLimits | None = None,
        *,
        python: str = sys.executable,
    ) -> None:
        self._limits = limits or MediaLimits()
        self._confinement = confinement or SandboxLimits()
        self._python = python
        self._turns = asyncio.Semaphore(self._confinement.at_once)

    async def clean(self, data: bytes, declared_mime: str) -> CleanImage:
        """Return the picture without metadata.

        Raises:
            InvalidError: the picture is refused, by a subclass of `scheduler.media.errors`.
            MediaDecoderError: no process could be started; the picture may be good.
        """
        self._limits.check_length(len(data))
        async with self._turns:
            process = await self._spawn(declared_mime)
            try:
                async with asyncio.timeout(self._confinement.timeout_s):
                    output = await _converse(process, data, self._limits.max_bytes)
                    status = await process.wait()
            except TimeoutError as exc:
                raise MediaBombError("the picture takes too long to decode") from exc
            finally:
                await _end(process)
        return _read(output, status)

    async def _spawn(self, declared_mime: str) -> Process:
        argument = sandbox.arguments(
            self._limits,
            declared_mime,
            memory_bytes=self._confinement.memory_bytes,
            cpu_s=self._confinement.cpu_s,
        )
        try:
            return await asyncio.create_subprocess_exec(
                self._python, "-P", "-s", "-m", "scheduler.media.sandbox", argument,
                stdin=PIPE, stdout=PIPE, stderr=asyncio.subprocess.DEVNULL,
                env={"PYTHONPATH": str(_ROOT)},  # nothing of ours: the environment may hold secrets
                limit=_LINE_BYTES,
            )  # fmt: skip
        except (OSError, ValueError) as exc:
            why = getattr(exc, "strerror", None) or type(exc).__name__  # not the path
            raise MediaDecoderError(f"the decoding process does not start: {why}") from exc


async def _converse(process: Process, data: bytes, max_bytes: int) -> bytes:
    """Send the picture and read an answer of bounded length, whatever the process does."""
    if process.stdin is None or process.stdout is None:
        raise MediaDecoderError("the decoding process has no pipes")
    with suppress(ConnectionError):  # it died early; its exit status says why
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()
    output = bytearray()
    while len(output) <= max_bytes + 2 * _LINE_BYTES:
        block = await process.stdout.read(_LINE_BYTES)
        if not block:
            return bytes(output)
        output += block
    raise MediaDecoderError("the decoding process does not stop talking")


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()  # also reads what is left, without which the pipe keeps it waiting


def _read(output: bytes, status: int) -> CleanImage:
    if status in _EXHAUSTED:
        raise MediaBombError("the picture takes too long or too much memory to decode")
    if status in _CRASHED:
        raise MediaUnreadableError("the picture breaks the decoder")
    line, _, data = output.partition(b"\n")
    try:
        answer: dict[str, Any] = json.loads(line)
        if "code" in answer:
            raise _REFUSALS[answer["code"]](str(answer["message"]), **answer["details"])
        return CleanImage(
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            mime=ImageType(answer["mime"]).value,
            width=int(answer["width"]),
            height=int(answer["height"]),
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise MediaDecoderError(f"the decoding process ended with status {status}") from exc
