"""One event for each committed change, told by the unit of work: with ids, codes and durations, without anybody's words."""

import json

import pytest
import structlog
from sqlalchemy import select
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.audit.record import parse_record
from scheduler.db.tables import AuditOutbox
from scheduler.services import deliveries, postures
from tests.integration.fault_fixtures import Yard, practice, yard_fixture  # noqa: F401 - fixtures
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

in_the_session = pytest.mark.asyncio(loop_scope="session")


@in_the_session
async def test_every_record_of_a_commit_is_one_event_with_its_ids_and_moves(own: World) -> None:
    with structlog.testing.capture_logs() as lines:
        post = await own.scheduled()
    [delivery] = await own.deliveries(post)
    told = [each for each in lines if "record" in each]
    async with own.app.open_uow.read() as uow:
        query = select(AuditOutbox).order_by(col(AuditOutbox.id))
        rows = [parse_record(row.body) for row in await uow.session.scalars(query)]
    assert [each["record"] for each in told] == [each.id for each in rows][-len(told) :]
    [ready] = [each for each in told if each["event"] == "delivery.ready"]
    assert ready["delivery"] == str(delivery.id)
    assert ready["post"] == str(post.id)
    assert (ready["from"], ready["to"]) == ("planned", "ready")
    assert ready["took_ms"] > 0


@in_the_session
async def test_what_was_rolled_back_is_not_told(own: World) -> None:
    with structlog.testing.capture_logs() as lines, pytest.raises(ZeroDivisionError):
        async with own.app.open_uow() as uow:
            uow.record(Action.POLICY_ACTIVATE, {"t": "policy", "id": "0"})
            raise ZeroDivisionError
    assert lines == []


@in_the_session
async def test_nobodys_words_are_told(own: World) -> None:
    words = "a secret of Lipovec"
    with structlog.testing.capture_logs() as lines:
        post = await own.scheduled(texts={"en": [{"text": words, "media": []}]}, title=words)
        async with own.as_("bizjak") as (uow, actor):
            await postures.stop(uow, actor, reason=words)
        async with own.working():
            [held] = await own.settle(post, lambda each: each.state == "held")
        async with own.as_("zorc") as (uow, actor):
            await deliveries.resolve(
                uow,
                actor,
                held.id,
                reason=words,
                resolution=deliveries.Resolution.POSTED,
                url=f"https://karvenia.example/{words}",
            )
    assert words not in json.dumps(lines, default=str)
    [hold] = [each for each in lines if each["event"] == "delivery.hold"]
    assert hold["code"] == "stopped"
    assert {"posture.stop", "delivery.resolve", "post.close"} <= {each["event"] for each in lines}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("database", ["sqlite"])
async def test_a_workers_log_has_one_line_for_each_move_of_a_delivery(yard: Yard) -> None:
    with yard.worker() as worker:
        await yard.schedule("Good morning from Lipovec!")
        await yard.until_done(count=1, worker=worker)
        assert worker.end() == 0
    lines = [json.loads(line) for line in worker.lines()]
    moves = [each for each in lines if each["event"].startswith("delivery.")]
    assert [each["event"] for each in moves] == [
        f"delivery.{move}" for move in ("claim", "prepare", "intent", "sent", "verify")
    ]
    assert {each["level"] for each in moves} == {"info"}
    intent = moves[2]
    assert intent["attempt"] == 1
    assert intent["since_due_ms"] >= 0
    assert "Good morning" not in worker.log.read_text()
