"""The decoding process, and what its parent makes of every way it can end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from scheduler.media import sandbox
from scheduler.media.cleaning import inspect_and_clean
from scheduler.media.errors import (
    MediaBombError,
    MediaDecoderError,
    MediaMislabelledError,
    MediaTooLargeError,
    MediaTypeUnsupportedError,
    MediaUnreadableError,
)
from scheduler.media.intake import MediaIntake, SandboxLimits
from scheduler.media.model import MediaLimits
from tests.support import pictures

ROOT = Path(__file__).parents[2]
LIMITS = MediaLimits()
JPEG = pictures.picture("JPEG")


def instead_of_python(
    folder: Path, script: str, confinement: SandboxLimits | None = None
) -> MediaIntake:
    """An intake whose process does something else than it should."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return MediaIntake(confinement=confinement, python=str(program))


async def refusal(intake: MediaIntake, data: bytes = JPEG) -> BaseException:
    with pytest.raises(Exception) as caught:
        await intake.clean(data, "image/jpeg")
    return caught.value


@pytest.mark.parametrize("kind", pictures.FORMATS)
async def test_the_process_gives_what_the_function_gives(kind: str) -> None:
    data, mime = pictures.picture(kind), f"image/{kind.lower()}"
    assert await MediaIntake().clean(data, mime) == inspect_and_clean(data, LIMITS)


@pytest.mark.parametrize(
    ("data", "declared", "error"),
    [
        (JPEG, "image/png", MediaMislabelledError),
        (JPEG[:-9], "image/jpeg", MediaUnreadableError),
        (b"<svg/>", "image/svg+xml", MediaTypeUnsupportedError),
        (pictures.png_of(pictures.png_header(16_000, 16_000)), "image/png", MediaTooLargeError),
    ],
)
async def test_a_refusal_comes_out_of_the_process_as_it_is(
    data: bytes, declared: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        await MediaIntake().clean(data, declared)
    assert type(caught.value) is error
    assert str(caught.value)


async def test_a_refusal_brings_its_details(tmp_path: Path) -> None:
    refused = await refusal(MediaIntake(MediaLimits(max_side=10)))
    assert isinstance(refused, MediaTooLargeError)
    assert refused.details == {"found": 48, "allowed": 10}


async def test_too_many_bytes_are_refused_before_any_process_starts() -> None:
    intake = MediaIntake(MediaLimits(max_bytes=len(JPEG) - 1), python="/nowhere")
    assert isinstance(await refusal(intake), MediaTooLargeError)


async def test_a_picture_that_needs_more_memory_than_there_is_is_a_bomb() -> None:
    data = pictures.png_of(
        pictures.png_header(16_000, 2_400, 8, 6),
        pictures.chunk(b"IDAT", packed_zeros(2_400 * (1 + 4 * 16_000))),
        pictures.chunk(b"IEND"),
    )
    intake = MediaIntake(confinement=SandboxLimits(memory_bytes=120 * 1024 * 1024))
    with pytest.raises(MediaBombError, match="memory"):
        await intake.clean(data, "image/png")


def packed_zeros(length: int) -> bytes:
    packer = zlib.compressobj(9)
    block = bytes(1024 * 1024)
    whole, rest = divmod(length, len(block))
    return (
        b"".join(packer.compress(block) for _ in range(whole))
        + packer.compress(bytes(rest))
        + packer.flush()
    )


@pytest.mark.parametrize("number", [signal.SIGXCPU, signal.SIGKILL])
async def test_a_process_that_used_up_its_share_was_fed_a_bomb(tmp_path: Path, number: int) -> None:
    assert isinstance(
        await refusal(instead_of_python(tmp_path, f"kill -{number} $$")), MediaBombError
    )


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
async def test_a_picture_that_crashes_the_decoder_is_unreadable(
    tmp_path: Path, number: int
) -> None:
    crashing = instead_of_python(tmp_path, f"kill -{number} $$")
    assert isinstance(await refusal(crashing), MediaUnreadableError)


@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        "echo nonsense",
        "echo '[]'",
        "echo '{}'",
        """echo '{"code": "of_another_kind", "message": "", "details": {}}'""",
        """echo '{"mime": "text/html", "width": 1, "height": 1}'""",
        "exec cat /dev/zero",
    ],
)
async def test_an_answer_that_is_none_is_no_verdict_on_the_picture(
    tmp_path: Path, script: str
) -> None:
    refused = await refusal(instead_of_python(tmp_path, script))
    assert isinstance(refused, MediaDecoderError)
    assert refused.status == 503


async def test_a_large_picture_for_a_process_that_died_is_no_accident(tmp_path: Path) -> None:
    big = JPEG + bytes(5_000_000)
    assert isinstance(await refusal(instead_of_python(tmp_path, "exit 1"), big), MediaDecoderError)


async def test_a_missing_interpreter_is_told() -> None:
    refused = await refusal(MediaIntake(python="/nowhere/python"))
    assert isinstance(refused, MediaDecoderError)
    assert "/nowhere" not in str(refused)


async def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; exec sleep 600"
    hanging = instead_of_python(tmp_path, script, SandboxLimits(timeout_s=0.5))
    assert isinstance(await refusal(hanging), MediaBombError)
    assert not is_running(tmp_path / "pid")


async def test_a_process_ends_with_the_request_that_asked(tmp_path: Path) -> None:
    hanging = instead_of_python(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(hanging.clean(JPEG, "image/jpeg"))
        async with asyncio.timeout(20):
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                await asyncio.sleep(0.01)
        asking.cancel()
    assert not is_running(tmp_path / "pid")


def is_running(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


async def test_no_more_processes_run_at_once_than_allowed(tmp_path: Path) -> None:
    script = f"mkdir {tmp_path}/busy || touch {tmp_path}/crowd; sleep 0.1; rmdir {tmp_path}/busy"
    intake = instead_of_python(tmp_path, script, SandboxLimits(at_once=1))
    await asyncio.gather(*(refusal(intake) for _ in range(3)))
    assert not (tmp_path / "crowd").exists()


async def test_the_process_sees_no_setting_of_ours(tmp_path: Path) -> None:
    await refusal(instead_of_python(tmp_path, f"env > {tmp_path}/env"))
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PYTHONPATH", "PWD", "SHLVL", "_", "OLDPWD"}


def test_a_confined_process_opens_no_file_and_no_socket() -> None:
    code = (
        "import errno, socket\n"
        "from scheduler.media.sandbox import confine\n"
        "confine(memory_bytes=1 << 30, cpu_s=5)\n"
        "for attempt in (lambda: open('/dev/null'), socket.socket):\n"
        "    try:\n        attempt()\n"
        "    except OSError as exc:\n        print(errno.errorcode[exc.errno])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["EMFILE", "EMFILE"]


def test_a_confined_process_has_its_time_and_no_more() -> None:
    code = (
        "from scheduler.media.sandbox import confine\n"
        "confine(memory_bytes=1 << 30, cpu_s=1)\n"
        "while True:\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGXCPU


def test_the_answer_is_one_line_and_then_the_picture() -> None:
    line, _, data = sandbox.answer(JPEG, LIMITS, "image/jpeg").partition(b"\n")
    clean = inspect_and_clean(JPEG, LIMITS)
    assert data == clean.data
    assert json.loads(line) == {
        "sha256": clean.sha256,
        "mime": "image/jpeg",
        "width": 48,
        "height": 32,
    }


def test_a_refusal_is_one_line_alone() -> None:
    answer = sandbox.answer(b"", LIMITS, "image/jpeg")
    assert json.loads(answer)["code"] == "media_unreadable"
    assert answer.count(b"\n") == 1
