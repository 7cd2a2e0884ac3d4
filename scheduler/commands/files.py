"""Text files that people name on the command line."""

from pathlib import Path

from scheduler.commands.refusals import FileNotTextError


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
