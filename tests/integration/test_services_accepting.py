"""Warnings and overrides: the author gives a reason, which is part of what is approved."""

import json

import pytest
from sqlalchemy import text

from scheduler.policy.clearance import Mode
from scheduler.services import posts
from scheduler.services.release import Clearance, Obstacle
from tests.integration.clearing_fixtures import (
    decide,
    draft,
    judge_delivery,
    revoke,
    send,
    staff,
    submit,
)
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    refused,
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_warning_is_accepted_with_a_reason_that_is_part_of_what_is_approved(
    own: World,
) -> None:
    await staff(own)
    written = await draft(own, "Cloudy, alas.")
    async with refused(own, "acceptance_missing"):
        await send(own, written)
    async with refused(own, "nothing_to_accept"):
        await send(own, written, tone="a poem", rail="why not")
    post = await send(own, written, tone="a line of a poem")
    assert post.accepted == {"tone": "a line of a poem"}
    other = json.dumps({"tone": "another reason"})
    async with own.app.open_uow() as uow:
        key = post.id.hex if uow.session.get_bind().dialect.name == "sqlite" else post.id
        await uow.session.execute(
            text("UPDATE post SET accepted = :other WHERE id = :id"), {"other": other, "id": key}
        )
    async with refused(own, "content_changed"):
        await decide(own, post, "zorc")


async def test_an_override_needs_a_reason_and_the_office_that_may_give_it(own: World) -> None:
    await staff(own)
    written, never = await draft(own, "The Old Bridge opens."), await draft(own, "A secret.")
    async with refused(own, "policy_blocked"):
        await send(own, written)
    async with refused(own, "policy_blocked"):
        await send(own, never, never="please")
    post = await send(own, written, name="title of a film")
    async with refused(own, "clearance_missing"):
        await decide(own, post, "zorc")
    await decide(own, post, "furlan", Mode.CLEAR)
    assert (await decide(own, post, "zorc")).state == "scheduled"
    assert isinstance(await judge_delivery(own, post), Clearance)
    await revoke(own, "furlan")
    assert isinstance(await judge_delivery(own, post), Obstacle)


async def test_what_the_author_may_override_needs_their_reason_alone(own: World) -> None:
    await staff(own)
    post = await submit(own, "Hello folks.", accepted={"ours": "a quotation"})
    assert (await decide(own, post, "zorc")).state == "scheduled"
    assert isinstance(await judge_delivery(own, post), Clearance)


async def test_reasons_are_gone_with_the_revision(own: World) -> None:
    await staff(own)
    post = await submit(own, "Cloudy, alas.", accepted={"tone": "a line of a poem"})
    async with own.as_("hocevar") as (uow, actor):
        back = await posts.withdraw(uow, actor, post.id)
        await uow.session.refresh(back)
        assert (back.accepted, back.submitted_at, back.answer_by) == (None, None, None)
    async with refused(own, "acceptance_missing"):
        await send(own, back)
