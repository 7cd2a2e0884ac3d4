"""systemd's side of `sd_notify`: a real datagram socket that keeps what services have said, and when."""

import socket
import time
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

_PATIENCE_S: Final = 40.0


class Manager:
    """Where a service's messages arrive; the name is abstract when there is no folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.address = f"@chancery-{uuid4().hex}" if folder is None else str(folder / "notify")
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._door.bind(self.address.replace("@", "\0", 1) if folder is None else self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._door.close()

    def environment(self, *, watchdog_s: float) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(int(watchdog_s * 1_000_000))}

    def heard(self, within_s: float) -> list[str]:
        """Every line that arrives in so many seconds."""
        lines: list[str] = []
        end = time.monotonic() + within_s
        while (left := end - time.monotonic()) > 0:
            self._door.settimeout(left)
            try:
                lines += self._door.recv(4096).decode().splitlines()
            except TimeoutError:
                break
        return lines

    def wait_for(self, line: str, *, within_s: float = _PATIENCE_S) -> list[str]:
        """What arrives until the line does, and the line."""
        lines: list[str] = []
        end = time.monotonic() + within_s
        while line not in lines:
            self._door.settimeout(max(0.001, end - time.monotonic()))
            try:
                lines += self._door.recv(4096).decode().splitlines()
            except TimeoutError:
                raise AssertionError(f"{line} did not come, but {lines}") from None
        return lines

    def fall_silent(self) -> None:
        """Forget what has arrived."""
        self.heard(0.05)
