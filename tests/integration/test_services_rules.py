"""Policies: in force for everybody at once, and on record."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from scheduler.db import posts, rules
from scheduler.db.tables import PolicyProposal, Post
from scheduler.policy.bundle import open_policy, pack
from scheduler.policy.rules import Effect
from scheduler.services import people, policies, publishing, trials
from scheduler.services.writing import When
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import POLICY, POLICY_TEXT, World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECOND = POLICY.replace(b"karvenia-test-1", b"karvenia-test-2")
TICK = timedelta(microseconds=1)
THIRD = POLICY.replace(b"karvenia-test-1", b"karvenia-test-3")


def _with_line(version: int) -> bytes:
    line = (
        f"lines: [{{id: LTT-RAIL, version: {version}, topic: rail, text: {{en: Trains for all.}}}}]"
    )
    return pack(
        {"policy.yaml": POLICY_TEXT.replace("test-1", f"line-{version}"), "lines.yaml": line}
    )


async def test_a_policy_is_in_force_once_it_is_activated(own: World) -> None:
    async with recording(own) as actions:
        activated = (await own.activate(SECOND)).active
    assert actions == ["policy.propose", "policy.activate"]
    async with own.app.open_uow.read() as uow:
        active = await policies.get_active(uow)
    assert activated is not None
    assert (active.version, active.body) == ("karvenia-test-2", SECOND)
    assert active.digest == activated.digest
    assert active.activated_by == (await own.actor("oblak")).person_id
    async with refused(own, "policy_unchanged"), own.as_("oblak") as (uow, actor):
        await policies.activate(uow, actor, SECOND)


async def test_a_policy_needs_two_admins(own: World) -> None:
    async with own.as_("bizjak") as (uow, actor):
        assert (await policies.activate(uow, actor, SECOND)).active is None
    async with own.app.open_uow.read() as uow:
        assert (await policies.get_active(uow)).body == POLICY
        [(proposal, name)] = await policies.find_proposals(uow)
    assert (proposal.body, bool(name)) == (SECOND, True)
    async with refused(own, "second_admin_needed"), own.as_("bizjak") as (uow, actor):
        await policies.activate(uow, actor, SECOND)
    async with own.as_("oblak") as (uow, actor):  # another policy is another proposal
        assert (await policies.activate(uow, actor, THIRD)).active is None
    async with own.as_("bizjak") as (uow, actor):
        assert (await policies.activate(uow, actor, THIRD)).active is not None
    async with own.as_("oblak") as (uow, actor):  # what was proposed against another policy is void
        assert (await policies.activate(uow, actor, SECOND)).active is None


async def test_a_proposal_ends_with_its_seal_or_its_proposer(own: World) -> None:
    async with own.as_("bizjak") as (uow, actor):
        await policies.activate(uow, actor, SECOND)
    async with own.app.open_uow() as uow:
        await uow.session.execute(update(PolicyProposal).values(body=THIRD))
    async with own.app.open_uow.read() as uow:
        assert await policies.find_proposals(uow) == []
    async with own.as_("bizjak") as (uow, actor):
        await policies.activate(uow, actor, SECOND)
    async with own.as_("oblak") as (uow, actor):
        await people.deactivate_person(uow, actor, "bizjak")
    async with own.as_("oblak") as (uow, actor):
        assert (await policies.activate(uow, actor, SECOND)).active is None


async def test_a_proposal_is_void_after_a_week(own: World) -> None:
    async with own.as_("bizjak") as (uow, actor):
        proposal = (await policies.activate(uow, actor, SECOND)).proposal
    async with own.app.open_uow.read() as uow:
        uow.now = proposal.proposed_at + rules.PROPOSAL_LIFETIME - TICK
        assert len(await rules.find_proposals(uow)) == 1
        uow.now += TICK
        assert await rules.find_proposals(uow) == []


async def test_a_clock_that_was_set_back_stands_in_no_policys_way(own: World) -> None:
    last = (await own.activate(SECOND)).active
    assert last is not None
    for admin in ("bizjak", "oblak"):
        async with own.as_(admin) as (uow, actor):
            uow.now = last.activated_at - TICK
            done = await policies.activate(uow, actor, THIRD)
    assert done.active is not None
    async with own.app.open_uow.read() as uow:
        assert (await policies.get_active(uow)).body == THIRD


async def test_posts_that_cite_a_changed_line_are_drafts_again(own: World) -> None:
    await own.activate(_with_line(3))
    citing = {"line.id": "LTT-RAIL", "line.version": 3}
    scheduled = await own.scheduled(facts=citing, when=When(local="2031-03-31T10:00", zone="UTC"))
    other = await own.scheduled(when=When(local="2031-03-31T10:00", zone="UTC"))
    waiting = await own.submit(await own.draft(facts={"line.id": "ltt-rail", "line.version": 3}))
    async with recording(own) as actions:
        done = await own.activate(_with_line(4))
    assert {each.id for each in done.reopened} == {scheduled.id, waiting.id}
    assert actions == [
        "policy.propose", "policy.activate", "delivery.unready", "post.reopen", "post.reopen",
    ]  # fmt: skip
    async with own.app.open_uow.read() as uow:
        states = [
            (await uow.session.get_one(Post, each.id)).state for each in (scheduled, other, waiting)
        ]
        told = await posts.find_comments(uow, scheduled.id)
    assert states == ["draft", "scheduled", "draft"]
    assert [each.text for each, _ in told] == [
        "the line-to-take that it cites has changed: version 4 is in force"
    ]
    [delivery] = await own.deliveries(scheduled)
    assert delivery.state == "planned"


async def test_what_a_worker_has_in_hand_is_not_reopened(own: World) -> None:
    await own.activate(_with_line(3))
    post = await own.scheduled(facts={"line.id": "LTT-RAIL", "line.version": 3})
    async with own.app.open_uow() as uow:
        assert len(await publishing.claim(uow, worker="w", ahead=timedelta(0), limit=9)) == 1
    assert (await own.activate(_with_line(4))).reopened == ()
    async with own.app.open_uow.read() as uow:
        assert (await uow.session.get_one(Post, post.id)).state == "scheduled"


async def test_a_proposed_policy_is_tried_on_what_waits_and_what_is_out(own: World) -> None:
    hit = await own.scheduled(texts={"en": [{"text": "A new bridge in Lipovec.", "media": []}]})
    variant = await own.submit(
        await own.draft(
            texts={"en": [{"text": "Good morning.", "media": []}]},
            variants={"hq.mastodon": [{"text": "Good morning, Lipovec!", "media": []}]},
        )
    )
    await own.draft()  # nobody has asked for it to go out
    await own.submit(await own.draft(texts={"en": [{"text": "Nothing.", "media": []}]}))
    proposed = open_policy(SECOND.replace(b"[Kiev]", b"[Lipovec]"))
    found: list[trials.Difference] = []
    after, judged = None, 0
    async with own.as_("hocevar") as (uow, actor):
        while True:
            part = await trials.try_on_posts(uow, actor, proposed, after=after, limit=2)
            found += part.differences
            judged += part.posts
            after = part.last
            if after is None:
                break
        assert await posts.count_left_and_queued(uow) == judged == 3
    assert {each.post.id for each in found} == {hit.id, variant.id}
    assert {each.gained for each in found} == {frozenset({("kyiv", Effect.BLOCK)})}
    assert {each.lost for each in found} == {frozenset()}
    async with refused(own, "permission_denied"), own.as_("olena") as (uow, actor):
        await trials.try_on_posts(uow, actor, proposed, after=None, limit=2)


async def test_an_earlier_policy_may_be_put_back(own: World) -> None:
    for body in (SECOND, POLICY):
        await own.activate(body)
    async with own.app.open_uow.read() as uow:
        assert (await policies.get_active(uow)).body == POLICY


@pytest.mark.parametrize(
    ("by", "body", "code"),
    [
        ("bizjak", POLICY, "policy_unchanged"),
        ("bizjak", b"", "policy_invalid"),
        ("bizjak", b"format = 1\n[[rules]]\nid = 'x'", "policy_invalid"),
        ("bizjak", b"\xff\xfe", "policy_invalid"),
        ("bizjak", SECOND.replace(b"effect: block", b"effect: perhaps"), "policy_invalid"),
        ("bizjak", b"{}", "policy_invalid"),
        ("bizjak", b"{", "policy_invalid"),
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
