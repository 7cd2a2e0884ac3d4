"""Campaigns: who opens and closes them, which posts take part, and that a stop by campaign catches just those."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update
from sqlmodel import col, select

from scheduler.db import campaigns as rows
from scheduler.db.series import find_posts
from scheduler.db.tables import Delivery, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor
from scheduler.publishing.sequencer import Sequencer
from scheduler.services import (
    campaigns,
    evidence,
    explaining,
    posts,
    postures,
    releasing,
    series,
)
from scheduler.services.evidence import ExportRequest
from scheduler.services.postures import NewPosture
from scheduler.services.series import Repeat
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
UKRAINIAN = {"uk": [{"text": "Добрий ранок", "media": []}]}


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


async def _release(uow: UnitOfWork, actor: Actor, posture_id: UUID) -> releasing.ReleaseReceipt:
    return await releasing.release_caught(
        uow, actor, posture_id, reason="over", spread=timedelta(0)
    )


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
    await _open(own, "tyo.visit", by="sato", of="krv.tyo")
    for by, seen in (("hocevar", ["tyo.visit", "bridge"]), ("olena", ["bridge"])):
        async with own.as_(by) as (uow, actor):
            assert [each.code for each, _ in await rows.find_all(uow, actor)] == seen
    for by, campaign, code in (
        ("olena", "bridge", "permission_denied"),
        ("olena", "tyo.visit", "not_found"),
        ("mlakar", "bridge", "permission_denied"),
        ("bizjak", "bridge", "permission_denied"),
    ):
        async with refused(own, code):
            await _close(own, campaign, by=by)
    await _close(own, "tyo.visit")  # the headquarters write for every mission


async def test_a_campaign_is_not_closed_while_a_post_joins_it(own: World) -> None:
    """Whoever commits second sees the first: no post joins a campaign that is closed already."""
    await _open(own)
    post = await own.draft()
    if own.app.open_uow.engine.dialect.name == "sqlite":
        return  # which has one writer
    async with own.as_("hocevar") as (uow, actor):
        await posts.edit(uow, actor, post.id, Writing(campaign="bridge"), revision=1)
        await own.draft(campaign="bridge")  # others join beside it
        async with refused(own, "database_unavailable"), own.as_("zorc") as (other, closing):
            await other.session.execute(text("SET LOCAL lock_timeout = 50"))
            await campaigns.close(other, closing, "bridge")
    await _close(own)


async def test_a_copy_of_a_post_takes_part_in_its_campaign_or_is_refused(own: World) -> None:
    await _open(own)
    post = await own.draft(campaign="bridge")
    monday = Repeat(rule="weekly MO 09:00", starts_on=date(2090, 6, 1), count=2)
    async with own.as_("hocevar") as (uow, actor):
        made = await series.repeat(uow, actor, post.id, monday)
        copies = [each for _, each in await find_posts(uow, made.id)]
        assert {each.campaign_id for each in copies} == {post.campaign_id}
    await _close(own)
    async with refused(own, "campaign_closed"), own.as_("hocevar") as (uow, actor):
        await series.repeat(uow, actor, post.id, monday)


async def test_posts_of_its_mission_and_below_take_part_while_it_is_open(own: World) -> None:
    await _open(own)
    await _open(own, "tyo.visit", by="sato", of="krv.tyo")
    for code in ("nothing", "tyo.visit"):
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
    await _open(own, "cables")
    await own.scheduled(title="bridge", campaign="bridge")
    await own.scheduled(title="cables", campaign="cables", when=SOON)
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
    await _stop(own, "cables")  # another scope is another stop


async def test_what_a_stop_by_campaign_has_held_goes_when_it_is_lifted_and_released(
    own: World,
) -> None:
    await _open(own)
    await own.scheduled(title="bridge", campaign="bridge")
    async with own.as_("zorc") as (uow, actor):
        await postures.stop(uow, actor, reason="why", new=NewPosture(language="en"))
    await own.scheduled(title="too", campaign="bridge")
    await come_due(own)  # held by the language
    async with own.as_("vidmar") as (uow, actor):
        first = await postures.resume(uow, actor, reason="over")
    receipt = await _stop(own, "bridge")
    async with own.as_("zorc") as (uow, actor):
        kept = await _release(uow, actor, first.id)
        assert {each.code for each in kept.skipped} == {"stopped"}
        assert {str(receipt.posture.id) in each.message for each in kept.skipped} == {True}
    async with own.as_("vidmar") as (uow, actor):
        await postures.resume(uow, actor, reason="over")
        assert (await _release(uow, actor, receipt.posture.id)).released == ()  # it held none
        assert len((await _release(uow, actor, first.id)).released) == 2


async def test_a_post_of_a_stopped_campaign_is_explained_by_the_stop(own: World) -> None:
    await _open(own)
    stopped, free = await own.draft(campaign="bridge"), await own.draft()
    receipt = await _stop(own, "bridge")
    async with own.app.open_uow.read() as uow:
        actor = await own.actor("hocevar")
        told = await explaining.explain_post(uow, own.app.kit, actor, stopped.id)
        [found] = [each for each in told.hindrances if each.code == "stopped"]
        assert (found.account, str(receipt.posture.id) in found.message) == (None, True)
        other = await explaining.explain_post(uow, own.app.kit, actor, free.id)
        assert "stopped" not in {each.code for each in other.hindrances}


async def test_a_stop_by_campaign_needs_the_permission_at_its_mission(own: World) -> None:
    await _open(own)
    await _open(own, "tyo.visit", by="sato", of="krv.tyo")
    for campaign, code in (
        ("bridge", "permission_denied"),
        ("tyo.visit", "not_found"),
        ("nothing", "not_found"),
    ):
        async with refused(own, code):
            await _stop(own, campaign, by="olena")
    receipt = await _stop(own, "tyo.visit", by="sato")
    for by, seen in (("olena", []), ("hocevar", [receipt.posture.id])):
        async with own.as_(by) as (uow, actor):
            assert [each.id for each, _ in await postures.find_visible(uow, actor)] == seen


async def test_an_embassy_stops_its_own_part_of_a_campaign(own: World) -> None:
    await _open(own)
    theirs: dict[str, Any] = {"targets": ("kyi.mastodon",), "texts": UKRAINIAN, "when": SOON}
    for title, mission, campaign in (
        ("theirs", "krv.kyi", "bridge"),
        ("no part", "krv.kyi", None),
        ("ours", "krv.hq", "bridge"),
    ):
        async with own.as_("hocevar") as (uow, actor):
            writing = Writing(title=title, campaign=campaign, **theirs)
            post = await posts.draft(uow, actor, mission, writing)
        await own.approve(await own.submit(post))
    new = NewPosture(mission="krv.kyi", campaign="bridge")
    async with own.as_("olena") as (uow, actor):
        receipt = await postures.stop(uow, actor, reason="wrong here", new=new)
    assert [each.title for each in receipt.caught] == ["theirs", "ours"]


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
