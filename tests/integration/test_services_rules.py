"""Policies and stops: in force for everybody at once, and on record with a reason."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import update
from sqlmodel import col

from scheduler.db import rules
from scheduler.db.tables import Delivery
from scheduler.services import policies, postures
from scheduler.services.writing import When
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import POLICY, World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECOND = POLICY.replace(b"karvenia-test-1", b"karvenia-test-2")
SOON = When(local="2090-06-01T09:00")


async def test_a_policy_is_in_force_once_it_is_activated(own: World) -> None:
    async with recording(own) as actions, own.as_("bizjak") as (uow, actor):
        activated = await policies.activate(uow, actor, SECOND)
    assert actions == ["policy.activate"]
    async with own.app.open_uow.read() as uow:
        active = await policies.get_active(uow)
    assert (active.version, active.body) == ("karvenia-test-2", SECOND)
    assert active.digest == activated.digest
    assert active.activated_by is not None
    async with refused(own, "policy_unchanged"), own.as_("oblak") as (uow, actor):
        await policies.activate(uow, actor, SECOND)


async def test_an_earlier_policy_may_be_put_back(own: World) -> None:
    for body in (SECOND, POLICY):
        async with own.as_("bizjak") as (uow, actor):
            await policies.activate(uow, actor, body)
    async with own.app.open_uow.read() as uow:
        assert (await policies.get_active(uow)).body == POLICY


@pytest.mark.parametrize(
    ("by", "body", "code"),
    [
        ("bizjak", POLICY, "policy_unchanged"),
        ("bizjak", b"", "policy_invalid"),
        ("bizjak", b"format = 1\n[[rules]]\nid = 'x'", "policy_invalid"),
        ("bizjak", b"\xff\xfe", "policy_invalid"),
        ("bizjak", SECOND.replace(b'"block"', b'"perhaps"'), "policy_invalid"),
        ("zorc", SECOND, "permission_denied"),
        ("mlakar", SECOND, "permission_denied"),
        ("olena", SECOND, "permission_denied"),
    ],
)
async def test_a_policy_is_refused(shared: World, by: str, body: bytes, code: str) -> None:
    async with refused(shared, code), shared.as_(by) as (uow, actor):
        await policies.activate(uow, actor, body)
    async with shared.app.open_uow.read() as uow:
        assert (await policies.get_active(uow)).version == "karvenia-test-1"


async def test_the_policy_of_the_set_up_was_activated_by_nobody(shared: World) -> None:
    async with shared.app.open_uow.read() as uow:
        assert (await policies.get_active(uow)).activated_by is None


@pytest.mark.parametrize("by", ["hocevar", "zorc", "bizjak"])
async def test_whoever_works_at_the_headquarters_may_stop_and_resume(own: World, by: str) -> None:
    async with recording(own) as actions, own.as_(by) as (uow, actor):
        receipt = await postures.stop(uow, actor, reason="A day of mourning")
    assert actions == ["posture.stop"]
    assert receipt.posture.started_by == actor.person_id
    async with own.app.open_uow.read() as uow:
        stop = await rules.find_stop(uow)
    assert stop is not None
    assert stop.reason == "A day of mourning"
    async with refused(own, "already_stopped"), own.as_("zorc") as (uow, actor):
        await postures.stop(uow, actor, reason="again")
    async with recording(own) as actions, own.as_(by) as (uow, actor):
        ended = await postures.resume(uow, actor, reason="The day is over")
    assert actions == ["posture.resume"]
    assert ended.ended_by == actor.person_id
    async with own.app.open_uow.read() as uow:
        assert await rules.find_stop(uow) is None


async def test_what_is_not_stopped_is_not_resumed(shared: World) -> None:
    async with refused(shared, "not_stopped"), shared.as_("zorc") as (uow, actor):
        await postures.resume(uow, actor, reason="to be sure")


@pytest.mark.parametrize(
    ("by", "reason", "code"),
    [
        ("zorc", "", "reason_missing"),
        ("zorc", " \t\n", "reason_missing"),
        ("mlakar", "an auditor only looks", "permission_denied"),
        ("olena", "an embassy stops nobody else", "permission_denied"),
    ],
)
async def test_a_stop_and_its_end_are_refused(
    shared: World, by: str, reason: str, code: str
) -> None:
    for act in (postures.stop, postures.resume):
        async with refused(shared, code), shared.as_(by) as (uow, actor):
            await act(uow, actor, reason=reason)


async def test_a_stop_tells_what_it_caught_and_what_it_came_too_late_for(own: World) -> None:
    made = {}
    for state in ("ready", "claimed", "preparing", "sending"):
        post = await own.scheduled(when=SOON)
        async with own.app.open_uow() as uow:
            query = update(Delivery).where(col(Delivery.post_id) == post.id)
            lease = None if state == "ready" else datetime(2090, 1, 1, tzinfo=UTC)
            await uow.session.execute(query.values(state=state, lease_until=lease))
        made[state] = (await own.deliveries(post))[0].id
    await own.draft()
    async with own.as_("zorc") as (uow, actor):
        receipt = await postures.stop(uow, actor, reason="the wrong statement")
    assert set(receipt.caught) == {made["ready"], made["claimed"], made["preparing"]}
    assert receipt.in_flight == (made["sending"],)
