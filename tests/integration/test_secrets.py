"""No token, session, code or key in the database, in Redis, in a file or in a log, in any encoding."""

import asyncio
import base64
import dataclasses
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import asyncpg
import pytest
from aiohttp import ClientSession
from redis import Redis
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlmodel import SQLModel, select

from adapters.registry import build
from scheduler.app import application
from scheduler.db import persons
from scheduler.db.tables import Account
from scheduler.practice.accounts import NewAccount
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.services import secrets, tokens
from scheduler.vault.envelope import TokenUnavailableError
from scheduler.vault.keyfile import KeyRing
from tests.integration.fault_fixtures import Yard, until, yard_fixture  # noqa: F401 - fixtures
from tests.support.echo import EchoingPlatform
from tests.support.leaks import find_leaks, forms, packings
from tests.support.processes import PracticeProcess, WebProcess
from tests.support.redis import TestRedis

_SECRET = b"chancery_Zm9vYmFy-_0123456789abcdefghijklmnop"
_FIRST_ERRORS = (422, 500, 400, 403, 401)


@dataclasses.dataclass(slots=True)
class Echoes(PracticeProcess):
    """The practice network behind two servers that repeat secrets in their errors."""


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
        with WebProcess(yard.settings, log, CHANCERY_LOG_LEVEL="DEBUG") as site:
            known |= await _use_the_api(yard, site.url)
            assert await asyncio.to_thread(site.end) == 0
        await _publish_among_echoes(yard)
        known |= _platform_secrets(yard) | _keys_in(yard.settings.key_file)
        places = _files(yard.settings.data_dir) | await _database(yard) | _redis(redis)
        places |= {each.name: each.read_bytes() for each in (log, yard.log)}
    places |= {f"{name} at rest": data for name, data in _files(yard.settings.data_dir).items()}
    assert len(known) >= 25
    assert {"worker.log", "redis/appendonlydir"} <= {_shelf(name) for name in places}
    assert min(len(places[name]) for name in ("web.log", "worker.log", "database")) > 0
    assert find_leaks(known, places) == []


@pytest.mark.parametrize("database", ["sqlite"])
async def test_a_stolen_database_with_another_key_file_opens_nothing(
    yard: Yard, tmp_path: Path
) -> None:
    stolen = tmp_path / "thief" / "keys.json"
    KeyRing.create(stolen, origin="audit.karvenia.example/log1")
    settings = yard.settings.model_copy(update={"key_file": stolen})
    async with application(settings, service="test", platforms=build, ringing=False) as thief:
        async with thief.open_uow.read() as uow:
            found = list(await uow.session.scalars(select(Account)))
            assert len(found) == 4
            for account in found:
                with pytest.raises(TokenUnavailableError):
                    await secrets.open_credentials(uow, thief.kit, account)
    async with yard.world.app.open_uow.read() as uow:
        for account in found:
            assert (await secrets.open_credentials(uow, yard.world.app.kit, account)).secret


async def _use_the_api(yard: Yard, url: str) -> dict[str, bytes]:
    """Enrol, redeem, log in wrongly and connect accounts, with repetitions; every secret that was told."""
    async with yard.world.app.open_uow() as uow:
        code = await tokens.enrol(uow, await persons.get_by_code(uow, "bizjak"), issued_by=None)
        admin = await tokens.redeem(uow, code.code)
    told = {"code of an admin": code.code, "token of an admin": admin.token}
    async with ClientSession(base_url=url) as session:

        async def post(path: str, body: object, *, token: str = admin.token) -> dict[str, str]:
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"once {path}"}
            found: dict[str, str] = {}
            for _ in range(2):
                async with session.post(f"/api/v1{path}", json=body, headers=headers) as answer:
                    found = found or await answer.json()
            return found

        enrolled = await post("/persons/olena/enrolment", {})
        redeemed = await post("/enrolments/redeem", {"code": enrolled["code"]})
        told |= {"code of an officer": enrolled["code"], "token of an officer": redeemed["token"]}
        await post("/enrolments/redeem", {"code": enrolled["code"][:-1] + "7", "more": redeemed["token"]})
        await post("/posts", {"oops": redeemed["token"]}, token=redeemed["token"])
        told["wrong token"] = redeemed["token"][:-2] + "_-"
        await post("/posts", {}, token=told["wrong token"])
        for echo in yard.practice.echoes:  # type: ignore[attr-defined]
            echo.is_hostile = True
        for platform in Platform:
            handle = "vienna.karvenia.example" if platform is Platform.BLUESKY else "vienna"
            made = yard.practice.open_account(
                platform, NewAccount(handle=handle, display_name="Vienna")
            )
            told[f"secret of {platform}"] = made.get("token") or made["app_password"]
            for attempt in range(8):
                body = {
                    "code": f"vienna.{platform.value}",
                    "mission": "krv.hq",
                    "platform": platform.value,
                    "server": yard.practice.mastodon_url
                    if platform is Platform.MASTODON
                    else yard.practice.bluesky_url,
                    "identifier": "" if platform is Platform.MASTODON else handle,
                    "language": "en",
                    "secret": told[f"secret of {platform}"],
                    "attempt": attempt,
                }
                del body["attempt"]
                answer = await post("/accounts", body)
                if "id" in answer:
                    break
            assert "id" in answer, answer
    found = {name: secret.encode() for name, secret in told.items()}
    for name, secret in told.items():
        if name.startswith("code"):
            found[f"{name}, as bytes"] = base64.b32decode(secret.replace("-", ""))
            found[f"{name}, joined"] = secret.replace("-", "").encode()
    return found


async def _publish_among_echoes(yard: Yard) -> None:
    """Posts to servers that answer errors with the secrets in them, at every endpoint, until they stop."""
    with yard.worker(CHANCERY_LOG_LEVEL="DEBUG") as worker:
        for number in range(3):
            await yard.schedule(
                f"Number {number} from Lipovec",
                *(f"{name}.{platform.value}" for name in ("hq", "vienna") for platform in Platform),
            )
        await until(lambda: _is_settled(yard), "settled", describe=yard.states, within_s=90)
        assert await asyncio.to_thread(worker.end) == 0
    for echo in yard.practice.echoes:  # type: ignore[attr-defined]
        assert echo.echoed >= 5


async def _is_settled(yard: Yard) -> bool:
    """Nothing is under way any more, except on accounts that a refusal has paused."""
    async with yard.world.app.open_uow.read() as uow:
        accounts = {each.id: each.state for each in await uow.session.scalars(select(Account))}
    over = {"verified", "drifted", "rejected", "held", "expired"}
    return all(
        each.state in over or (each.state == "ready" and accounts[each.account_id] == "paused")
        for each in await yard.deliveries()
    )


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
        for table in SQLModel.metadata.tables or ():
            rows += [repr(row).encode() for row in await uow.session.execute(text(f"SELECT * FROM {table}"))]  # noqa: S608
    wal = yard.settings.data_dir / "chancery.db-wal"
    assert wal.stat().st_size
    return {"database": b"\n".join(rows)}


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
        keys = client.keys("*")
        dumped = [key + b"\n" + (client.dump(key) or b"") for key in keys]
    assert dumped
    return {"redis, dumped": b"\n".join(dumped)}


def _shelf(name: str) -> str:
    return name.rpartition("/")[0] or name
