"""Recurring posts: every occurrence is a post of its own, with its own decision and its own fate."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from scheduler.audit.record import parse_record
from scheduler.clock import monotonic_s, utc_now
from scheduler.db import posts as rows
from scheduler.db import series as series_rows
from scheduler.db.tables import (
    AuditOutbox,
    Delivery,
    Occurrence,
    Post,
    PostEditor,
    PostText,
    Series,
    Variant,
)
from scheduler.domain.calendar import Choice
from scheduler.domain.recurrence import Gap, SeriesTimesError
from scheduler.services import posts, series
from scheduler.services.series import Repeat
from scheduler.services.writing import When, Writing
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
ZONE = "Europe/Ljubljana"
MONDAYS = Repeat(rule="weekly MO 09:00", starts_on=date(2090, 6, 1), count=4)


async def _repeat(
    world: World, post: Post, wanted: Repeat = MONDAYS, by: str = "hocevar"
) -> Series:
    async with world.as_(by) as (uow, actor):
        return await series.repeat(uow, actor, post.id, wanted)


async def _posts(world: World, made: Series) -> list[Post]:
    async with world.app.open_uow.read() as uow:
        return [post for _, post in await series_rows.find_posts(uow, made.id)]


async def _all(world: World, table: Any, post: Post) -> list[Any]:
    async with world.app.open_uow.read() as uow:
        return list(await uow.session.scalars(select(table).where(table.post_id == post.id)))


async def _end(world: World, made: Series, reason: str = "the forum is over") -> series.Ended:
    actor = await world.actor("hocevar")
    return await series.end(world.app.open_uow, actor, made.id, reason=reason)


RICH: dict[str, Any] = {
    "title": "The week ahead",
    "post_class": "statement",
    "texts": {
        "en": [{"text": "The week ahead", "media": []}],
        "sl": [{"text": "Teden", "media": []}],
    },
    "variants": {"hq.bluesky": [{"text": "The week", "media": []}]},
    "targets": ("hq.mastodon", "hq.bluesky"),
    "languages": {"hq.mastodon": "sl"},
    "link_card": {"uri": "https://karvenia.example", "title": "Week", "description": ""},
    "schedule_on_approval": False,
    "facts": {"topic": "rail", "line.id": "line.rail"},
    "when": When(local=None, zone=ZONE, late_minutes=45),
}
SAME = ("title", "post_class", "zone", "late_minutes", "link_card", "schedule_on_approval", "facts")


async def _hanging_on(world: World, post: Post) -> list[list[str]]:
    """The texts, variants and accounts of a post."""
    return [
        sorted(str([getattr(row, key) for key in keys]) for row in await _all(world, table, post))
        for table, keys in (
            (PostText, ("language", "segments")),
            (Variant, ("account_id", "segments")),
            (Delivery, ("account_id", "language")),
        )
    ]


async def test_each_day_of_the_rule_is_a_draft_with_all_that_the_post_has(shared: World) -> None:
    post = await shared.draft(**RICH)
    copies = await _posts(shared, await _repeat(shared, post))
    days = ("2090-06-05", "2090-06-12", "2090-06-19", "2090-06-26")
    assert [each.local_time for each in copies] == [f"{day}T09:00" for day in days]
    own = await _hanging_on(shared, post)
    assert all(own)
    for copy in copies:
        assert copy.due_at == datetime.fromisoformat(f"{copy.local_time}+02:00")
        assert [getattr(copy, name) for name in SAME] == [getattr(post, name) for name in SAME]
        assert (copy.state, copy.revision, copy.not_after) == ("draft", 1, None)
        assert await _hanging_on(shared, copy) == own
    unchanged = await _get(shared, post)
    assert (unchanged.local_time, unchanged.state) == (None, "draft")


async def _get(world: World, post: Post) -> Post:
    async with world.app.open_uow.read() as uow:
        return await uow.session.get_one(Post, post.id)


async def test_each_draft_and_each_delivery_has_its_record_in_one_transaction(
    shared: World,
) -> None:
    post = await shared.draft(targets=("hq.mastodon", "hq.bluesky"))
    async with recording(shared) as actions:
        await _repeat(shared, post)
    assert actions[0] == "series.draft"
    assert actions.count("post.draft") == 4
    assert actions.count("delivery.plan") == 8
    assert len(actions) == 13


async def test_each_occurrence_is_submitted_approved_and_edited_on_its_own(shared: World) -> None:
    made = await _repeat(shared, await shared.draft())
    first, second, third, _ = await _posts(shared, made)
    submitted = [await shared.submit(each) for each in (first, second)]
    assert submitted[0].digest != submitted[1].digest
    await shared.approve(submitted[0])
    async with shared.as_("hocevar") as (uow, actor):
        words = Writing(texts={"en": [{"text": "Only this week", "media": []}]})
        await posts.edit(uow, actor, third.id, words, revision=1)
    states = [(each.state, each.revision) for each in await _posts(shared, made)]
    assert states == [("scheduled", 1), ("in_review", 1), ("draft", 2), ("draft", 1)]
    texts = [
        (await _all(shared, PostText, each))[0].segments[0]["text"] for each in (second, third)
    ]
    assert texts == ["Good morning from Lipovec!", "Only this week"]


async def test_nobody_approves_copies_of_their_own_words(shared: World) -> None:
    """The author and the editors of the post are editors of every copy, whoever repeats it."""
    post = await shared.draft()
    async with shared.as_("vidmar") as (uow, actor):
        post = await posts.edit(uow, actor, post.id, Writing(title="Forum"), revision=1)
    made = await _repeat(shared, post, by="zorc")
    [copy, *_] = await _posts(shared, made)
    editors = {each.person_id for each in await _all(shared, PostEditor, copy)}
    assert editors == {
        (await shared.actor(name)).person_id for name in ("hocevar", "vidmar", "zorc")
    }
    copy = await shared.submit(copy)
    for name in ("zorc", "vidmar"):
        async with refused(shared, "self_approval"):
            await shared.approve(copy, by=name)


async def test_a_window_stays_as_long_as_the_posts_own(shared: World) -> None:
    ends = datetime.fromisoformat("2090-05-29T12:00+02:00")
    when = When(local="2090-05-29T09:00", zone=ZONE, not_after=ends)
    made = await _repeat(shared, await shared.draft(when=when))
    for copy in await _posts(shared, made):
        assert copy.due_at is not None
        assert copy.not_after == copy.due_at + timedelta(hours=3)
    only_end = await shared.draft(when=When(local=None, not_after=ends))
    async with refused(shared, "series_window"):
        await _repeat(shared, only_end)


async def test_it_begins_after_the_posts_own_day_and_after_now(shared: World) -> None:
    post = await shared.draft(when=When(local="2090-06-05T09:00", zone=ZONE))
    made = await _repeat(shared, post, Repeat(rule="daily 09:00", count=1))
    assert [each.local_time for each in await _posts(shared, made)] == ["2090-06-06T09:00"]
    local = utc_now().astimezone(ZoneInfo(ZONE)) - timedelta(minutes=1)
    made = await _repeat(shared, await shared.draft(), Repeat(rule=f"daily {local:%H:%M}", count=1))
    tomorrow = (local.date() + timedelta(days=1)).isoformat()
    assert [each.local_time for each in await _posts(shared, made)] == [f"{tomorrow}T{local:%H:%M}"]


async def test_another_zone_is_the_series_own(shared: World) -> None:
    post = await shared.draft()
    wanted = Repeat(
        rule="monthly lastFR 17:30", starts_on=date(2090, 1, 1), count=1, zone="Asia/Tokyo"
    )
    [copy] = await _posts(shared, await _repeat(shared, post, wanted))
    assert (copy.zone, copy.due_at) == (
        "Asia/Tokyo",
        datetime.fromisoformat("2090-01-27T17:30+09:00"),
    )


async def test_times_that_need_a_choice_are_refused_before_anything_is_drafted(
    shared: World,
) -> None:
    post = await shared.draft()
    wanted = Repeat(rule="daily 02:30", starts_on=date(2027, 3, 1), until=date(2027, 12, 1))
    async with refused(shared, "series_times") as caught:
        await _repeat(shared, post, wanted)
    assert isinstance(caught.value, SeriesTimesError)
    message = str(caught.value)
    assert "2027-03-28 before (01:59+01:00) or after (03:00+02:00)" in message
    assert "2027-10-31 earlier (02:30+02:00) or later (02:30+01:00)" in message
    chosen = Repeat(
        rule="daily 02:30",
        starts_on=date(2027, 3, 28),
        until=date(2027, 10, 31),
        fold=Choice.LATER,
        gap=Gap.AFTER,
    )
    copies = await _posts(shared, await _repeat(shared, post, chosen))
    assert (copies[0].local_time, copies[0].choice) == ("2027-03-28T03:00", None)
    assert (copies[1].local_time, copies[1].choice) == ("2027-03-29T02:30", None)
    assert (copies[-1].local_time, copies[-1].choice) == ("2027-10-31T02:30", "later")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rule": "hourly 09:00"}, "rule_invalid"),
    ({"count": None}, "series_unbounded"),
    ({"rule": "daily 09:00", "count": 401}, "series_too_long"),
    ({"until": date(2090, 6, 2)}, "series_empty"),
    ({"exceptions": (date(2090, 6, 6),)}, "series_exception_unknown"),
    ({"starts_on": date(2026, 1, 1)}, "time_past"),
    ({"zone": "Mars/Olympus"}, "time_zone_unknown"),
    ({"starts_on": date(2101, 1, 1)}, "time_out_of_range"),
]


@pytest.mark.parametrize(("change", "code"), REFUSED, ids=[code for _, code in REFUSED])
async def test_a_rule_that_cannot_be_kept_is_refused(
    shared: World, change: dict[str, Any], code: str
) -> None:
    post = await shared.draft()
    values = {"rule": "weekly MO 09:00", "starts_on": date(2090, 6, 1), "count": 4, **change}
    async with refused(shared, code):
        await _repeat(shared, post, Repeat(**values))


async def test_only_whoever_may_write_for_the_post_repeats_or_ends_it(shared: World) -> None:
    post = await shared.draft()
    made = await _repeat(shared, post)
    async with refused(shared, "not_found"):
        await _repeat(shared, post, by="olena")
    async with refused(shared, "permission_denied"):
        await _repeat(shared, post, by="mlakar")
    for name, code in (("olena", "not_found"), ("mlakar", "permission_denied")):
        actor = await shared.actor(name)
        async with refused(shared, code):
            await series.end(shared.app.open_uow, actor, made.id, reason="mine")
    async with refused(shared, "reason_missing"):
        await _end(shared, made, " ")


async def test_a_series_on_a_removed_account_is_refused(own: World) -> None:
    post = await own.draft()
    async with own.app.open_uow() as uow:
        parts = await rows.load_parts(uow, await uow.session.get_one(Post, post.id))
        parts.deliveries[0][1].state = "removed"
    async with refused(own, "account_unknown"):
        await _repeat(own, post)


async def test_the_end_cancels_what_is_to_come_and_leaves_what_was_tried(shared: World) -> None:
    made = await _repeat(shared, await shared.draft())
    first, second, third, fourth = await _posts(shared, made)
    for each in (first, second, third):
        await shared.approve(await shared.submit(each))
    async with shared.app.open_uow() as uow:
        await _set(uow, first, state="claimed", lease_until=uow.now + timedelta(hours=1))
        await _set(uow, second, attempts=1)
    async with recording(shared) as actions:
        ended = await _end(shared, made)
    assert (set(ended.cancelled), set(ended.left)) == ({third.id, fourth.id}, {first.id, second.id})
    assert actions.count("series.end") == 1
    assert actions.count("post.cancel") == 2
    states = [each.state for each in await _posts(shared, made)]
    assert states == ["scheduled", "scheduled", "cancelled", "cancelled"]
    [delivery] = await shared.deliveries(third)
    assert delivery.state == "cancelled"
    assert ended.series.end_reason == "the forum is over"


async def _set(uow: Any, post: Post, **values: Any) -> None:
    await uow.session.execute(
        update(Delivery).where(col(Delivery.post_id) == post.id).values(**values)
    )


async def test_ending_it_again_does_the_rest_and_puts_the_end_on_record_once(shared: World) -> None:
    made = await _repeat(shared, await shared.draft())
    await _end(shared, made)
    async with shared.app.open_uow() as uow:  # as if it had been cut off before this one
        [_, _, _, last] = await _posts(shared, made)
        await uow.session.execute(update(Post).where(col(Post.id) == last.id).values(state="draft"))
        await _set(uow, last, state="planned")
    async with recording(shared) as actions:
        ended = await _end(shared, made, "again")
    assert ended.cancelled == (last.id,)
    assert "series.end" not in actions
    assert ended.series.end_reason == "the forum is over"


async def test_what_is_over_already_is_not_cancelled(shared: World) -> None:
    made = await _repeat(shared, await shared.draft())
    [past, *_] = await _posts(shared, made)
    async with shared.app.open_uow() as uow:
        await uow.session.execute(
            update(Post).where(col(Post.id) == past.id).values(due_at=uow.now - timedelta(days=1))
        )
    ended = await _end(shared, made)
    assert past.id not in {*ended.cancelled, *ended.left}
    assert (await _get(shared, past)).state == "draft"


async def test_the_longest_series_is_one_short_transaction(own: World) -> None:
    """400 posts on two accounts: what is being published meanwhile must not wait for long."""
    targets = ("hq.mastodon", "hq.bluesky")
    post = await own.draft(targets=targets)
    begun_s = monotonic_s()
    made = await _repeat(
        own, post, Repeat(rule="daily 09:00", starts_on=date(2090, 1, 1), count=400)
    )
    took_s = monotonic_s() - begun_s
    assert len(await _posts(own, made)) == 400
    assert took_s < 8, took_s
    async with own.app.open_uow.read() as uow:
        bodies = list(await uow.session.scalars(select(col(AuditOutbox.body))))
    made_here = [
        each for each in map(parse_record, bodies) if each.detail.get("series") == str(made.id)
    ]
    assert len(made_here) == 400


async def test_more_deliveries_than_one_transaction_should_write_are_refused(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "MOST_DELIVERIES", 7)
    post = await shared.draft(targets=("hq.mastodon", "hq.bluesky"))
    async with refused(shared, "series_too_long"):
        await _repeat(shared, post)


async def test_a_day_stands_once_in_a_series(shared: World) -> None:
    made = await _repeat(shared, await shared.draft())
    async with shared.app.open_uow.read() as uow:
        days = list(
            await uow.session.scalars(
                select(Occurrence.day)
                .where(Occurrence.series_id == made.id)
                .order_by(Occurrence.day)
            )
        )
    assert days == ["2090-06-05", "2090-06-12", "2090-06-19", "2090-06-26"]
    assert isinstance(made.id, UUID)
