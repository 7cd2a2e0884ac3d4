"""Spacing and budgets by the attempts of a real engine: kept over restarts, fair between missions, never doubled."""

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlmodel import col, select

from adapters.base import Quota
from adapters.mastodon import MastodonAdapter
from scheduler.db.tables import Account, Attempt, Delivery, Post
from scheduler.services import accounts, pacing
from tests.support.world import World, connect

ALERT = {"post_class": "consular_alert"}


def _limit(monkeypatch: pytest.MonkeyPatch, **quotas: Quota) -> None:
    can = replace(
        MastodonAdapter.capabilities, **{name: (quota,) for name, quota in quotas.items()}
    )
    monkeypatch.setattr(MastodonAdapter, "capabilities", can)


async def _space(world: World, code: str, seconds: int) -> None:
    async with world.as_("bizjak") as (uow, actor):
        await accounts.set_spacing(uow, actor, world.accounts[code], seconds=seconds)


async def _started(world: World) -> list[tuple[datetime, str, str]]:
    """When each attempt began, with its post's title and account."""
    query = (
        select(col(Attempt.started_at), col(Post.title), col(Account.code))
        .join(Delivery, col(Delivery.id) == col(Attempt.delivery_id))
        .join(Post, col(Post.id) == col(Delivery.post_id))
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .order_by(col(Attempt.started_at))
    )
    async with world.app.open_uow.read() as uow:
        return [tuple(row) for row in await uow.session.execute(query)]


async def _until_sent(world: World, posts: Iterable[Post], within_s: float = 30) -> None:
    for post in posts:
        await world.settle(post, lambda each: each.state in {"sent", "verified"}, within_s=within_s)


def _gaps(moments: list[datetime]) -> list[float]:
    return [(b - a).total_seconds() for a, b in itertools.pairwise(moments)]


async def _has_to_wait(world: World, posts: Iterable[Post]) -> bool:
    reasons = [each.reason for post in posts for each in await world.deliveries(post)]
    return any(reason.startswith("budget_used: ") for reason in reasons)


async def test_posts_of_an_account_keep_their_distance_also_over_a_restart(world: World) -> None:
    await _space(world, "hq.mastodon", 2)
    posts = [await world.scheduled(title=str(number)) for number in range(3)]
    async with world.working():
        await _until_sent(world, posts[:1])
        await world.settle(posts[1], lambda each: each.reason.startswith("spacing: "))
    async with world.working("another"):
        await _until_sent(world, posts)
    started = [at for at, _, _ in await _started(world)]
    assert len(started) == 3
    assert min(_gaps(started)) >= 2
    assert max(_gaps(started)) < 6
    assert {each.reason for post in posts for each in await world.deliveries(post)} == {""}


async def test_an_alert_does_not_wait_for_the_distance(world: World) -> None:
    await _space(world, "hq.mastodon", 3600)
    async with world.working():
        await _until_sent(world, [await world.scheduled(title="first")])
        routine = await world.scheduled(title="routine")
        await world.settle(routine, lambda each: each.reason.startswith("spacing: "))
        await _until_sent(world, [await world.scheduled(title="alert", **ALERT)])
    [waiting] = await world.deliveries(routine)
    assert (waiting.state, waiting.attempts) == ("ready", 0)


async def test_no_span_holds_more_than_the_quota_and_alerts_have_the_reserve(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    span = timedelta(seconds=4)
    _limit(monkeypatch, quotas=Quota(limit=5, per=span))
    routine = [await world.scheduled(title=f"routine {number}") for number in range(7)]
    async with world.working():
        await _until_sent(world, routine[:4])
        await world.settle(routine[4], lambda each: each.reason.startswith("budget_used: "))
        alert = await world.scheduled(title="alert", **ALERT)
        await _until_sent(world, [alert, *routine])
    started = await _started(world)
    assert sorted(title for _, title, _ in started) == sorted(
        ["alert", *(f"routine {number}" for number in range(7))]
    )
    moments = [at for at, _, _ in started]
    assert [title for _, title, _ in started].index("alert") == 4  # from the reserve, at once
    assert all(b - a >= span for a, b in zip(moments, moments[5:], strict=False))
    quiet = [at for at, title, _ in started if title != "alert"]
    assert all(b - a >= span for a, b in zip(quiet, quiet[4:], strict=False))


async def test_a_mission_that_queues_many_leaves_another_its_share(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    span = timedelta(seconds=6)
    _limit(monkeypatch, shared_quotas=Quota(limit=10, per=span))
    lanes = []
    for lane in range(6):
        lanes += [
            code for code in await connect(world, f"lane{lane}", "krv.hq", "en") if "masto" in code
        ]
    queued = [
        await world.scheduled(title=f"many {number}", targets=tuple(lanes)) for number in range(2)
    ]
    async with world.working():
        async with asyncio.timeout(20):
            while not await _has_to_wait(world, queued):
                await asyncio.sleep(0.05)
        few = await world.scheduled(
            title="few", targets=("kyi.mastodon",), languages={"kyi.mastodon": "en"}
        )
        await _until_sent(
            world, [few], within_s=3
        )  # less than until the first of the many is out of the span
    started = await _started(world)
    assert all(b[0] - a[0] >= span for a, b in zip(started, started[10:], strict=False))


async def test_a_post_that_waits_longer_than_it_may_be_late_is_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget only delays: past its late minutes a post is for a person, like every other."""
    _limit(monkeypatch, quotas=Quota(limit=2, per=timedelta(hours=3)))
    first, second = [await world.scheduled(title=str(number)) for number in range(2)]
    async with world.working():
        await _until_sent(world, [first])
        await world.settle(second, lambda each: each.reason.startswith("budget_used: "))
        async with world.app.open_uow() as uow:
            delivery = await uow.session.get_one(Delivery, (await world.deliveries(second))[0].id)
            delivery.late_at = uow.now
        await world.settle(second, lambda each: each.state == "held")
    assert len(await _started(world)) == 1


async def test_a_group_whose_claims_another_worker_has_asks_for_nothing(world: World) -> None:
    async with world.app.open_uow.read() as uow:
        pace = await pacing.load(uow, world.app.kit, ())
        assert not pace.used
        assert not pace.shared
