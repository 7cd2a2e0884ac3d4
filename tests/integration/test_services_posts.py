"""Posts from draft to review: what is refused with which code, and what a change does to what was decided."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from scheduler.db import posts as rows
from scheduler.db.tables import Delivery, Post, PostText, Variant
from scheduler.db.uow import UnitOfWork
from scheduler.domain.calendar import Choice
from scheduler.domain.people import Actor
from scheduler.domain.post_flow import PostMove
from scheduler.services import approvals, posts
from scheduler.services.writing import TimePastError, When, Writing
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    later,
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
ZONE = "Europe/Ljubljana"
SOON = When(local="2090-06-01T09:00", zone=ZONE)


def _text(text: str = "Good morning from Lipovec!", **fields: Any) -> list[dict[str, Any]]:
    return [{"text": text, "media": [], **fields}]


def _alt(alt: str) -> list[dict[str, Any]]:
    return _text(media=[{"sha256": "0" * 64, "alt": alt}])


@asynccontextmanager
async def _editing(
    world: World, post: Post, by: str = "hocevar"
) -> AsyncIterator[tuple[UnitOfWork, Actor, int]]:
    """A person who has read the post as it stands."""
    async with world.as_(by) as (uow, actor):
        yield uow, actor, (await uow.session.get_one(Post, post.id)).revision


async def _edit(world: World, post: Post, by: str = "hocevar", **fields: Any) -> Post:
    async with _editing(world, post, by) as (uow, actor, revision):
        return await posts.edit(uow, actor, post.id, Writing(**fields), revision=revision)


async def _states(world: World, post: Post) -> list[str]:
    return [each.state for each in await world.deliveries(post)]


async def _set_delivery(world: World, post: Post, **values: Any) -> None:
    """As a worker would leave the delivery behind."""
    async with world.app.open_uow() as uow:
        query = update(Delivery).where(col(Delivery.post_id) == post.id)
        await uow.session.execute(query.values(**values))


BAD_WRITING: list[tuple[str, dict[str, Any], str]] = [
    ("surrogate", {"texts": {"en": _text("Lipovec \ud83d")}}, "text_surrogate"),
    ("nul", {"texts": {"en": _text("Lipovec\0")}}, "text_control"),
    ("escape", {"texts": {"en": _text("\x1b[2J")}}, "text_control"),
    ("override", {"texts": {"en": _text("\u202etnediserp")}}, "text_bidi"),
    ("isolate", {"texts": {"en": _text("\u2067open")}}, "text_bidi"),
    ("tags", {"texts": {"en": _text("hidden\U000e0041")}}, "text_tag"),
    ("endless", {"texts": {"en": _text("a" * 100_001)}}, "text_too_large"),
    ("second part", {"texts": {"en": _text() + _text("\0")}}, "text_control"),
    ("alt text", {"texts": {"en": _alt("\u202eriver")}}, "text_bidi"),
    ("title", {"title": "Forum\0"}, "text_control"),
    ("card", {"link_card": {"uri": "https://x.example\0"}}, "text_control"),
    ("variant", {"variants": {"hq.mastodon": _text("\ud800")}}, "text_surrogate"),
    ("no account", {"targets": ("hq.x",)}, "account_unknown"),
    ("too many", {"targets": tuple(f"a{n}" for n in range(101))}, "targets_too_many"),
    ("no patience", {"when": When(local=None, late_minutes=0)}, "late_minutes_invalid"),
    ("no end", {"when": When(local=None, late_minutes=10_081)}, "late_minutes_invalid"),
    ("no variant's account", {"variants": {"hq.x": _text()}}, "account_unknown"),
    ("no target's language", {"languages": {"kyi.mastodon": "sl"}}, "account_unknown"),
    ("gap", {"when": When(local="2090-03-26T02:30", zone=ZONE)}, "time_gap"),
    ("gap chosen", {"when": When(local="2090-03-26T02:30", choice=Choice.LATER)}, "time_gap"),
    ("fold", {"when": When(local="2090-10-29T02:30", zone=ZONE)}, "time_fold"),
    ("past", {"when": When(local="2026-01-07T09:00", zone=ZONE)}, "time_past"),
    ("no time", {"when": When(local="tomorrow at nine")}, "time_invalid"),
    ("no day", {"when": When(local="2090-02-30T09:00")}, "time_invalid"),
    ("offset", {"when": When(local="2090-06-01T09:00+02:00")}, "time_invalid"),
    ("far", {"when": When(local="2101-06-01T09:00")}, "time_out_of_range"),
    ("no zone at once", {"when": When(local=None, zone="Mars/Olympus")}, "time_zone_unknown"),
    ("no zone", {"when": When(local="2090-06-01T09:00", zone="CEST")}, "time_zone_unknown"),
    (
        "ends before it begins",
        {"when": When(local="2090-06-01T09:00", not_after=datetime(2090, 6, 1, 7, tzinfo=UTC))},
        "time_past",
    ),
    (
        "over already",
        {"when": When(local=None, not_after=datetime(2026, 1, 7, tzinfo=UTC))},
        "time_past",
    ),
]


@pytest.mark.parametrize(
    ("fields", "code"), [each[1:] for each in BAD_WRITING], ids=[each[0] for each in BAD_WRITING]
)
async def test_bad_input_is_refused_in_a_draft_and_in_an_edit(
    shared: World, fields: dict[str, Any], code: str
) -> None:
    async with refused(shared, code):
        await shared.draft(**fields)
    post = await shared.draft()
    async with refused(shared, code):
        await _edit(shared, post, **fields)


async def test_both_choices_of_a_repeated_hour_are_offered_and_each_is_taken(
    shared: World,
) -> None:
    local = "2090-10-29T02:30"
    async with refused(shared, "time_fold") as caught:
        await shared.draft(when=When(local=local, zone=ZONE))
    offered = caught.value.details["choices"]
    assert isinstance(offered, list)
    assert [each["choice"] for each in offered] == ["earlier", "later"]
    for choice, hour in ((Choice.EARLIER, 0), (Choice.LATER, 1)):
        post = await shared.draft(when=When(local=local, zone=ZONE, choice=choice))
        assert post.due_at == datetime(2090, 10, 29, hour, 30, tzinfo=UTC)


async def test_a_time_is_the_missions_unless_a_zone_is_chosen(shared: World) -> None:
    here = await shared.draft(when=When(local="2090-06-01T09:00"))
    assert (here.zone, here.due_at) == (ZONE, datetime(2090, 6, 1, 7, tzinfo=UTC))
    there = await shared.draft(when=When(local="2090-06-01T09:00", zone="Asia/Tokyo"))
    assert (there.zone, there.due_at) == ("Asia/Tokyo", datetime(2090, 6, 1, tzinfo=UTC))


async def test_a_minute_that_has_just_passed_is_still_taken(shared: World) -> None:
    async with shared.as_("hocevar") as (uow, actor):
        for age, taken in ((59, True), (61, False)):
            local = (uow.now - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S")
            writing = Writing(when=When(local=local, zone="UTC"))
            if taken:
                await posts.draft(uow, actor, "krv.hq", writing)
            else:
                with pytest.raises(TimePastError):
                    await posts.draft(uow, actor, "krv.hq", writing)


@pytest.mark.parametrize(
    ("by", "mission", "targets", "code"),
    [
        ("olena", "krv.kyi", ("hq.mastodon",), "account_unknown"),
        ("olena", "krv.kyi", ("kyi.mastodon", "hq.bluesky"), "account_unknown"),
        ("sato", "krv.tyo", ("kyi.mastodon",), "account_unknown"),
        ("olena", "krv.hq", (), "not_found"),
        ("bizjak", "krv.hq", (), "permission_denied"),
        ("mlakar", "krv.hq", (), "permission_denied"),
        ("hocevar", "krv.atlantis", (), "not_found"),
    ],
)
async def test_nobody_writes_for_another_mission_or_without_the_right(
    shared: World, by: str, mission: str, targets: tuple[str, ...], code: str
) -> None:
    async with refused(shared, code), shared.as_(by) as (uow, actor):
        await posts.draft(uow, actor, mission, Writing(targets=targets))


async def test_the_headquarters_writes_for_its_embassies_accounts(shared: World) -> None:
    post = await shared.draft(targets=("hq.mastodon", "kyi.mastodon"))
    assert await _states(shared, post) == ["planned", "planned"]


async def test_a_draft_is_one_record_and_one_for_each_account(shared: World) -> None:
    async with recording(shared) as actions:
        post = await shared.draft(targets=("hq.mastodon", "hq.bluesky"))
    assert actions == ["post.draft", "delivery.plan", "delivery.plan"]
    assert (post.state, post.revision, post.digest) == ("draft", 1, None)


async def test_an_edit_replaces_what_it_names_and_leaves_the_rest(shared: World) -> None:
    post = await shared.draft(
        title="Forum", targets=("hq.mastodon", "hq.bluesky"), post_class="statement"
    )
    async with recording(shared) as actions:
        edited = await _edit(
            shared,
            post,
            texts={"sl": _text("Dobro jutro"), "en": _text("Good evening")},
            targets=("hq.bluesky", "kyi.bluesky"),
            languages={"hq.bluesky": "sl"},
            variants={"kyi.bluesky": _text("Добрий день")},
            link_card={"uri": "https://karvenia.example", "title": "", "description": ""},
        )
    assert actions == ["post.edit", "delivery.drop", "delivery.plan"]
    assert (edited.revision, edited.title, edited.post_class) == (2, "Forum", "statement")
    async with shared.app.open_uow.read() as uow:
        parts = await rows.load_parts(uow, await uow.session.get_one(Post, post.id))
        assert [(text.language, text.segments[0]["text"]) for text in parts.texts] == [
            ("en", "Good evening"),
            ("sl", "Dobro jutro"),
        ]
        assert [(d.language, a.code) for d, a in parts.deliveries] == [
            ("sl", "hq.bluesky"),
            ("", "kyi.bluesky"),
        ]
        assert [each.segments for each in parts.variants] == [_text("Добрий день")]
    again = await _edit(shared, post, link_card={}, schedule_on_approval=False)
    assert again.link_card is None
    assert not again.schedule_on_approval


async def test_what_was_read_long_ago_is_not_overwritten(shared: World) -> None:
    post = await shared.draft()
    await _edit(shared, post, title="The Lipovec Forum")
    async with refused(shared, "revision_stale") as caught, shared.as_("hocevar") as (uow, actor):
        await posts.edit(uow, actor, post.id, Writing(title="mine"), revision=1)
    assert (caught.value.status, caught.value.details) == (412, {"revision": 2})
    async with refused(shared, "revision_stale"):
        await shared.submit(post)


async def test_a_submitted_post_has_its_payloads_digest_and_policy(shared: World) -> None:
    post = await shared.draft(targets=("hq.mastodon", "hq.bluesky"), when=SOON)
    async with recording(shared) as actions:
        submitted = await shared.submit(post)
    assert actions == ["post.submit"]
    assert submitted.state == "in_review"
    assert str(submitted.digest).startswith("sha256:")
    assert str(submitted.policy).startswith("sha256:")
    for delivery in await shared.deliveries(post):
        assert b"Good morning from Lipovec!" in delivery.payload
        assert delivery.due_at == submitted.due_at


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"targets": ()}, "targets_missing"),
        ({"texts": {"sl": _text()}}, "text_missing"),
        ({"texts": {}}, "text_missing"),
        ({"languages": {"hq.mastodon": "fr"}}, "text_missing"),
        ({"texts": {"en": _alt("a river")}}, "media_unknown"),
        ({"texts": {"en": _text("Welcome to Kiev")}}, "policy_blocked"),
        ({"variants": {"hq.mastodon": _text("Welcome to Kiev")}}, "policy_blocked"),
        ({"texts": {"en": _text(" \n ")}}, "content_unfit"),
        ({"texts": {"en": []}}, "content_unfit"),
        ({"texts": {"en": _text("a" * 501)}}, "content_unfit"),
    ],
)
async def test_an_unfinished_post_is_not_submitted(
    shared: World, fields: dict[str, Any], code: str
) -> None:
    post = await shared.draft(**fields)
    async with refused(shared, code):
        await shared.submit(post)
    [*states] = await _states(shared, post)
    assert set(states) <= {"planned"}


async def test_too_long_for_one_of_the_targets_names_that_one(shared: World) -> None:
    post = await shared.draft(texts={"en": _text("a" * 400)}, targets=("hq.mastodon", "hq.bluesky"))
    async with refused(shared, "content_unfit") as caught:
        await shared.submit(post)
    problems = caught.value.details["problems"]
    assert isinstance(problems, list)
    assert [(each["account"], each["code"]) for each in problems] == [
        ("hq.bluesky", "text_too_long")
    ]
    await _edit(shared, post, variants={"hq.bluesky": _text("short")})
    async with _editing(shared, post) as (uow, actor, revision):
        submitted = await posts.submit(uow, shared.app.kit, actor, post.id, revision=revision)
    assert submitted.state == "in_review"


async def test_several_problems_are_told_together(shared: World) -> None:
    post = await shared.draft(texts={"en": _text("a" * 501)}, targets=("hq.mastodon", "hq.bluesky"))
    async with refused(shared, "content_unfit") as caught:
        await shared.submit(post)
    assert "(and 1 more)" in str(caught.value)


async def test_a_blocked_term_is_named_with_its_place_and_remedy(shared: World) -> None:
    post = await shared.draft(texts={"en": _text("Welcome to Kiev")})
    async with refused(shared, "policy_blocked") as caught:
        await shared.submit(post)
    [finding] = caught.value.details["findings"]  # type: ignore[misc] - a list of findings
    assert (finding["rule"], finding["span"], finding["fix"]) == ("kyiv", [11, 15], "write Kyiv")


async def test_a_post_whose_time_came_while_it_was_a_draft_is_not_submitted(
    shared: World,
) -> None:
    async with shared.app.open_uow.read() as uow:
        local = (uow.now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    post = await shared.draft(when=When(local=local, zone="UTC"))
    async with (
        refused(shared, "time_past"),
        later(shared, "hocevar", timedelta(hours=2)) as (
            uow,
            actor,
        ),
    ):
        await posts.submit(uow, shared.app.kit, actor, post.id, revision=1)


async def test_a_local_time_without_its_instant_is_not_submitted(shared: World) -> None:
    post = await shared.draft(when=SOON)
    async with shared.app.open_uow() as uow:
        await uow.session.execute(update(Post).where(col(Post.id) == post.id).values(due_at=None))
    async with refused(shared, "time_missing"):
        await shared.submit(post)


async def test_a_post_is_submitted_once_and_by_somebody_who_may_write(shared: World) -> None:
    post = await shared.submit(await shared.draft())
    async with refused(shared, "move_not_allowed"):
        await shared.submit(post)
    for by, code in (("mlakar", "permission_denied"), ("olena", "not_found")):
        async with refused(shared, code), shared.as_(by) as (uow, actor):
            await posts.submit(uow, shared.app.kit, actor, post.id, revision=1)


@pytest.mark.parametrize("stage", ["draft", "in_review", "approved", "scheduled"])
async def test_an_edit_voids_every_earlier_decision(shared: World, stage: str) -> None:
    post = await shared.draft(when=SOON, schedule_on_approval=stage == "scheduled")
    if stage != "draft":
        post = await shared.submit(post)
    if stage in {"approved", "scheduled"}:
        post = await shared.approve(post)
    assert post.state == stage
    digest = str(post.digest)
    async with recording(shared) as actions:
        edited = await _edit(shared, post, texts={"en": _text("Good evening, Lipovec!")})
    moved = ["delivery.unready"] if stage == "scheduled" else []
    assert actions == [*moved, "post.edit"]
    assert (edited.state, edited.revision, edited.digest) == ("draft", 2, None)
    assert await _states(shared, post) == ["planned"]
    again = await shared.submit(edited)
    assert again.digest != digest
    async with refused(shared, "content_changed"), shared.as_("zorc") as (uow, actor):
        await approvals.decide(uow, actor, post.id, digest=digest)


@pytest.mark.parametrize(
    "values",
    [
        {"state": "claimed", "lease_until": datetime(2090, 1, 1, tzinfo=UTC)},
        {"state": "preparing", "lease_until": datetime(2090, 1, 1, tzinfo=UTC)},
        {"state": "sending", "lease_until": datetime(2090, 1, 1, tzinfo=UTC)},
        {"state": "unknown"},
    ],
    ids=lambda values: str(values["state"]),
)
async def test_what_a_worker_has_in_hand_is_neither_edited_nor_ended(
    shared: World, values: dict[str, Any]
) -> None:
    post = await shared.scheduled(when=SOON)
    await _set_delivery(shared, post, **values)
    async with refused(shared, "delivery_started"):
        await _edit(shared, post, title="too late")
    for act in (posts.withdraw, posts.cancel):
        async with refused(shared, "delivery_started"), shared.as_("hocevar") as (uow, actor):
            await act(uow, actor, post.id)
    await _set_delivery(shared, post, state="cancelled", lease_until=None)


@pytest.mark.parametrize(
    "values",
    [
        {"state": "ready", "attempts": 1},
        {"state": "held", "attempts": 1},
        {"state": "sent"},
        {"state": "rejected", "attempts": 1},
        {"state": "expired"},
    ],
    ids=lambda values: str(values["state"]),
)
async def test_what_was_tried_is_cancelled_but_not_taken_back(
    shared: World, values: dict[str, Any]
) -> None:
    post = await shared.scheduled(when=SOON)
    await _set_delivery(shared, post, remote_id=post.id.hex, **values)
    async with refused(shared, "delivery_started"):
        await _edit(shared, post, title="too late")
    async with refused(shared, "delivery_started"), shared.as_("hocevar") as (uow, actor):
        await posts.withdraw(uow, actor, post.id)
    async with shared.as_("hocevar") as (uow, actor):
        assert (await posts.cancel(uow, actor, post.id)).state == "cancelled"
    ended = values["state"] in {"sent", "expired"}
    assert await _states(shared, post) == [values["state"] if ended else "cancelled"]


async def test_a_held_delivery_that_was_never_tried_may_be_edited(shared: World) -> None:
    post = await shared.scheduled(when=SOON)
    await _set_delivery(shared, post, state="held", reason="stopped")
    edited = await _edit(shared, post, title="again")
    [delivery] = await shared.deliveries(post)
    assert (edited.state, delivery.state, delivery.reason) == ("draft", "planned", "")


@pytest.mark.parametrize("stage", ["in_review", "approved", "scheduled"])
async def test_a_withdrawn_post_is_a_draft_that_nobody_has_approved(
    shared: World, stage: str
) -> None:
    post = await shared.submit(await shared.draft(schedule_on_approval=stage == "scheduled"))
    if stage != "in_review":
        post = await shared.approve(post)
    async with recording(shared) as actions, shared.as_("hocevar") as (uow, actor):
        await posts.withdraw(uow, actor, post.id)
    assert actions == [*(["delivery.unready"] if stage == "scheduled" else []), "post.withdraw"]
    async with shared.app.open_uow.read() as uow:
        found = await uow.session.get_one(Post, post.id)
        assert (found.state, found.revision, found.digest) == ("draft", 2, None)
    assert await _states(shared, post) == ["planned"]
    async with refused(shared, "move_not_allowed"), shared.as_("hocevar") as (uow, actor):
        await posts.withdraw(uow, actor, post.id)


@pytest.mark.parametrize("stage", ["draft", "scheduled"])
async def test_a_cancelled_post_ends_with_all_its_deliveries(shared: World, stage: str) -> None:
    fields: dict[str, Any] = {"targets": ("hq.mastodon", "hq.bluesky"), "when": SOON}
    post = await (shared.draft if stage == "draft" else shared.scheduled)(**fields)
    async with recording(shared) as actions, shared.as_("hocevar") as (uow, actor):
        await posts.cancel(uow, actor, post.id)
    assert actions == ["post.cancel", "delivery.cancel", "delivery.cancel"]
    assert await _states(shared, post) == ["cancelled", "cancelled"]
    for fields in ({"title": "again"},):
        async with refused(shared, "move_not_allowed"):
            await _edit(shared, post, **fields)
    async with refused(shared, "move_not_allowed"), shared.as_("hocevar") as (uow, actor):
        await posts.cancel(uow, actor, post.id)


async def test_a_post_of_another_mission_does_not_exist(shared: World) -> None:
    post = await shared.draft()
    for act in (posts.withdraw, posts.cancel):
        async with refused(shared, "not_found"), shared.as_("olena") as (uow, actor):
            await act(uow, actor, post.id)
    async with refused(shared, "not_found"):
        await _edit(shared, post, by="olena", title="ours now")


async def test_a_refused_edit_leaves_the_old_texts(shared: World) -> None:
    post = await shared.draft(variants={"hq.mastodon": _text("variant")})
    async with refused(shared, "account_unknown"):
        await _edit(shared, post, texts={"en": _text("new")}, targets=("hq.x",))
    async with shared.app.open_uow.read() as uow:
        [text] = await uow.session.scalars(select(PostText).where(PostText.post_id == post.id))
        [variant] = await uow.session.scalars(select(Variant).where(Variant.post_id == post.id))
    assert text.segments == _text()
    assert variant.segments == _text("variant")


async def test_two_people_editing_at_once_do_not_overwrite_each_other(shared: World) -> None:
    """The second finds the state or revision changed under it, whichever way it loses the race."""
    post = await shared.submit(await shared.draft())
    async with refused(shared, "state_changed"), shared.as_("hocevar") as (uow, actor):
        mine = await rows.get(uow, actor, post.id)
        await uow.session.execute(
            update(Post)
            .where(col(Post.id) == post.id)
            .values(state="cancelled")
            .execution_options(synchronize_session=False)
        )
        await rows.move(uow, mine, PostMove.WITHDRAW, actor=actor)
