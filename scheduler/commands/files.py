"""Text files that people name on the command line."""

from collections.abc import Mapping
from pathlib import Path

import click

from scheduler.commands.refusals import FileNotTextError, RefusedError


def read_text(path: Path) -> str:
    """Read UTF-8; the byte order mark that some editors put in front is none of the text.

    Raises:
        FileNotTextError: other bytes, with the place of the first.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        raise FileNotTextError(
            f"{path} is not UTF-8: byte {exc.start + 1} is 0x{data[exc.start]:02X}; save it as UTF-8"
        ) from exc


def read_policy(path: Path) -> dict[str, str]:
    """The policy's files by their names inside the folder; a single file is a policy of its own."""
    if path.is_file():
        return {path.name: read_text(path)}
    found = sorted(each for pattern in ("*.yaml", "*.yml") for each in path.rglob(pattern))
    if not found:
        raise RefusedError(f"{path} holds no .yaml file", "policy_empty")
    return {each.relative_to(path).as_posix(): read_text(each) for each in found}


def write_policy(path: Path, files: Mapping[str, str]) -> None:
    """Write a policy's files into a new folder."""
    if path.exists() and any(path.iterdir()):
        raise RefusedError(f"{path} is not empty; name a new folder", "folder_not_empty")
    for name, text in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    click.echo(f"{len(files)} files are in {path}.")
