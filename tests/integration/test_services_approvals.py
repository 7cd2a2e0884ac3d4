"""The decision: by somebody else, on the digest that was read, while it is still true."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, text, update
from sqlmodel import col, select

from scheduler.canonical import canonical, sha256_hex
from scheduler.db import missions
from scheduler.db import posts as rows
from scheduler.db.tables import Approval, Comment, Post, PostEditor
from scheduler.domain.calendar import Choice
from scheduler.domain.people import Role
from scheduler.ids import new_id
from scheduler.services import approvals, people, posts, rendering
from scheduler.services.people import NewGrant
from scheduler.services.writing import When, Writing
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    later,
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import POLICY, World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOON = When(local="2090-10-29T02:30", zone="Europe/Ljubljana", choice=Choice.EARLIER)
BOTH = ("hq.mastodon", "hq.bluesky")


async def _in_review(world: World, **fields: Any) -> Post:
    return await world.submit(await world.draft(**fields))


async def _approve(world: World, post: Post, by: str, digest: str | None = None) -> Post:
    async with world.as_(by) as (uow, actor):
        return await approvals.decide(uow, actor, post.id, digest=digest or str(post.digest))


async def test_an_approval_keeps_who_decided_on_which_digest_under_which_policy(
    shared: World,
) -> None:
    post = await _in_review(shared, targets=BOTH, when=SOON)
    async with recording(shared) as actions:
        await _approve(shared, post, "zorc")
    assert actions == ["post.approve", "post.schedule", "delivery.ready", "delivery.ready"]
    zorc = await shared.actor("zorc")
    async with shared.app.open_uow.read() as uow:
        [approval] = await uow.session.scalars(select(Approval).where(Approval.post_id == post.id))
    assert (approval.person_id, approval.revision) == (zorc.person_id, 1)
    assert (approval.digest, approval.policy) == (post.digest, post.policy)


async def test_an_approved_post_waits_for_its_time_on_every_account(shared: World) -> None:
    post = await shared.scheduled(targets=BOTH, when=SOON)
    assert post.state == "scheduled"
    for delivery in await shared.deliveries(post):
        assert delivery.state == "ready"
        assert delivery.due_at == delivery.wake_at == post.due_at
        assert post.due_at is not None
        assert delivery.expires_at == post.due_at + timedelta(hours=24)


async def test_a_post_for_as_soon_as_possible_is_due_when_it_is_approved(shared: World) -> None:
    post = await shared.scheduled()
    assert post.due_at is None
    [delivery] = await shared.deliveries(post)
    async with shared.app.open_uow.read() as uow:
        [approval] = await uow.session.scalars(select(Approval).where(Approval.post_id == post.id))
    assert delivery.due_at == delivery.wake_at == approval.decided_at


async def test_nobody_approves_what_they_wrote(shared: World) -> None:
    async with shared.as_("zorc") as (uow, actor):
        writing = Writing(
            texts={"en": [{"text": "mine", "media": []}]},
            targets=("hq.mastodon",),
            when=When(local=None),
        )
        post = await posts.draft(uow, actor, "krv.hq", writing)
        await posts.submit(uow, shared.app.kit, actor, post.id, revision=1)
    async with refused(shared, "self_approval"):
        await _approve(shared, post, "zorc")
    assert (await _approve(shared, post, "vidmar")).state == "scheduled"


async def test_nobody_approves_what_they_changed_in_any_revision(shared: World) -> None:
    post = await shared.draft()
    async with shared.as_("zorc") as (uow, actor):
        await posts.edit(uow, actor, post.id, Writing(title="a word of mine"), revision=1)
    async with shared.as_("hocevar") as (uow, actor):
        await posts.edit(uow, actor, post.id, Writing(title="and back"), revision=2)
        post = await posts.submit(uow, shared.app.kit, actor, post.id, revision=3)
    async with refused(shared, "self_approval"):
        await _approve(shared, post, "zorc")
    assert (await _approve(shared, post, "vidmar")).state == "scheduled"


async def test_an_approval_of_another_digest_is_refused_with_the_one_that_stands_there(
    shared: World,
) -> None:
    post = await _in_review(shared)
    async with refused(shared, "content_changed") as caught:
        await _approve(shared, post, "zorc", "sha256:" + "0" * 64)
    assert caught.value.details == {"digest": post.digest}
    assert caught.value.status == 409


@pytest.mark.parametrize(
    "change",
    [
        'UPDATE post_text SET segments = \'[{"text": "Bad", "media": []}]\' WHERE post_id = :id',
        "UPDATE post SET late_minutes = 600 WHERE id = :id",
        "UPDATE post SET post_class = 'statement' WHERE id = :id",
        "UPDATE delivery SET payload = :payload WHERE post_id = :id",
        "UPDATE post SET digest = 'sha256:00' WHERE id = :id",
    ],
)
async def test_a_row_changed_by_hand_before_the_approval_is_noticed(
    shared: World, change: str
) -> None:
    post = await _in_review(shared)
    postgres = shared.app.open_uow.engine.dialect.name == "postgresql"
    async with shared.app.open_uow() as uow:
        values = {"id": post.id if postgres else post.id.hex, "payload": b"[]"}
        await uow.session.execute(text(change), values)
    async with refused(shared, "content_changed"):
        await _approve(shared, post, "zorc")


async def test_what_is_over_when_it_is_read_is_not_approved(shared: World) -> None:
    async with shared.app.open_uow.read() as uow:
        local = (uow.now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    post = await _in_review(shared, when=When(local=local, zone="UTC"))
    async with (
        refused(shared, "time_past"),
        later(shared, "zorc", timedelta(hours=1, minutes=2)) as (uow, actor),
    ):
        await approvals.decide(uow, actor, post.id, digest=str(post.digest))


async def test_a_window_that_closed_meanwhile_is_not_approved(shared: World) -> None:
    async with shared.app.open_uow.read() as uow:
        end = uow.now + timedelta(hours=1)
    post = await _in_review(shared, when=When(local=None, not_after=end))
    async with (
        refused(shared, "time_past"),
        later(shared, "zorc", timedelta(hours=2)) as (uow, actor),
    ):
        await approvals.decide(uow, actor, post.id, digest=str(post.digest))


async def test_a_digest_of_the_former_form_hides_no_editor(own: World) -> None:
    """Who changed the post is taken off it by hand, and its digest put in the form that names no editors."""
    draft = await own.draft()
    async with own.as_("vidmar") as (uow, actor):
        changed = Writing(title="Changed by Vidmar")
        await posts.edit(uow, actor, draft.id, changed, revision=draft.revision)
    async with own.as_("hocevar") as (uow, actor):
        post = await posts.submit(uow, own.app.kit, actor, draft.id, revision=2)
    former = await _former_digest(own, post)
    vidmar = (await own.actor("vidmar")).person_id
    async with own.app.open_uow() as uow:
        await uow.session.execute(update(Post).values(digest=former))
        await uow.session.execute(delete(PostEditor).where(col(PostEditor.person_id) == vidmar))
    async with refused(own, "content_changed"), own.as_("vidmar") as (uow, actor):
        await approvals.decide(uow, actor, post.id, digest=former)


async def _former_digest(world: World, post: Post) -> str:
    async with world.app.open_uow.read() as uow:
        parts = await rows.load_parts(uow, await uow.session.get_one(Post, post.id))
        said = rendering.build_statement(parts, post.policy or "").as_json()
    said = {name: value for name, value in said.items() if name != "editors"}
    said["items"] = [{k: v for k, v in item.items() if k != "language"} for item in said["items"]]
    said["v"] = 1
    return "sha256:" + sha256_hex(b"chancery/approval/v1\0" + canonical(said))


async def test_what_a_newer_policy_forbids_is_not_approved(own: World) -> None:
    post = await _in_review(own)
    stricter = POLICY.replace(b"test-1", b"test-2").replace(b"[Kiev]", b"[Lipovec]")
    await own.activate(stricter)
    async with refused(own, "policy_blocked"):
        await _approve(own, post, "zorc")


@pytest.mark.parametrize(
    ("by", "code"),
    [("mlakar", "permission_denied"), ("bizjak", "permission_denied"), ("olena", "not_found")],
)
async def test_only_a_supervisor_of_the_mission_decides(shared: World, by: str, code: str) -> None:
    post = await _in_review(shared)
    async with refused(shared, code):
        await _approve(shared, post, by)
    async with refused(shared, code), shared.as_(by) as (uow, actor):
        await approvals.send_back(uow, actor, post.id, comment="shorter")


async def test_a_mission_speaks_from_anothers_account_only_with_that_ones_approval(
    shared: World,
) -> None:
    """A supervisor of the embassy alone does not decide what the headquarters' profile says."""
    code = f"new-{new_id().hex}"
    async with shared.as_("bizjak") as (uow, actor):
        person = await people.add_person(uow, actor, code, "Vesna Kos", ())
        kyiv = await missions.get_by_code(uow, actor, "krv.kyi")
        grant = NewGrant(person=code, mission=kyiv.code, role=Role.SUPERVISOR)
        await people.insert_bootstrap_grant(uow, person, kyiv, grant)
    async with shared.as_("hocevar") as (uow, actor):
        writing = Writing(
            texts={"en": [{"text": "Together", "media": []}]},
            targets=("hq.mastodon",),
            when=When(local=None),
        )
        post = await posts.draft(uow, actor, "krv.kyi", writing)
        post = await posts.submit(uow, shared.app.kit, actor, post.id, revision=1)
    async with refused(shared, "target_denied"):
        await _approve(shared, post, code)
    async with refused(shared, "target_denied"), shared.as_("olena") as (uow, actor):
        await posts.edit(uow, actor, post.id, Writing(title="ours"), revision=1)
    assert (await _approve(shared, post, "zorc")).state == "scheduled"


async def test_a_post_for_as_soon_as_possible_keeps_a_day_from_its_approval(
    shared: World,
) -> None:
    post = await _in_review(shared, schedule_on_approval=False)
    await _approve(shared, post, "zorc")
    async with (
        refused(shared, "time_past"),
        later(shared, "hocevar", timedelta(hours=24, seconds=1)) as (uow, actor),
    ):
        await approvals.schedule(uow, actor, post.id)


async def test_a_post_is_approved_once(shared: World) -> None:
    post = await _in_review(shared)
    await _approve(shared, post, "zorc")
    async with refused(shared, "move_not_allowed"):
        await _approve(shared, post, "vidmar")


async def test_a_draft_has_nothing_to_approve(shared: World) -> None:
    post = await shared.draft()
    async with refused(shared, "move_not_allowed"):
        await _approve(shared, post, "zorc", "sha256:" + "0" * 64)


async def test_a_returned_post_is_a_draft_with_the_comment(shared: World) -> None:
    post = await _in_review(shared)
    async with recording(shared) as actions, shared.as_("zorc") as (uow, actor):
        await approvals.send_back(uow, actor, post.id, comment="Say which bridge.")
    assert actions == ["post.return"]
    async with shared.app.open_uow.read() as uow:
        found = await uow.session.get_one(Post, post.id)
        assert (found.state, found.revision, found.digest) == ("draft", 2, None)
        [(comment, name)] = await rows.find_comments(uow, post.id)
    assert isinstance(comment, Comment)
    assert (comment.text, comment.revision, comment.kind) == ("Say which bridge.", 1, "return")
    assert name == "Petra Zorc"


@pytest.mark.parametrize("comment", ["", "  \n"])
async def test_a_return_says_what_has_to_change(shared: World, comment: str) -> None:
    post = await _in_review(shared)
    async with refused(shared, "comment_missing"), shared.as_("zorc") as (uow, actor):
        await approvals.send_back(uow, actor, post.id, comment=comment)


async def test_an_approved_post_is_not_returned_any_more(shared: World) -> None:
    post = await shared.scheduled(when=SOON)
    async with refused(shared, "move_not_allowed"), shared.as_("zorc") as (uow, actor):
        await approvals.send_back(uow, actor, post.id, comment="too late")


async def test_an_author_may_keep_the_moment_for_themselves(shared: World) -> None:
    post = await _in_review(shared, targets=BOTH, when=SOON, schedule_on_approval=False)
    async with recording(shared) as actions:
        approved = await _approve(shared, post, "zorc")
    assert (approved.state, actions) == ("approved", ["post.approve"])
    assert {each.state for each in await shared.deliveries(post)} == {"planned"}
    async with recording(shared) as actions, shared.as_("hocevar") as (uow, actor):
        await approvals.schedule(uow, actor, post.id)
    assert actions == ["post.schedule", "delivery.ready", "delivery.ready"]
    assert {each.state for each in await shared.deliveries(post)} == {"ready"}
    async with refused(shared, "move_not_allowed"), shared.as_("hocevar") as (uow, actor):
        await approvals.schedule(uow, actor, post.id)


async def test_what_nobody_approved_is_not_scheduled(shared: World) -> None:
    for post in (await shared.draft(), await _in_review(shared)):
        async with refused(shared, "move_not_allowed"), shared.as_("hocevar") as (uow, actor):
            await approvals.schedule(uow, actor, post.id)


async def test_an_approved_post_is_not_scheduled_when_its_time_has_passed(
    shared: World,
) -> None:
    async with shared.app.open_uow.read() as uow:
        local = (uow.now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    when = When(local=local, zone="UTC")
    post = await _approve(
        shared, await _in_review(shared, when=when, schedule_on_approval=False), "zorc"
    )
    async with (
        refused(shared, "time_past"),
        later(shared, "hocevar", timedelta(hours=2)) as (uow, actor),
    ):
        await approvals.schedule(uow, actor, post.id)


async def test_what_awaits_a_supervisor_is_what_somebody_else_wrote(shared: World) -> None:
    mine = await shared.draft()
    async with shared.as_("zorc") as (uow, actor):
        await posts.edit(uow, actor, mine.id, Writing(title="zorc was here"), revision=1)
    async with shared.as_("hocevar") as (uow, actor):
        await posts.submit(uow, shared.app.kit, actor, mine.id, revision=2)
    theirs = await _in_review(shared)
    draft = await shared.draft()

    async def awaiting(code: str) -> set[object]:
        async with shared.as_(code) as (uow, actor):
            return {each.post.id for each in await approvals.find_awaiting(uow, actor)}

    assert {mine.id, theirs.id, draft.id} & await awaiting("zorc") == {theirs.id}
    assert {mine.id, theirs.id, draft.id} & await awaiting("vidmar") == {mine.id, theirs.id}
    assert await awaiting("hocevar") == await awaiting("olena") == set()
