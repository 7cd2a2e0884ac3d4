"""A worker ended, killed, stopped and continued at every state: at most once, nothing lost, the record whole."""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import text

from scheduler.clock import utc_now
from scheduler.db.tables import Post
from scheduler.db.uow import DatabaseUnavailableError
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.services import media
from tests.integration.fault_fixtures import Yard, practice, until, yard_fixture  # noqa: F401 - fixtures
from tests.support.pictures import picture
from tests.support.processes import WorkerProcess, stopped

_LONG_ROUNDS = 20
_STATES = ("claimed", "preparing", "refused", "sending", "public", "unrecorded")


@pytest.mark.timeout(120)
async def test_sigterm_finishes_what_is_in_flight_and_gives_back_what_is_claimed(
    yard: Yard,
) -> None:
    yard.practice.turn(Platform.MASTODON, Turn(latency_ms=1500, when="after"))
    with yard.worker(patience=(6, 2, 2)) as worker:
        scout = await yard.schedule("First of all", "kyi.bluesky")
        await yard.until_state(scout, "sent", "verified")
        flying, waiting = await _fly_and_wait(yard)
        assert worker.end() == 0
    assert (await yard.the(flying)).state == "sent"
    given_back = await yard.the(waiting)
    assert (given_back.state, given_back.wake_at) == ("ready", given_back.due_at)
    assert given_back.attempts == 0
    with yard.worker() as worker:
        await yard.until_done(count=len(yard.expected), worker=worker)
    await yard.assert_once()


@pytest.mark.timeout(120)
async def test_a_worker_stopped_past_its_lease_while_sending_sends_at_most_once(yard: Yard) -> None:
    """Stopped before the effect and after it; on PostgreSQL another worker goes on meanwhile."""
    yard.practice.turn(Platform.MASTODON, Turn(account="hq", latency_ms=700, when="before"))
    yard.practice.turn(Platform.MASTODON, Turn(account="kyi", latency_ms=900, when="after"))
    with yard.worker() as sleeper:
        early = await yard.schedule("Stopped before the effect", "hq.mastodon")
        late = await yard.schedule("Stopped after the effect", "kyi.mastodon")
        await yard.until_state(early, "sending")
        await yard.until_state(late, "sending")
        with stopped(sleeper):
            await yard.until_public("Stopped before the effect")
            await until(lambda: _lease_is_over(yard, early, late), "the leases over")
            if not yard.settings.is_sqlite:
                with yard.worker() as other:
                    await yard.until_done(count=2, worker=other)
        await yard.until_done(count=2, worker=sleeper)
        assert sleeper.end() == 0
    await yard.assert_once()


@pytest.mark.timeout(120)
async def test_a_worker_killed_in_each_state_doubles_and_loses_nothing(yard: Yard) -> None:
    struck = await _strike_all(yard, rounds=1)
    assert set(struck) == set(_STATES), struck


@pytest.mark.long
@pytest.mark.timeout(1500)
async def test_twenty_kills_in_each_state_double_and_lose_nothing(yard: Yard) -> None:
    struck = await _strike_all(yard, rounds=_LONG_ROUNDS)
    (yard.folder / "struck.json").write_text(json.dumps(struck))  # what the kills have hit
    assert min(struck[state] for state in _STATES) >= _LONG_ROUNDS, struck


@pytest.mark.long
@pytest.mark.timeout(1500)
async def test_thirty_stops_past_the_lease_at_any_moment_double_and_lose_nothing(
    yard: Yard,
) -> None:
    """The worker sleeps through its lease wherever it happens to be, intent committed or not."""
    lanes = await yard.open_lanes(3)
    for platform in Platform:
        yard.practice.turn(platform, Turn(latency_ms=20, when="after"))
    made = 0
    with yard.worker() as sleeper:
        for number in range(30):
            await yard.schedule(f"Number {number} from Lipovec", *lanes)
            made += len(lanes)
            await yard.until_done(count=made - len(lanes), worker=sleeper)
            await until(lambda: _is_any_in_hand(yard), "something in hand", within_s=10)
            with stopped(sleeper):
                await until(lambda: _are_leases_over(yard), "the leases over")
        await yard.until_done(count=made, worker=sleeper)
    await yard.assert_once()


@pytest.mark.long
@pytest.mark.parametrize("database", ["postgresql"])
@pytest.mark.timeout(120)
async def test_when_one_of_two_workers_is_killed_the_other_goes_on(yard: Yard) -> None:
    lanes = await yard.open_lanes(4)
    for platform in Platform:
        yard.practice.turn(platform, Turn(latency_ms=150, when="after"))
    with yard.worker() as victim, yard.worker() as heir:
        for number in range(4):
            await yard.schedule(f"Number {number} from Lipovec", *lanes)
        await until(lambda: _hold_each(yard, victim, heir), "both at work")
        victim.kill()
        await yard.until_done(count=4 * len(lanes), worker=heir)
        assert heir.end() == 0
    await yard.assert_once()


async def _fly_and_wait(yard: Yard) -> tuple[Post, Post]:
    """A post that is being sent, and one that is claimed for later; a slow machine may need more tries."""
    for number in range(8):
        flying = await yard.schedule(f"In flight at the end, {number}", "hq.mastodon", in_s=4)
        waiting = await yard.schedule(f"A moment later, {number}", "hq.bluesky", in_s=6)
        await yard.until_state(flying, "sending", "sent", "verified")
        ahead, behind = await yard.the(flying), await yard.the(waiting)
        if ahead.state == "sending" and behind.state in {"claimed", "preparing"}:
            return flying, waiting
        await yard.until_state(waiting, "verified")
    pytest.fail("this machine is too slow to be interrupted")


async def _strike_all(yard: Yard, *, rounds: int) -> Counter[str]:
    """Kill a worker in each state in turn, then let one finish; how often each state was hit."""
    struck = Counter[str]()
    yard_media = await _upload(yard)
    lanes = await yard.open_lanes(6)
    for number in range(rounds):
        platform = tuple(Platform)[number % 2]
        mine = [code for code in lanes if code.endswith(platform.value)]
        struck += await _strike_on_the_way(yard, number, platform, mine[:4], yard_media)
        struck += await _strike_unrecorded(yard, number, mine[4])
        struck += await _strike_claimed(yard, number, mine[5])
    yard.practice.clear_knobs()
    with yard.worker() as worker:
        await yard.until_done(count=len(yard.expected), worker=worker)
        assert worker.end() == 0
    await yard.assert_once()
    return struck


async def _strike_on_the_way(
    yard: Yard, number: int, platform: Platform, lanes: list[str], sha256: str
) -> Counter[str]:
    """One kill that finds four accounts: uploading, refused without effect, before the effect and after it."""
    moments: dict[str, Turn] = {
        "preparing": Turn(only="media", latency_ms=3000, when="after"),
        "refused": Turn(latency_ms=3000, when="before", status=503),
        "sending": Turn(latency_ms=3000, when="before"),
        "public": Turn(latency_ms=3000, when="after"),
    }
    yard.practice.clear_knobs()
    posts: dict[str, Post] = {}
    for (moment, turn), lane in zip(moments.items(), lanes, strict=True):
        handle = lane.partition(".")[0]
        if platform is Platform.BLUESKY:
            handle += ".karvenia.example"
        yard.practice.turn(platform, turn.model_copy(update={"account": handle}))
        said = f"Round {number}: {moment}"
        pictures = [{"sha256": sha256, "alt": "The garden"}] if moment == "preparing" else []
        posts[moment] = await yard.world.scheduled(
            texts={"en": [{"text": said, "media": pictures}]}, targets=(lane,)
        )
        yard.expected[posts[moment].id] = said
    with yard.worker(patience=(4, 1, 1)) as worker:
        for moment, post in posts.items():
            await yard.until_state(post, "preparing" if moment == "preparing" else "sending")
        await yard.until_public(f"Round {number}: public")
        worker.kill()
    struck = Counter[str]()
    public = {said for *_, said in yard.practice.published()}
    for moment, post in posts.items():
        state = (await yard.the(post)).state
        is_public = f"Round {number}: {moment}" in public
        hit = (state, is_public) == (
            "preparing" if moment == "preparing" else "sending",
            moment == "public",
        )
        struck[moment] += hit
    return struck


async def _strike_unrecorded(yard: Yard, number: int, lane: str) -> Counter[str]:
    """Killed after the platform's answer, while the database did not take the record."""
    said = f"Round {number}: unrecorded"
    yard.practice.clear_knobs()
    for platform in Platform:
        yard.practice.turn(platform, Turn(latency_ms=500, when="before"))
    with yard.worker(patience=(4, 1, 1)) as worker:
        post = await yard.schedule(said, lane)
        await yard.until_state(post, "sending")
        async with _writes_held(yard):
            await yard.until_public(said)
            yard.practice.posts()  # its server answers in turn: by now the worker has its answer
            worker.kill()
    return Counter(unrecorded=int((await yard.the(post)).state == "sending"))


async def _strike_claimed(yard: Yard, number: int, lane: str) -> Counter[str]:
    """Killed between claim and preparation: the worker is let run a millisecond at a time until it is there."""
    yard.practice.clear_knobs()
    hit, tries = 0, 0
    while not hit and tries < 10:
        with yard.worker() as worker:
            scout = await yard.schedule(f"Round {number}: scout, try {tries}", "hq.mastodon")
            await yard.until_state(scout, "sent", "verified")
            post = await yard.schedule(f"Round {number}: claimed, try {tries}", lane)
            state = "ready"
            while state == "ready":
                with stopped(worker):
                    # A worker stopped inside SQLite's own lock lets nobody read: the next step shows it.
                    with suppress(DatabaseUnavailableError):
                        state = (await yard.the(post)).state
                    if state != "ready":
                        worker.kill()
                        break
                time.sleep(0.001)
            hit += state == "claimed"
            tries += 1
    return Counter(claimed=hit)


@asynccontextmanager
async def _writes_held(yard: Yard) -> AsyncIterator[None]:
    """Nobody else can change a delivery meanwhile; reading goes on."""
    async with yard.world.app.open_uow.engine.begin() as connection:
        if yard.settings.is_sqlite:
            await connection.execute(text("SELECT 1"))  # BEGIN IMMEDIATE
        else:
            await connection.execute(text("LOCK TABLE delivery IN EXCLUSIVE MODE"))
        yield


async def _upload(yard: Yard) -> str:
    app, officer = yard.world.app, await yard.world.actor("hocevar")
    kept = await media.upload(app.open_uow, app.kit, officer, "krv.hq", picture("PNG"), "image/png")
    return kept.sha256


async def _lease_is_over(yard: Yard, *posts: Post) -> bool:
    now = utc_now()
    found = [await yard.the(post) for post in posts]
    return all(each.lease_until is None or each.lease_until < now for each in found)


async def _are_leases_over(yard: Yard) -> bool:
    now = utc_now()
    return all(
        each.lease_until is None or each.lease_until < now for each in await yard.deliveries()
    )


async def _is_any_in_hand(yard: Yard) -> bool:
    return bool({"claimed", "preparing", "sending"} & set(await yard.states()))


async def _hold_each(yard: Yard, *workers: WorkerProcess) -> bool:
    """Whether each of the workers has something in hand now."""
    names = {each.worker for each in await yard.deliveries() if each.lease_until is not None}
    return all(any(f":{worker.pid}:" in name for name in names) for worker in workers)
