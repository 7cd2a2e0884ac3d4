"""The decoding process: reads one picture from standard input, writes one answer, and can do nothing else.

Started by `intake.MediaIntake` as `python -m scheduler.media.sandbox ARGUMENTS`, where ARGUMENTS is a JSON object. The
answer is one line of JSON, and after it the cleaned bytes when the line has no `code`.
"""

import importlib
import json
import os
import resource
import sys
from dataclasses import asdict, fields
from typing import Final

from PIL import Image

from scheduler.errors import InvalidError
from scheduler.media.cleaning import inspect_and_clean
from scheduler.media.model import MediaLimits

#: What Pillow and the interpreter import only when a picture asks for it. Without files that is too late.
_LAZY: Final = (
    *(f"PIL.{name}" for name in ("ExifTags", "MpoImagePlugin", "TiffImagePlugin", "TiffTags")),
    *(f"PIL.{name}" for name in ("ImageColor", "ImageFile", "ImageFilter", "ImagePalette")),
    *(f"encodings.{name}" for name in ("ascii", "cp437", "latin_1", "utf_8", "utf_32")),
    *(f"encodings.{name}" for name in ("utf_16", "utf_16_be", "utf_16_le")),
    "copy",
)


def confine(*, memory_bytes: int, cpu_s: int) -> None:
    """Give up memory, time, children, and every file and socket not open yet, for ever (without privileges)."""
    Image.preinit()
    for module in _LAZY:
        importlib.import_module(module)
    os.nice(10)  # publishing goes first
    limits = {
        resource.RLIMIT_CPU: (cpu_s, cpu_s + 1),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_NOFILE: (0, 0),
        resource.RLIMIT_NPROC: (0, 0),
    }
    if sys.platform == "linux":  # macOS refuses to limit the address space
        limits[resource.RLIMIT_AS] = (memory_bytes, memory_bytes)
    for name, value in limits.items():
        resource.setrlimit(name, value)


def answer(data: bytes, limits: MediaLimits, declared_mime: str) -> bytes:
    try:
        clean = inspect_and_clean(data, limits, declared_mime=declared_mime)
    except InvalidError as exc:
        refusal = {"code": exc.code, "message": str(exc), "details": exc.details}
        return json.dumps(refusal).encode() + b"\n"
    line = {each.name: getattr(clean, each.name) for each in fields(clean) if each.name != "data"}
    return json.dumps(line).encode() + b"\n" + clean.data


def arguments(limits: MediaLimits, declared_mime: str, *, memory_bytes: int, cpu_s: int) -> str:
    """Return what `main` reads from its command line."""
    return json.dumps(
        {
            "limits": asdict(limits),
            "declared_mime": declared_mime,
            "confine": {"memory_bytes": memory_bytes, "cpu_s": cpu_s},
        }
    )


def main(argument: str) -> None:
    given = json.loads(argument)
    limits = MediaLimits(**given["limits"])
    confine(**given["confine"])
    data = sys.stdin.buffer.read(limits.max_bytes + 1)
    sys.stdout.buffer.write(answer(data, limits, given["declared_mime"]))


if __name__ == "__main__":
    main(sys.argv[1])
