"""Campaigns: who opens and closes them, which posts take part, and that a stop by campaign catches just those."""

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from scheduler.db import campaigns as rows
from scheduler.db.tables import Delivery, Post
from scheduler.publishing.sequencer import Sequencer
from scheduler.services import campaigns, evidence, posts, postures
from scheduler.services.evidence import ExportRequest
from scheduler.services.postures import NewPosture
from scheduler.services.writing import When, Writing
from tests.integration.services_fixtures import (
    come_due,
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOON = When(local="2090-06-01T09:00", zone="UTC")


async def _open(
    world: World, code: str = "bridge", *, by: str = "hocevar", of: str = "krv.hq"
) -> None:
    async with world.as_(by) as (uow, actor):
        await campaigns.add(uow, actor, code=code, title="The new bridge", mission_code=of)


async def _close(world: World, code: str = "bridge", *, by: str = "hocevar") -> None:
    async with world.as_(by) as (uow, actor):
        await campaigns.close(uow, actor, code)


async def _stop(world: World, code: str, *, by: str = "zorc") -> postures.StopReceipt:
    async with world.as_(by) as (uow, actor):
        return await postures.stop(uow, actor, reason="why", new=NewPosture(campaign=code))


async def test_a_campaign_is_opened_and_closed_on_record_once(own: World) -> None:
    async with recording(own) as actions:
        await _open(own)
        await _close(own)
    assert actions == ["campaign.add", "campaign.close"]
    async with refused(own, "campaign_closed"):
        await _close(own)
    async with refused(own, "code_taken"):
        await _open(own)


@pytest.mark.parametrize(
    ("by", "of", "code"),
    [
        ("mlakar", "krv.hq", "permission_denied"),
        ("olena", "krv.hq", "not_found"),
        ("olena", "krv.tyo", "not_found"),
    ],
)
async def test_who_does_not_write_for_the_mission_opens_none(
    own: World, by: str, of: str, code: str
) -> None:
    async with refused(own, code):
        await _open(own, by=by, of=of)


async def test_whoever_may_take_part_sees_it_and_only_its_mission_closes_it(own: World) -> None:
    await _open(own)
    await _open(own, "sakura", by="sato", of="krv.tyo")
    for by, seen in (("hocevar", ["sakura", "bridge"]), ("olena", ["bridge"])):
        async with own.as_(by) as (uow, actor):
            assert [each.code for each, _ in await rows.find_all(uow, actor)] == seen
    for code in ("bridge", "sakura"):
        async with refused(own, "not_found"):
            await _close(own, code, by="olena")


async def test_posts_of_its_mission_and_below_take_part_while_it_is_open(own: World) -> None:
    await _open(own)
    await _open(own, "sakura", by="sato", of="krv.tyo")
    for code in ("nothing", "sakura"):
        async with refused(own, "campaign_unknown"):
            await own.draft(campaign=code)
    post = await own.draft(campaign="bridge")
    await _close(own)
    async with refused(own, "campaign_closed"):
        await own.draft(campaign="bridge")
    async with own.as_("hocevar") as (uow, actor):  # it is part of it already
        writing = Writing(campaign="bridge", title="Still")
        edited = await posts.edit(uow, actor, post.id, writing, revision=1)
        assert edited.campaign_id is not None
        left = await posts.edit(uow, actor, post.id, Writing(campaign=""), revision=2)
        assert left.campaign_id is None


async def test_a_stop_by_campaign_catches_its_posts_and_no_others(own: World) -> None:
    await _open(own)
    await _open(own, "harvest")
    await own.scheduled(title="bridge", campaign="bridge")
    await own.scheduled(title="harvest", campaign="harvest", when=SOON)
    await own.scheduled(title="alone", when=SOON)
    receipt = await _stop(own, "bridge")
    assert [each.title for each in receipt.caught] == ["bridge"]
    await come_due(own)
    async with own.app.open_uow.read() as uow:
        held = select(col(Post.title)).join(Delivery, col(Delivery.post_id) == col(Post.id))
        titles = await uow.session.scalars(held.where(col(Delivery.state) == "held"))
        assert list(titles) == ["bridge"]
    async with refused(own, "already_stopped"):
        await _stop(own, "bridge")
    await _stop(own, "harvest")  # another scope is another stop


async def test_a_stop_by_campaign_needs_the_permission_at_its_mission(own: World) -> None:
    await _open(own)
    await _open(own, "sakura", by="sato", of="krv.tyo")
    for code in ("bridge", "sakura", "nothing"):
        async with refused(own, "not_found"):
            await _stop(own, code, by="olena")


async def test_leaving_a_campaign_voids_the_approval(own: World) -> None:
    """A scheduled post does not slip out of a stopped campaign: whoever takes it out needs a new approval."""
    await _open(own)
    post = await own.scheduled(campaign="bridge", when=SOON)
    async with own.as_("hocevar") as (uow, actor):
        edited = await posts.edit(uow, actor, post.id, Writing(campaign=""), revision=post.revision)
        assert (edited.state, edited.digest) == ("draft", None)


async def test_a_campaign_changed_by_hand_is_found_out(own: World) -> None:
    await _open(own)
    post = await own.scheduled(campaign="bridge", when=SOON)
    async with own.app.open_uow() as uow:
        query = update(Post).where(col(Post.id) == post.id).values(campaign_id=None)
        await uow.session.execute(query)
    await Sequencer(own.app.open_uow, own.app.log_keys, owner="test").seal_all()
    async with own.app.open_uow.read() as uow:
        request = ExportRequest(at=uow.now, requested_by="test", reason="test")
        verdict = await evidence.verify(uow, trust=own.app.trust, request=request)
    assert [each.subject for each in verdict.mismatches] == [f"post:{post.id}"]
