"""A private Redis of the tests' own, with its own keeper process: to be started anywhere, and to be taken away."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

from redis import Redis

from scheduler.redis_server import EmbeddedRedis

_ROOT: Final = Path(__file__).parents[2]
#: Starts the server in its main thread, says so, and stops it when its input ends: also when the tests are killed.
_KEEPER: Final = """
import asyncio, sys
from pathlib import Path
from scheduler.redis_server import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]))
asyncio.run(server.start())
print("up", flush=True)
sys.stdin.read()
asyncio.run(server.stop())
"""


class TestRedis:
    """One server in one folder; `stop` and `kill` keep its keys for the next `start`."""

    __test__ = False  # not a test, in spite of its name

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keeper: subprocess.Popen[str] | None = None
        self.url = EmbeddedRedis(folder).url

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return when it answers.

        Raises:
            RuntimeError: it does not start; the reason is on standard error.
        """
        if self._keeper is not None:
            return
        keeper = self._keeper = subprocess.Popen(
            [sys.executable, "-c", _KEEPER, str(self._folder)],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert keeper.stdout is not None
        if keeper.stdout.readline() != "up\n":
            self.stop()
            raise RuntimeError("Redis does not start")

    def stop(self) -> None:
        """Shut down in order: every key is on the disk afterwards."""
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None

    def kill(self) -> None:
        """Take the server away without a word; about the last second's keys may be lost."""
        with Redis.from_url(self.url) as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        self.stop()

    def flush(self) -> None:
        """Remove every key of every database."""
        with Redis.from_url(self.url) as client:
            client.flushall()
