"""No token, session, code or key in the database, in Redis, in a file or in a log, in any encoding."""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import asyncpg
import pytest
from aiohttp import ClientSession
from redis import Redis
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlmodel import select

from adapters.registry import build
from scheduler.app import application
from scheduler.db import persons
from scheduler.db.tables import Account
from scheduler.ids import new_id
from scheduler.practice.accounts import NewAccount
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.services import media, secrets, tokens
from scheduler.vault.envelope import TokenUnavailableError
from scheduler.vault.keyfile import KeyRing
from tests.integration.fault_fixtures import Yard, until, yard_fixture  # noqa: F401 - fixtures
from tests.support.echo import EchoingPlatform
from tests.support.leaks import find_leaks, forms, packings
from tests.support.pictures import picture
from tests.support.processes import PracticeProcess, WebProcess, WorkerProcess
from tests.support.redis import TestRedis

_SECRET = b"chancery_Zm9vYmFy-_0123456789abcdefghijklmnop"
_ROOT = Path(__file__).parents[2]
_UNSAID = "Words that nobody may read before their time"
_FIRST_ERRORS = (422, 500, 400, 403, 401)


@pytest.fixture
async def practice(tmp_path: Path) -> AsyncIterator[PracticeProcess]:
    """The platforms, each behind a server that repeats secrets in its errors."""
    with PracticeProcess(tmp_path / "practice") as network:
        async with (
            EchoingPlatform(network.mastodon_url, statuses=_FIRST_ERRORS) as mastodon,
            EchoingPlatform(network.bluesky_url, statuses=_FIRST_ERRORS) as bluesky,
        ):
            network.mastodon_url, network.bluesky_url = mastodon.url, bluesky.url
            network.echoes = (mastodon, bluesky)  # type: ignore[attr-defined]
            yield network


@pytest.mark.parametrize("form", packings(_SECRET))
def test_the_search_finds_a_planted_secret_in_each_form(form: str) -> None:
    place = b"a line of a log\n" * 20 + packings(_SECRET)[form] + b"\nanother\n" * 20
    assert find_leaks({"planted": _SECRET}, {"log": place})


def test_the_search_finds_nothing_where_nothing_is() -> None:
    others = b"".join(packings(_SECRET[::2] + _SECRET[1::2]).values())
    assert find_leaks({"planted": _SECRET}, {"log": others}) == []
    assert len(forms(_SECRET)) >= 17


@pytest.mark.timeout(180)
async def test_no_secret_stands_in_the_database_in_redis_in_a_file_or_in_a_log(
    yard: Yard, tmp_path: Path
) -> None:
    log, known = tmp_path / "web.log", {}
    yard.practice.turn(Platform.BLUESKY, Turn(expire_sessions=True))
    with TestRedis(yard.settings.data_dir / "redis") as redis:
        known |= await _use_the_api(yard, log)
        await _publish_among_echoes(yard)
        known |= _platform_secrets(yard) | _keys_in(yard.settings.key_file)
        places = _files(yard.settings.data_dir) | await _database(yard) | _redis(redis)
        places |= {each.name: each.read_bytes() for each in (log, yard.log)}
    places |= {f"{name} at rest": data for name, data in _files(yard.settings.data_dir).items()}
    assert _UNSAID.encode() not in places["worker.log"]
    assert len(known) >= 25
    assert {"worker.log", "redis/appendonlydir"} <= {_shelf(name) for name in places}
    assert min(len(places[name]) for name in ("worker.log", "database")) > 0
    assert find_leaks(known, places) == []


def test_a_logged_exception_shows_none_of_the_variables_around_it() -> None:
    program = """
import structlog
from scheduler.logs import configure_logs
configure_logs("DEBUG")
def ask(headers):
    raise KeyError("broken")
try:
    ask({"Authorization": "Bearer " + "-".join(["toad"] * 4)})
except KeyError:
    structlog.get_logger().exception("step.failed")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, capture_output=True, check=True
    )
    assert b"step.failed" in done.stderr
    assert b"toad-toad" not in done.stderr


@pytest.mark.parametrize("database", ["sqlite"])
async def test_a_stolen_database_with_another_key_file_opens_nothing(
    yard: Yard, tmp_path: Path
) -> None:
    stolen = tmp_path / "thief" / "keys.json"
    KeyRing.create(stolen, origin="audit.karvenia.example/log1")
    settings = yard.settings.model_copy(update={"key_file": stolen})
    async with (
        application(settings, service="test", platforms=build, ringing=False) as thief,
        thief.open_uow.read() as uow,
    ):
        found = list(await uow.session.scalars(select(Account)))
        assert len(found) == 4
        for account in found:
            with pytest.raises(TokenUnavailableError):
                await secrets.open_credentials(uow, thief.kit, account)
    async with yard.world.app.open_uow.read() as uow:
        for account in found:
            assert (await secrets.open_credentials(uow, yard.world.app.kit, account)).secret


@dataclass(frozen=True, slots=True)
class _Api:
    session: ClientSession

    async def post(self, path: str, body: object, token: str) -> dict[str, str]:
        """The answer to the first of two equal requests with one `Idempotency-Key`."""
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(new_id())}
        found = []
        for _ in range(2):
            async with self.session.post(f"/api/v1{path}", json=body, headers=headers) as answer:
                found.append(await answer.json())
        first: dict[str, str] = found[0]
        return first


async def _use_the_api(yard: Yard, log: Path) -> dict[str, bytes]:
    """Enrol, redeem, log in wrongly and connect accounts, with repetitions; every secret that was told."""
    async with yard.world.app.open_uow() as uow:
        code = await tokens.enrol(uow, await persons.get_by_code(uow, "bizjak"), issued_by=None)
        admin = await tokens.redeem(uow, code.code)
    with WebProcess(yard.settings, log, CHANCERY_LOG_LEVEL="DEBUG") as site:
        async with ClientSession(base_url=site.url) as session:
            told = {"code of an admin": code.code, "token of an admin": admin.token}
            told |= await _enrol(_Api(session), admin.token)
            told |= await _connect_among_echoes(_Api(session), yard, admin.token)
        assert await asyncio.to_thread(site.end) == 0
    found = {name: secret.encode() for name, secret in told.items()}
    for name, secret in told.items():
        if name.startswith("code"):
            found[f"{name}, as bytes"] = base64.b32decode(secret.replace("-", ""))
            found[f"{name}, joined"] = secret.replace("-", "").encode()
    return found


async def _enrol(api: _Api, admin: str) -> dict[str, str]:
    """An officer's code and token, and mistakes with both."""
    code = (await api.post("/persons/olena/enrolment", {}, admin))["code"]
    token = (await api.post("/enrolments/redeem", {"code": code}, admin))["token"]
    wrong = token[:-2] + "_-"
    await api.post("/enrolments/redeem", {"code": code[:-1] + "7", "more": token}, admin)
    await api.post("/posts", {"oops": token}, token)
    await api.post("/posts", {}, wrong)
    return {"code of an officer": code, "token of an officer": token, "wrong token": wrong}


async def _connect_among_echoes(api: _Api, yard: Yard, admin: str) -> dict[str, str]:
    """Connect accounts on servers whose first answers are errors with the secrets in them."""
    told = {}
    for platform, echo in zip(Platform, yard.practice.echoes, strict=True):  # type: ignore[attr-defined]
        echo.is_hostile = True
        is_mastodon = platform is Platform.MASTODON
        handle = "vienna" if is_mastodon else "vienna.karvenia.example"
        new = NewAccount(handle=handle, display_name="Vienna")
        made = yard.practice.open_account(platform, new)
        told[f"secret of {platform}"] = made.get("token") or made["app_password"]
        body = {
            "code": f"vienna.{platform.value}",
            "mission": "krv.hq",
            "platform": platform.value,
            "base_url": echo.url,
            "identifier": "" if is_mastodon else handle,
            "language": "en",
            "secret": told[f"secret of {platform}"],
        }
        answers = [await api.post("/accounts", body, admin) for _ in range(8)]
        assert any("id" in each for each in answers), answers
        assert any("id" not in each for each in answers), answers
    return told


async def _publish_among_echoes(yard: Yard) -> None:
    """Posts to servers that answer the first calls of every endpoint with errors that tell the secrets."""
    with yard.worker(CHANCERY_LOG_LEVEL="DEBUG") as worker:
        for number in range(3):
            await yard.schedule(
                f"Number {number} from Lipovec",
                *(f"{name}.{platform.value}" for name in ("hq", "vienna") for platform in Platform),
            )
        await _lose_a_picture(yard, worker)
        await until(lambda: _has_seen_all(yard), "all kinds of ends", describe=yard.states)
        assert await asyncio.to_thread(worker.end) == 0
    for echo in yard.practice.echoes:  # type: ignore[attr-defined]
        assert echo.echoed >= 5


async def _lose_a_picture(yard: Yard, worker: WorkerProcess) -> None:
    """A post whose picture is a folder now: an error that nobody foresaw, with its traceback in the log."""
    app, officer = yard.world.app, await yard.world.actor("hocevar")
    kept = await media.upload(app.open_uow, app.kit, officer, "krv.hq", picture("PNG"), "image/png")
    [path] = (yard.settings.data_dir / "media").rglob(kept.sha256)
    path.unlink()
    path.mkdir()
    segment = {"text": _UNSAID, "media": [{"sha256": kept.sha256, "alt": _UNSAID}]}
    await yard.world.scheduled(texts={"en": [segment]}, targets=("hq.bluesky", "vienna.bluesky"))
    await yard.until_logged(worker, "prepare.failed")


async def _has_seen_all(yard: Yard) -> bool:
    """Posts have been published and refused, and others were in doubt, each after errors that told secrets."""
    deliveries = await yard.deliveries()
    states = [each.state for each in deliveries]
    doubts = sum(each.reason != "" or "looks" in each.progress for each in deliveries)
    return states.count("verified") >= 4 and "rejected" in states and doubts >= 2


def _platform_secrets(yard: Yard) -> dict[str, bytes]:
    """All that went over the wire: tokens, passwords, session JWTs, whole and their signatures."""
    found = {}
    for echo in yard.practice.echoes:  # type: ignore[attr-defined]
        for number, secret in enumerate(sorted(echo.seen)):
            name = f"secret {number} of {echo.url}"
            found[name] = secret.encode()
            if secret.count(".") == 2:
                found[f"{name}, signature"] = secret.rpartition(".")[2].encode()
    return found


def _keys_in(path: Path) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}

    def walk(name: str, value: object) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(f"{name}.{key}", item)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                walk(f"{name}[{number}]", item)
        elif isinstance(value, str) and len(value) == 44:
            keys[name] = base64.b64decode(value)

    walk("key", json.loads(path.read_text()))
    assert len(keys) >= 5
    return keys | {"job key": KeyRing(path).derive("jobs")}


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def _database(yard: Yard) -> dict[str, bytes]:
    """Every value of every table, as it is stored and one after the other."""
    if not yard.settings.is_sqlite:
        return {"database": await _copy_of(str(yard.settings.sqlalchemy_url))}
    rows: list[bytes] = []
    async with yard.world.app.open_uow.read() as uow:
        names = await uow.session.scalars(
            text("SELECT name FROM sqlite_master WHERE type = 'table'")
        )
        for name in names.all():
            found = await uow.session.execute(text(f'SELECT * FROM "{name}"'))  # noqa: S608 - its own names
            rows += [_plain(value) for row in found for value in row]
    assert (yard.settings.data_dir / "chancery.db-wal").stat().st_size
    return {"database": b"\n".join(rows)}


def _plain(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


async def _copy_of(url: str) -> bytes:
    """`COPY … TO STDOUT` of all tables, in the binary form: no byte is escaped in it."""
    place = make_url(url)
    connection = await asyncpg.connect(
        host=place.query.get("host") or place.host, user=place.username, database=place.database
    )
    target = BytesIO()
    names = await connection.fetch(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    for name in names:
        await connection.copy_from_table(name[0], output=target, format="binary")
    await connection.close()
    assert len(names) > 20
    return target.getvalue()


def _redis(server: TestRedis) -> dict[str, bytes]:
    with Redis.from_url(server.url) as client:
        client.set("a key of ours", "")  # jobs are gone by now, but what is there has to be seen
        keys = client.keys("*")
        dumped = [key + b"\n" + (client.dump(key) or b"") for key in keys]
    assert b"a key of ours" in keys
    return {"redis, dumped": b"\n".join(dumped)}


def _shelf(name: str) -> str:
    return name.rpartition("/")[0] or name
