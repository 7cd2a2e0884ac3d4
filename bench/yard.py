"""Where Chancery and the limit are measured: a durable PostgreSQL, a Redis and the stub, each a process of its own."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.request import urlopen

from pydantic import SecretStr
from redis import Redis
from sqlalchemy.engine import make_url
from yarl import URL

from scheduler.settings import Settings
from tests.support.postgres import TestPostgres
from tests.support.processes import WorkerProcess
from tests.support.redis import TestRedis

_ROOT: Final = Path(__file__).parents[1]
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """CPU seconds that the processes have used so far."""

    worker: float
    database: float
    redis: float

    def each_us(self, before: "Cpu", count: int) -> dict[str, int]:
        """Microseconds of each since `before`, for each of `count`."""
        return {
            "worker": round((self.worker - before.worker) / count * 1e6),
            "database": round((self.database - before.database) / count * 1e6),
            "redis": round((self.redis - before.redis) / count * 1e6),
        }


class Stub:
    """The stub in its own process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.stub"], cwd=_ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = URL(self._process.stdout.readline().strip())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def take_arrivals(self) -> dict[str, float]:
        """Unix seconds of each post by its key, since the last call.

        Raises:
            RuntimeError: a post came twice.
        """
        with urlopen(str(self.url / "arrivals"), timeout=60) as answer:
            told = json.loads(answer.read())
        arrivals = {key: at for at, key in told}
        if len(arrivals) != len(told):
            raise RuntimeError("a post came twice")
        return arrivals


@dataclass(frozen=True, slots=True, kw_only=True)
class Yard:
    folder: Path
    database: TestPostgres
    stub: Stub
    redis_pid: int
    settings: Settings
    limit_dsn: str

    @property
    def url(self) -> URL:
        return self.stub.url / "post"

    @contextmanager
    def chancery(self) -> Iterator[int]:
        """The worker as it is shipped; its process id."""
        log = self.folder / "worker.log"
        with WorkerProcess(
            self.settings, log, module="worker", patience=(), CHANCERY_LOG_LEVEL="WARNING"
        ) as worker:
            yield worker.pid
            worker.end()

    @contextmanager
    def limit(self) -> Iterator[int]:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.limit"],
            cwd=_ROOT,
            env={**os.environ, "LIMIT_DSN": self.limit_dsn, "LIMIT_URL": str(self.url)},
        )
        try:
            yield process.pid
        finally:
            process.kill()
            process.wait()

    def cpu(self, worker_pid: int) -> Cpu:
        return Cpu(
            worker=_cpu_s(worker_pid),
            database=_family_cpu_s(self.database.pid),
            redis=_cpu_s(self.redis_pid),
        )


@asynccontextmanager
async def yard() -> AsyncIterator[Yard]:
    """All of it on sockets and free ports, gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="chancery-bench-") as name,
        TestPostgres(durable=True) as database,
        TestRedis(Path(name) / "redis") as redis,
        Stub() as stub,
    ):
        with Redis.from_url(redis.url) as client:
            redis_pid = int(client.info("server")["process_id"])
        limit_url = make_url(database.create_database()).set(drivername="postgresql")
        yield Yard(
            folder=Path(name),
            database=database,
            stub=stub,
            redis_pid=redis_pid,
            settings=Settings(
                database_url=SecretStr(database.create_database()),
                redis_url=SecretStr(redis.url),
                data_dir=Path(name) / "data",
                key_file=Path(name) / "keys.json",
                egress_allow=frozenset({stub.url.authority}),
            ),
            limit_dsn=limit_url.render_as_string(hide_password=False),
        )


async def sleep_until(moment: float) -> None:
    """Unix seconds.

    Raises:
        RuntimeError: it has passed: the machine was too slow to prepare the measurement.
    """
    if (wait_s := moment - time.time()) < 0:
        raise RuntimeError("the machine was too slow to prepare the measurement in time")
    await asyncio.sleep(wait_s)


def _family_cpu_s(pid: int) -> float:
    """A process with its children, also those that have ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(_cpu_s, map(int, children)), _cpu_s(pid, ended=True))


def _cpu_s(pid: int, *, ended: bool = False) -> float:
    """User and system time so far, as Linux accounts it; with `ended` also of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if ended else 13])) / _TICKS
