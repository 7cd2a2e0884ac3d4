"""People during a run: a stop, a revoked grant, a row changed by hand, and somebody who looks after what is held."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import update
from sqlmodel import col

from scheduler.db.tables import Delivery, Grant
from scheduler.db.uow import UnitOfWork
from scheduler.errors import ChanceryError
from scheduler.services import deliveries, postures
from scheduler.services.deliveries import Resolution
from tests.simulation.platforms import published
from tests.simulation.store import Facts

if TYPE_CHECKING:
    from tests.simulation.run import Run

#: Nobody decides about a doubtful post before every paused process must have given up or gone on.
_LOOKS_AFTER_S = 100.0


def plan(run: "Run") -> None:
    """Draw what people do in this run."""
    rng, later = run.rng, run.loop.call_later
    if rng.random() < 0.12:
        at = rng.uniform(0, 14)
        later(at, _begin, run, _stop)
        later(at + rng.uniform(1, 40), _begin, run, _resume)
    if rng.random() < 0.06:
        later(rng.uniform(0, 14), _begin, run, _revoke)
    if rng.random() < 0.06:
        later(rng.uniform(0, 14), _begin, run, _tamper)


def notice(run: "Run", facts: Facts) -> None:
    """Somebody sees what is held, and decides some minutes later."""
    for change in facts.enters("held"):
        if run.chance() < 0.5:
            delivery_id = UUID(change.after["id"])
            wait_s = run.spread(_LOOKS_AFTER_S, 3 * _LOOKS_AFTER_S)
            run.outside_later(wait_s, _begin, run, partial(_decide, delivery_id))


def _begin(run: "Run", act: Callable[["Run", UnitOfWork], Awaitable[None]]) -> None:
    run.loop.create_task(_act(run, act))


async def _act(run: "Run", act: Callable[["Run", UnitOfWork], Awaitable[None]]) -> None:
    open_uow = run.ministry.open_uow("web")
    open_uow.instance = run.instance  # type: ignore[assignment]
    open_uow.ring = run.bell.ring
    try:
        async with open_uow() as uow:
            await act(run, uow)
    except ChanceryError as exc:
        run.say(f"office: {exc.code}")


async def _stop(run: "Run", uow: UnitOfWork) -> None:
    await postures.stop(uow, run.ministry.admin, reason="an earthquake")
    run.say("office: stop")


async def _resume(run: "Run", uow: UnitOfWork) -> None:
    await postures.resume(uow, run.ministry.admin, reason="all clear")
    run.say("office: resume")


async def _revoke(run: "Run", uow: UnitOfWork) -> None:
    person = run.ministry.supervisor.person_id
    await uow.session.execute(
        update(Grant).where(col(Grant.person_id) == person).values(revoked_at=uow.now)
    )
    run.say("office: the approver's grant is revoked")


async def _tamper(run: "Run", uow: UnitOfWork) -> None:
    text = b'[{"media":[],"request":{"media":[],"text":"Number 1, forged"}}]'
    await uow.session.execute(
        update(Delivery).where(col(Delivery.attempts) == 0).values(payload=text)
    )
    run.say("office: payloads changed by hand")


async def _decide(delivery_id: UUID, run: "Run", uow: UnitOfWork) -> None:
    """An honest look at the platform, then the truth."""
    row = run.ministry.store.deliveries[delivery_id.hex]
    if row["state"] != "held":
        return
    texts = run.invariants.approved[delivery_id.hex].texts
    effects = {each.text: each for each in run.server.public()}
    there = [effects[text] for text in texts if text in effects]
    actor: Any = run.ministry.supervisor
    if len(there) == len(texts):
        await deliveries.resolve(
            uow,
            actor,
            delivery_id,
            reason="seen",
            resolution=Resolution.POSTED,
            url=published(there[0]).url,
        )
    elif there or run.rng.random() < 0.3:
        await deliveries.resolve(
            uow, actor, delivery_id, reason="overtaken", resolution=Resolution.CANCELLED
        )
    else:
        await deliveries.release(uow, actor, delivery_id, reason="not there", not_public=True)
    run.say(f"office: decides about {texts[0]!r}")
