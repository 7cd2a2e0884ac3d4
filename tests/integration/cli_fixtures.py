"""Real `chancery` processes: on an empty machine, and in a Karvenia that runs with `chancery up`."""

import asyncio
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from adapters.registry import build
from scheduler.app import application
from scheduler.db import missions
from scheduler.domain.people import Role
from scheduler.services import people, tokens
from scheduler.services.people import NewGrant
from scheduler.settings import Settings

INIT = (
    "init",
    "--mission-code=krv.hq",
    "--mission-name=Ministry of Foreign Affairs of Karvenia",
    "--zone=Europe/Ljubljana",
    "--languages=sl,en",
    "--admin=bizjak=Rok Bizjak",
    "--admin=oblak=Sabina Oblak",
)
ACCOUNT = (
    "account",
    "add",
    "hq.mastodon",
    "--mission=krv.hq",
    "--platform=mastodon",
    "--language=en",
    "--secret-file=-",
)
PEOPLE = (
    ("hocevar", "Tina Hočevar", Role.OFFICER),
    ("zorc", "Petra Zorc", Role.SUPERVISOR),
    ("mlakar", "Alenka Mlakar", Role.AUDITOR),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A user's shell: its own folders and environment, nothing of ours."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, folder: Path) -> "Machine":
        port = free_port()
        return cls(
            folder=folder,
            environment={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "LANG": "C.UTF-8",
                "CHANCERY_DATA_DIR": str(folder / "data"),
                "CHANCERY_KEY_FILE": str(folder / "keys" / "keys.json"),
                "CHANCERY_LISTEN": f"127.0.0.1:{port}",
                "CHANCERY_LOG_LEVEL": "WARNING",
            },
        )

    @property
    def data(self) -> Path:
        return Path(self.environment["CHANCERY_DATA_DIR"])

    @property
    def key_file(self) -> Path:
        return Path(self.environment["CHANCERY_KEY_FILE"])

    @property
    def url(self) -> str:
        return f"http://{self.environment['CHANCERY_LISTEN']}"

    @property
    def login_file(self) -> Path:
        home = self.environment.get("XDG_CONFIG_HOME") or str(self.folder / ".config")
        return Path(home) / "chancery" / "login.json"

    def having(self, **environment: str) -> "Machine":
        return replace(self, environment={**self.environment, **environment})

    def run(self, *words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli", *map(str, words)],
            env=self.environment,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    def ask(self, *words: object, stdin: str = "") -> Any:
        """The JSON of a command that must succeed."""
        done = self.run(*words, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refusal(self, *words: object, stdin: str = "") -> str:
        """The code of a command that must be refused, in one line on stderr with exit status 1."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        [line] = done.stderr.splitlines()
        assert line.startswith("error: "), line
        return line.rpartition("[")[2].rstrip("]")

    @contextmanager
    def up(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """`chancery up` in the background, answering; ended in the end, however it is."""
        with (self.folder / "up.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli", "up", *words],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )
        try:
            wait_for(lambda: process.poll() is not None or self.is_ready())
            assert process.poll() is None, (self.folder / "up.log").read_text()
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def processes(self) -> dict[int, str]:
        """Living processes of this installation, known by its data folder in their environment."""
        needle = f"CHANCERY_DATA_DIR={self.data}\0".encode()
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if needle in (place / "environ").read_bytes():
                    words = (place / "cmdline").read_bytes().split(b"\0")
                    found[int(place.name)] = b" ".join(words).decode()
            except OSError:
                continue
        return {number: words for number, words in found.items() if words.strip()}

    def on_terminal(
        self, *words: object, answers: Sequence[tuple[str, str]] = ()
    ) -> tuple[int, str]:
        """Run on a terminal: wait for each prompt, type its answer; the status and all that was shown."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", *map(str, words)],
            env={**self.environment, "TERM": "xterm", "COLUMNS": "200"},
            cwd=self.folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        shown = ""
        for prompt, answer in answers:
            while prompt not in shown:
                shown += _read_terminal(ours)
            os.write(ours, f"{answer}\n".encode())
        while more := _read_terminal(ours):
            shown += more
        os.close(ours)
        return process.wait(timeout=30), shown

    def settings(self) -> Settings:
        return Settings(data_dir=self.data, key_file=self.key_file, database_url=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Karvenia:
    """A running installation, everybody logged in on a machine of their own, one practice account connected."""

    operator: Machine
    people: Mapping[str, Machine]
    practice: Mapping[str, str]  #: urls by platform, and the `admin_token`
    secret: str  #: of the account hq.mastodon

    def __getitem__(self, code: str) -> Machine:
        return self.people[code]

    def public_posts(self) -> list[dict[str, Any]]:
        log = ask_practice(self.practice, "GET", "/practice/log?since=0")
        return [entry for entry in log["entries"] if entry["kind"] == "post"]


def _read_terminal(descriptor: int) -> str:
    try:
        return os.read(descriptor, 65_536).decode(errors="replace")
    except OSError:  # what Linux answers when the other side is closed
        return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(is_true: Callable[[], object], *, within_s: float = 45) -> None:
    end = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def ask_practice(practice: Mapping[str, str], method: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        practice["mastodon"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {practice['admin_token']}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


async def enrol_people(settings: Settings) -> dict[str, str]:
    """Give Karvenia's people their roles as the set-up does, and answer their enrolment codes."""
    codes = {}
    async with application(settings, service="test", platforms=build, ringing=False) as app:
        for code, name, role in PEOPLE:
            async with app.open_uow() as uow:
                root = await missions.find_root(uow)
                assert root is not None
                person = await people.insert_person(uow, code, name, (), None)
                grant = NewGrant(person=code, mission=root.code, role=role)
                await people.insert_bootstrap_grant(uow, person, root, grant)
                codes[code] = (await tokens.enrol(uow, person, issued_by=None)).code
    return codes


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Nothing is installed on it."""
    return Machine.empty(tmp_path)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A fresh installation that never ran, to be copied."""
    machine = Machine.empty(tmp_path_factory.mktemp("installation"))
    machine.ask(*INIT)
    return machine


@pytest.fixture
def installed(machine: Machine, installation: Machine) -> Machine:
    """Installed on it, and never started."""
    shutil.copytree(installation.data, machine.data)
    shutil.copytree(installation.key_file.parent, machine.key_file.parent)
    return machine


@contextmanager
def run_practice(folder: Path) -> Iterator[Mapping[str, str]]:
    command = [sys.executable, "-m", "scheduler.practice", "--no-limits", "--data", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def karvenia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Karvenia]:
    folder = tmp_path_factory.mktemp("karvenia")
    with run_practice(folder / "practice") as practice:
        operator = Machine.empty(folder).having(
            CHANCERY_EGRESS_ALLOW=",".join(
                practice[name].split("//")[1] for name in ("mastodon", "bluesky")
            )
        )
        made = operator.ask(*INIT)
        codes = {each["person"]: each["code"] for each in made["enrolments"]}
        codes |= asyncio.run(enrol_people(operator.settings()))
        with operator.up():
            people_ = {code: log_in(operator, code, secret) for code, secret in codes.items()}
            profile = ask_practice(
                practice, "POST", "/practice/accounts", {"handle": "hq", "display_name": "Karvenia"}
            )
            found = Karvenia(
                operator=operator, people=people_, practice=practice, secret=profile["token"]
            )
            connect(found, "hq.mastodon", found.secret)
            yield found


def connect(karvenia: Karvenia, code: str, secret: str) -> dict[str, Any]:
    words = ("--mission=krv.hq", "--platform=mastodon", "--language=en", "--secret-file=-")
    url = f"--url={karvenia.practice['mastodon']}"
    added: dict[str, Any] = karvenia["bizjak"].ask(
        "account", "add", code, url, *words, stdin=secret
    )
    return added


def log_in(operator: Machine, person: str, code: str) -> Machine:
    own = operator.having(XDG_CONFIG_HOME=str(operator.folder / "people" / person))
    done = own.run("login", "--url", operator.url, stdin=f"{code}\n")
    assert done.returncode == 0, done.stderr
    return own
