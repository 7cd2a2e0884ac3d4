"""Alerts about decisions: an office that is late, a broken glass, and who is told for information."""

from datetime import timedelta

import pytest
from sqlmodel import col, select

from scheduler.db.tables import OutboundEvent, Post
from scheduler.policy.clearance import Mode
from scheduler.services import alerts
from tests.integration.clearing_fixtures import decide, staff, submit
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _kinds(world: World, post: Post) -> list[tuple[str, list[str]]]:
    async with world.app.open_uow.read() as uow:
        query = select(OutboundEvent).where(col(OutboundEvent.post_id) == post.id)
        found = await uow.session.scalars(query.order_by(col(OutboundEvent.id)))
        return [
            (each.kind, [*each.detail.get("without", []), *each.detail.get("inform", [])])
            for each in found
        ]


async def _let_pass(world: World, post: Post, minutes: int) -> None:
    """As if it had been submitted so much earlier."""
    async with world.app.open_uow() as uow:
        row = await uow.session.get_one(Post, post.id)
        assert row.answer_by is not None
        row.answer_by -= timedelta(minutes=minutes)


async def test_an_office_that_is_late_is_told_once(own: World) -> None:
    await staff(own)
    post = await submit(own, "Good morning from Lipovec!", post_class="statement")
    await _let_pass(own, post, 59)
    await alerts.find_situations(own.app.open_uow)
    assert await _kinds(own, post) == []
    await _let_pass(own, post, 2)
    for _ in range(2):
        await alerts.find_situations(own.app.open_uow)
    assert await _kinds(own, post) == [("clearance_late", [])]


async def test_a_post_that_somebody_approves_is_late_no_more(own: World) -> None:
    await staff(own)
    post = await submit(own, "Good morning from Lipovec!", post_class="statement")
    await decide(own, post, "pogacnik", Mode.CLEAR)
    await decide(own, post, "hribernik")
    async with own.app.open_uow.read() as uow:
        assert (await uow.session.get_one(Post, post.id)).answer_by is None
    await decide(own, post, "dolinar")
    assert await _kinds(own, post) == [("for_information", ["ambassador"])]


async def test_a_broken_glass_is_told_with_the_offices_that_were_passed_over(own: World) -> None:
    await staff(own)
    post = await submit(own, "The railway opens.")
    await decide(own, post, "hribernik", Mode.BREAK_GLASS, reason="a flood in Lipovec")
    assert await _kinds(own, post) == [("glass_broken", ["desk", "protocol"])]
