"""Real processes for the tests of faults: a worker that can be stopped and killed, and the practice network apart from it.

The network stands in a process of its own, so that a test may block without blocking a platform, and so that what is
public is counted by nobody but the platforms' own log.
"""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self
from urllib.request import Request, urlopen

from scheduler.practice.accounts import NewAccount
from scheduler.practice.admin import Turn
from scheduler.practice.model import Effect, Kind, Platform, read_effect
from scheduler.settings import Settings

_ROOT: Final = Path(__file__).parents[2]
_PATIENCE_S: Final = 40.0


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment of a process of this installation; nothing of the caller's own installation."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("CHANCERY_")}
    secret = {
        "CHANCERY_DATABASE_URL": settings.database_url,
        "CHANCERY_REDIS_URL": settings.redis_url,
    }
    return {
        **given,
        **{key: value.get_secret_value() for key, value in secret.items() if value is not None},
        "CHANCERY_DATA_DIR": str(settings.data_dir),
        "CHANCERY_KEY_FILE": str(settings.key_file),
        "CHANCERY_EGRESS_ALLOW": ",".join(sorted(settings.egress_allow)),
        **more,
    }


class WorkerProcess:
    """The real worker, with patience that a test can wait for: seconds of time-out, settling and lease margin."""

    def __init__(
        self,
        settings: Settings,
        log: Path,
        *,
        module: str = "tests.support.hasty_worker",
        patience: tuple[float, ...] = (2, 2, 2),
        **more: str,
    ) -> None:
        self.log = log
        # The log goes through a pipe: a limit on the worker's own files does not silence it.
        self._writer = subprocess.Popen(
            ["sh", "-c", 'exec cat >> "$0"', str(log)], stdin=subprocess.PIPE
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, patience)],
            cwd=_ROOT,
            stderr=self._writer.stdin,
            env=environment(settings, **more),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, which reaches a stopped process too; its log is whole afterwards."""
        self._process.kill()
        self._process.wait()
        assert self._writer.stdin is not None
        self._writer.stdin.close()
        self._writer.wait()

    def end(self, *, within_s: float = _PATIENCE_S) -> int:
        """SIGTERM; the status it ends with."""
        self._process.terminate()
        return self._process.wait(within_s)

    def limit_files(self, size: int | None) -> None:
        """No file may grow beyond so many bytes, from now on; None: as large as it wants."""
        most = resource.RLIM_INFINITY if size is None else size
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    def memory_bytes(self) -> int:
        """What it keeps resident."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def events(self) -> Counter[str]:
        """How often each event stands in the log of all workers that wrote it."""
        return Counter(
            json.loads(line)["event"]
            for line in self.lines()
            if line.startswith('{"') and '"event"' in line
        )

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


class WebProcess:
    """The real web process on a free port."""

    def __init__(self, settings: Settings, log: Path, **more: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{address}"
        self._log = log
        with log.open("ab") as target:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli", "web"],
                cwd=_ROOT,
                stdout=target,
                stderr=target,
                env=environment(settings, CHANCERY_LISTEN=address, **more),
            )

    def __enter__(self) -> Self:
        end = time.monotonic() + _PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < end, "the web process does not answer"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> int:
        self._process.terminate()
        return self._process.wait(_PATIENCE_S)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/healthz", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class PracticeProcess:
    """The practice network in a process of its own, with what tests use of `PracticeNetwork`, over HTTP."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scheduler.practice", "--data", str(folder), "--no-limits"],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        #: Where the accounts' servers are; a test may put another server in front.
        self.mastodon_url: str = ready["mastodon"]
        self.bluesky_url: str = ready["bluesky"]
        self._doors = {Platform.MASTODON: self.mastodon_url, Platform.BLUESKY: self.bluesky_url}
        self._token = ready["admin_token"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def open_account(self, platform: Platform, new: NewAccount) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask(platform, "POST", "accounts", new.model_dump())
        return answer

    def turn(self, platform: Platform, turn: Turn) -> None:
        self._ask(platform, "POST", "knobs", turn.model_dump(mode="json", exclude_unset=True))

    def clear_knobs(self) -> None:
        for platform in Platform:
            self._ask(platform, "DELETE", "knobs")

    def knobs(self, platform: Platform) -> list[dict[str, Any]]:
        """The knobs that are turned now; a count is what is left of it."""
        found: list[dict[str, Any]] = self._ask(platform, "GET", "knobs")["knobs"]
        return found

    def log(self) -> list[Effect]:
        entries = self._ask(Platform.MASTODON, "GET", "log")["entries"]
        return [read_effect(entry) for entry in entries]

    def posts(self) -> list[dict[str, Any]]:
        """All public posts, of both platforms."""
        found: list[dict[str, Any]] = self._ask(Platform.MASTODON, "GET", "posts")["posts"]
        return found

    def published(self) -> Counter[tuple[str, str, str]]:
        """How often each text became public on each account, by the platforms' log: also what was deleted later."""
        return Counter(
            (effect.platform.value, effect.account, effect.text)
            for effect in self.log()
            if effect.kind is Kind.POST
        )

    def _ask(self, platform: Platform, method: str, path: str, body: object = None) -> Any:
        request = Request(
            f"{self._doors[platform]}/practice/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}"},
        )
        with urlopen(request, timeout=_PATIENCE_S) as answer:
            return json.loads(answer.read())


@contextmanager
def stopped(worker: WorkerProcess) -> Iterator[None]:
    """The process neither runs nor ends: SIGSTOP, and SIGCONT afterwards."""
    worker.send(signal.SIGSTOP)
    try:
        while _state(worker.pid) != "T":
            time.sleep(0.0005)
        yield
    finally:
        worker.send(signal.SIGCONT)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
