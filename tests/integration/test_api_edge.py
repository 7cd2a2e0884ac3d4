"""What every answer has, and what happens when something goes wrong inside."""

import asyncio
import json
import socket
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession
from pydantic import SecretStr
from sqlalchemy import text, update

from adapters.registry import build
from scheduler.app import App, application
from scheduler.clock import iso
from scheduler.db.tables import AuditOutbox
from scheduler.errors import ChanceryError
from scheduler.services import policies
from scheduler.settings import Settings
from scheduler.web import problems
from scheduler.web.app import serve
from scheduler.web.refusals import TooManyTriesError
from scheduler.web.tries import Tries
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name
from tests.support.world import World


async def test_every_answer_is_safe_to_receive(api: Api) -> None:
    paths = (
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/openapi.json",
        "/posts",
        "/nowhere",
        "/posts/1",
    )
    for path in paths:
        reply = await api.as_("hocevar").get(path)
        assert reply.headers["X-Content-Type-Options"] == "nosniff", path
        assert reply.headers["Cache-Control"] == "no-store"
        assert (
            reply.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        )
        assert reply.headers["Server"] == "chancery"
        assert len(reply.headers["X-Request-Id"]) == 36
        assert "Strict-Transport-Security" not in reply.headers


async def test_an_address_without_a_route_and_a_wrong_method_are_refused(api: Api) -> None:
    for path in ("/nowhere", "/api/v2/posts", "/posts/", "/api/v1"):
        assert (await api.get(path)).code == "route_unknown", path
    wrong = await api.as_("hocevar").send("PUT", "/posts")
    assert (wrong.status, wrong.code, wrong.headers["Allow"]) == (
        405,
        "method_not_allowed",
        "GET, POST",
    )
    trace = await api.send("TRACE", "/posts")
    assert (trace.status, trace.code) == (405, "method_not_allowed")


async def test_a_header_of_ten_kilobytes_is_refused(api: Api) -> None:
    reply = await api.with_headers(X_Large="x" * 10_000).get("/healthz")
    assert reply.status == HTTPStatus.BAD_REQUEST


async def test_the_process_is_alive_and_ready(api: Api) -> None:
    assert (await api.get("/healthz")).of(200) == {"status": "alive"}
    await api.seal()
    ready = (await api.get("/readyz")).of(200)
    assert ready == {"ready": True, "checks": {"database": "ok", "schema": "ok", "sequencer": "ok"}}


async def test_a_sequencer_that_is_behind_makes_the_process_unready(api: Api) -> None:
    async with api.world.app.open_uow() as uow:
        [oldest, *_] = (
            await uow.session.execute(AuditOutbox.__table__.select().order_by(text("id")))
        ).all()
        old = iso(uow.now - timedelta(minutes=2)).encode()
        at = json.loads(oldest.body)["t"].encode()
        await uow.session.execute(
            update(AuditOutbox)
            .where(AuditOutbox.id == oldest.id)
            .values(body=oldest.body.replace(at, old))
        )
    unready = (await api.get("/readyz")).of(503)
    assert unready["ready"] is False
    assert unready["checks"]["sequencer"].startswith("behind by 12")


async def test_a_database_of_another_revision_makes_the_process_unready(api: Api) -> None:
    async with api.world.app.open_uow() as uow:
        await uow.session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    assert (await api.get("/readyz")).of(503)["checks"]["schema"] == "migration needed"


async def test_metrics_count_requests_by_route_and_deliveries_by_state(api: Api) -> None:
    await api.draft()
    await api.as_("hocevar").get("/posts/1")
    await api.get("/secret-in-the-path")
    reply = await api.get("/metrics")
    lines = reply.body.decode().splitlines()
    assert 'chancery_http_requests_total{route="/api/v1/posts",status="201"} 1.0' in lines
    assert 'chancery_http_requests_total{route="/api/v1/posts/{post_id}",status="404"} 1.0' in lines
    assert 'chancery_http_requests_total{route="unknown",status="404"} 1.0' in lines
    assert 'chancery_deliveries{state="planned"} 1.0' in lines
    assert "chancery_database_up 1.0" in lines
    assert any(line.startswith("chancery_audit_unsealed_records ") for line in lines)
    assert "secret-in-the-path" not in reply.body.decode()


async def test_log_lines_have_neither_query_nor_body_nor_token(api: Api) -> None:
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as lines:
        await api.as_("hocevar").get("/posts/1/explain?secret=query")
        await api.as_("hocevar").post("/posts", {"mission": "krv.hq", "title": "secret body"})
        await api.with_token("secret-token").get("/secret-path")
    events = [each for each in lines if each["event"] == "http.request"]
    assert [(each["method"], each["route"], each["status"]) for each in events] == [
        ("GET", "/api/v1/posts/{post_id}/explain", 422),
        ("POST", "/api/v1/posts", 201),
        ("GET", "unknown", 404),
    ]
    assert all(len(each["request"]) == 36 for each in events)
    assert "secret" not in str(lines)
    assert api.people["hocevar"] not in str(lines)


async def test_a_fault_of_ours_tells_the_caller_nothing_and_the_log_where(api: Api) -> None:
    async with api.world.app.open_uow() as uow:
        await uow.session.execute(text("ALTER TABLE post RENAME COLUMN title TO secret_title"))
    with structlog.testing.capture_logs() as lines:
        reply = await api.as_("hocevar").post(
            "/posts", {"mission": "krv.hq", "title": "secret body"}
        )
    assert reply.status in {500, 503}
    assert reply.code in {"internal_error", "database_unavailable"}
    assert b"secret body" not in reply.body
    assert "secret body" not in str(lines)


async def test_an_unexpected_error_is_a_problem_of_its_own(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: object) -> None:
        b"\xff".decode()

    monkeypatch.setattr(policies, "get_active", broken)
    with structlog.testing.capture_logs() as lines:
        reply = await api.as_("hocevar").get("/policy")
    assert (reply.status, reply.code) == (500, "internal_error")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    [failed] = [each for each in lines if each["event"] == "http.failed"]
    assert failed["error"] == "UnicodeDecodeError"
    assert any(each.startswith("policy.py:") for each in failed["where"])


async def test_a_commit_that_fails_is_never_a_success(api: Api, database: str) -> None:
    """A trigger refuses the audit record, as a full disk would: nothing is answered as done, and nothing is there."""
    block = {
        "sqlite": [
            "CREATE TRIGGER disk_full BEFORE INSERT ON audit_outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        ],
        "postgresql": [
            "CREATE FUNCTION disk_full() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$ LANGUAGE plpgsql",
            "CREATE TRIGGER disk_full BEFORE INSERT ON audit_outbox FOR EACH ROW EXECUTE FUNCTION disk_full()",
        ],
    }
    before = len((await api.as_("hocevar").get("/posts")).of(200)["items"])
    async with api.world.app.open_uow() as uow:
        for statement in block[database]:
            await uow.session.execute(text(statement))
    refused = (
        await api.as_("hocevar")
        .with_headers(Idempotency_Key="full")
        .post("/posts", {"mission": "krv.hq"})
    )
    assert refused.status in {500, 503}
    assert len((await api.as_("hocevar").get("/posts")).of(200)["items"]) == before
    denied = await api.as_("hocevar").get("/audit")
    assert denied.status in {500, 503}  # a denial that cannot be put on record is no answer either


async def test_two_who_add_the_same_code_at_once_are_told_apart(api: Api) -> None:
    admin, body = api.as_("bizjak"), {"code": "golob", "name": "Jan Golob"}
    replies = await asyncio.gather(*(admin.post("/persons", body) for _ in range(6)))
    assert sorted(reply.status for reply in replies) == [201] + [409] * 5
    assert {reply.code for reply in replies if reply.status == 409} <= {"code_taken", "race_lost"}


async def test_without_a_database_everything_says_so(api: Api, tmp_path_factory: Any) -> None:
    nowhere = Settings(
        database_url=SecretStr("postgresql://nobody@127.0.0.1:9/none"),
        data_dir=tmp_path_factory.mktemp("data"),
        key_file=api.world.app.settings.key_file,
        base_url="https://chancery.karvenia.example",
        listen="127.0.0.1:0",
    )
    async with (
        application(nowhere, service="web", platforms=build, ringing=False) as app,
        _serving(app) as address,
    ):
        away = api._but(base=address)
        assert (await away.get("/healthz")).of(200) == {"status": "alive"}
        unready = (await away.get("/readyz")).of(503)
        assert unready["checks"] == {
            "database": "unavailable",
            "schema": "unknown",
            "sequencer": "unknown",
        }
        refused = await away.as_("hocevar").get("/posts")
        assert (refused.status, refused.code) == (503, "database_unavailable")
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Strict-Transport-Security"].startswith("max-age=")
        assert "chancery_database_up 0.0" in (await away.get("/metrics")).body.decode().splitlines()


class _serving:  # noqa: N801 - reads as a word
    """`serve` on a port that is free, until the block ends."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> str:
        with structlog.testing.capture_logs():
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            self._task = asyncio.ensure_future(serve(self._app, "127.0.0.1", port, self._stopping))
        async with asyncio.timeout(10), ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/healthz"):
                        return f"http://127.0.0.1:{port}"
                except OSError:
                    await asyncio.sleep(0.01)

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await self._task


async def test_a_stopped_site_answers_no_more(world: World) -> None:
    async with _serving(world.app) as address:
        pass
    async with ClientSession() as session:
        with pytest.raises(OSError):
            await session.get(f"{address}/healthz")


async def test_a_body_that_does_not_arrive_ends_the_request(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.web.parsing._BODY_TIMEOUT_S", 0.05)
    host, _, port = api.base.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/v1/posts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.people['hocevar']}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 10\r\n\r\n".encode())
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "body_slow"
    writer.close()
    await writer.wait_closed()


def test_details_never_replace_what_every_problem_has() -> None:
    told = problems.describe(ChanceryError("no", code="other", status=200, field="x"))
    assert (told["code"], told["status"], told["detail"], told["field"]) == (
        "error",
        400,
        "no",
        "x",
    )


def test_tries_are_counted_for_each_address_and_forgotten_after_a_minute() -> None:
    now = 0.0
    tries = Tries(most=2, clock=lambda: now)
    for _ in range(2):
        tries.count("a")
        tries.count("b")
    with pytest.raises(TooManyTriesError) as refused:
        tries.count("a")
    assert refused.value.details == {"retry_after_s": 61}
    now = 60.0
    tries.count("a")


def test_at_most_ten_thousand_addresses_are_remembered() -> None:
    tries = Tries(most=1, clock=lambda: 0.0)
    for number in range(10_001):
        tries.count(str(number))
    tries.count("0")
    with pytest.raises(TooManyTriesError):
        tries.count("10000")
