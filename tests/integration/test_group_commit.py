"""Steps of many deliveries share a transaction; one that breaks does not stop the others."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import event, update
from sqlmodel import col, select

from scheduler.audit.actions import Action
from scheduler.db import log
from scheduler.db.posts import StaleStateError
from scheduler.db.tables import Delivery
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWork
from scheduler.publishing.delivering import Courier
from scheduler.publishing.group import GroupCommit
from scheduler.services import publishing
from scheduler.services.publishing import Work
from scheduler.services.release import Obstacle
from tests.support.world import World

AHEAD = timedelta(seconds=3)


async def _write(uow: UnitOfWork, asked: Sequence[int]) -> list[int | Exception]:
    """Write one record for each number; 13 cannot be written, 7 has an answer of its own."""
    told: list[int | Exception] = []
    for number in asked:
        if number == 13:
            raise RuntimeError("cannot be written")
        uow.record(Action.POSTURE_STOP, {"t": "number", "id": str(number)})
        told.append(StaleStateError("overtaken") if number == 7 else len(asked))
    return told


async def _recorded(world: World) -> list[str]:
    async with world.app.open_uow.read() as uow:
        found = await log.find_unsealed(uow, limit=None)
    return [each.body.decode() for each in found if b'"t":"number"' in each.body]


async def test_whoever_comes_while_a_transaction_runs_shares_the_next_one(world: World) -> None:
    group = GroupCommit(world.app.open_uow, _write)
    together = await asyncio.gather(*(group(number) for number in range(20, 40)))
    assert len(await _recorded(world)) == 20
    assert max(together) > 1
    assert await group(50) == 1


async def test_one_that_cannot_be_written_does_not_stop_the_others(world: World) -> None:
    group = GroupCommit(world.app.open_uow, _write)
    told = await asyncio.gather(*map(group, (12, 13, 14)), return_exceptions=True)
    assert [type(each) for each in told] == [int, RuntimeError, int]
    assert len(await _recorded(world)) == 2


async def test_an_answer_that_is_an_exception_is_raised_to_the_one_who_asked(world: World) -> None:
    group = GroupCommit(world.app.open_uow, _write)
    told = await asyncio.gather(*map(group, (6, 7, 8)), return_exceptions=True)
    assert [type(each) for each in told] == [int, StaleStateError, int]


async def test_a_database_that_is_away_is_said_to_everybody(world: World) -> None:
    async def away(_uow: UnitOfWork, _asked: Sequence[int]) -> list[int | Exception]:
        raise DatabaseUnavailableError("away")

    group = GroupCommit(world.app.open_uow, away)
    told = await asyncio.gather(*map(group, range(5)), return_exceptions=True)
    assert [type(each) for each in told] == [DatabaseUnavailableError] * 5


async def test_whoever_leaves_a_group_takes_nobody_along(world: World) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_uow: UnitOfWork, asked: Sequence[int]) -> list[int | Exception]:
        entered.set()
        await go_on.wait()
        return list(asked)

    group = GroupCommit(world.app.open_uow, slow)
    leader, *others = [asyncio.ensure_future(group(number)) for number in (1, 2, 3)]
    await entered.wait()
    leader.cancel()
    await asyncio.wait({leader})
    go_on.set()
    assert leader.cancelled()
    assert await asyncio.gather(*others) == [2, 3]


async def test_a_batch_holds_the_one_that_was_changed_and_sends_the_others(world: World) -> None:
    posts = [
        await world.scheduled(
            texts={
                language: [{"text": f"Number {number}", "media": []}] for language in ("en", "uk")
            },
            targets=(code,),
        )
        for number, code in enumerate(("hq.mastodon", "hq.bluesky", "kyi.mastodon"))
    ]
    async with world.app.open_uow() as uow:
        await uow.session.execute(
            update(Delivery)
            .where(col(Delivery.post_id) == posts[1].id)
            .values(payload=b'[{"media":[],"request":{"text":"Changed by hand"}}]')
        )
    async with world.app.open_uow() as uow:
        claims = await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9)
    async with world.app.open_uow() as uow:
        told = await publishing.prepare(uow, world.app.kit, claims)
    assert [isinstance(each, Obstacle) for each in told].count(True) == 1
    courier = Courier(world.app.open_uow, world.app.kit, asyncio.Event())
    await asyncio.gather(*map(courier.deliver, claims))
    async with world.app.open_uow.read() as uow:
        states = {
            each.post_id: (each.state, each.reason.partition(":")[0])
            for each in await uow.session.scalars(select(Delivery))
        }
    assert [states[post.id] for post in posts] == [
        ("sent", ""),
        ("held", "content_changed"),
        ("sent", ""),
    ]


async def test_a_batch_leaves_what_passed_into_other_hands_and_goes_on(world: World) -> None:
    for code in ("hq.mastodon", "hq.bluesky"):
        await world.scheduled(targets=(code,))
    async with world.app.open_uow() as uow:
        first, second = await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9)
    async with world.app.open_uow() as uow:
        await uow.session.execute(
            update(Delivery)
            .where(col(Delivery.id) == first.delivery_id)
            .values(fence=Delivery.fence + 1)
        )
    courier = Courier(world.app.open_uow, world.app.kit, asyncio.Event())
    told = await asyncio.gather(*map(courier.deliver, (first, second)), return_exceptions=True)
    assert [type(each) for each in told] == [StaleStateError, type(None)]
    assert len(world.practice.posts()) == 1


async def test_a_batch_needs_as_many_statements_as_one(world: World) -> None:
    texts = {"en": [{"text": "To all", "media": []}], "uk": [{"text": "Усім", "media": []}]}
    counts = []
    for codes in (("hq.bluesky",), ("hq.mastodon", "kyi.mastodon", "kyi.bluesky")):
        await world.scheduled(texts=texts, targets=codes)
        async with world.app.open_uow() as uow:
            claims = await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9)
        with _counting(world) as statements:
            async with world.app.open_uow() as uow:
                ready = [
                    (work, b"{}")
                    for work in await publishing.prepare(uow, world.app.kit, claims)
                    if isinstance(work, Work)
                ]
            async with world.app.open_uow() as uow:
                intents = await publishing.intend(uow, world.app.kit, ready)
        counts.append((len(intents), len(statements)))
    assert [count for count, _ in counts] == [1, 3]
    assert counts[0][1] == counts[1][1]


@contextmanager
def _counting(world: World) -> Iterator[list[str]]:
    found: list[str] = []

    def note(*args: Any) -> None:
        found.append(args[2])

    engine = world.app.open_uow.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)
