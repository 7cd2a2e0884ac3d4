"""Why nothing moves, in words: what is due, in whose hands it is, and what stands in its way."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from scheduler.commands.advice import Check, find, fine
from scheduler.db import deliveries, figures
from scheduler.db.figures import Queue
from scheduler.db.tables import Account, Delivery, Posture
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryState

#: A worker looks every second; what is due for longer than this has not just been missed.
_MOMENT: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the database says about everything that could move."""

    now: datetime
    queue: Queue
    postures: Sequence[tuple[Posture, str]]
    accounts: Sequence[Account]  #: those on which something is due
    claims: Sequence[Delivery]
    put_off: int
    next_try_at: datetime | None
    held: int
    unknown: int


async def look(uow: UnitOfWork, *, worker_lives: bool | None) -> list[Check]:
    """Every reason that holds; None: nobody can tell whether a worker lives."""
    amounts = await deliveries.count_by_state(uow)
    put_off, next_try_at = await figures.find_put_off(uow)
    scene = Scene(
        now=uow.now,
        queue=await figures.find_queue(uow),
        postures=await figures.find_postures(uow),
        accounts=await figures.find_due_accounts(uow),
        claims=await figures.find_due_claims(uow),
        put_off=put_off,
        next_try_at=next_try_at,
        held=amounts.get(DeliveryState.HELD, 0),
        unknown=amounts.get(DeliveryState.UNKNOWN, 0),
    )
    return explain(scene, worker_lives=worker_lives)


def explain(scene: Scene, *, worker_lives: bool | None) -> list[Check]:
    """The reasons in the order in which they matter; one line that all is well when there are none."""
    found = [
        find(
            "stopped",
            kind=posture.kind,
            who=who,
            since=_clock(posture.started_at),
            why=posture.reason,
        )
        for posture, who in scene.postures
    ]
    found += _explain_due(scene, worker_lives=worker_lives)
    if scene.held or scene.unknown:
        found.append(find("waiting_for_people", held=scene.held, unknown=scene.unknown))
    return found or [fine("publishing", _describe(scene))]


def _explain_due(scene: Scene, *, worker_lives: bool | None) -> list[Check]:
    since = scene.queue.oldest_due_at
    if since is None or scene.now - since < _MOMENT:
        return _explain_hands(scene)
    told = {"due": scene.queue.due, "since": _clock(since)}
    if worker_lives is False:
        return [find("due_without_worker", **told), *_explain_hands(scene)]
    paused = [account.code for account in scene.accounts if account.state != "active"]
    found = [find("due_on_paused", **told, which=", ".join(paused))] if paused else []
    found += _explain_hands(scene)
    if scene.next_try_at is not None:
        found.append(find("due_put_off", count=scene.put_off, at=_clock(scene.next_try_at)))
    if not found and not scene.postures:
        found.append(find("due_not_taken", **told))
    return found


def _explain_hands(scene: Scene) -> list[Check]:
    found = []
    for worker in sorted({each.worker for each in scene.claims}):
        claims = [each for each in scene.claims if each.worker == worker]
        told = {
            "count": len(claims),
            "worker": worker,
            "until": _clock(max(each.lease_until or scene.now for each in claims)),
        }
        if is_gone(worker):
            found.append(find("due_in_dead_hands", **told))
        elif min(each.due_at or scene.now for each in claims) < scene.now - _MOMENT:
            found.append(find("due_in_hand", **told))
    return found


def is_gone(worker: str) -> bool:
    """Whether the process ran on this machine and does so no longer; of other machines' nobody here can tell."""
    host, number, _ = worker.rsplit(":", 2) if worker.count(":") >= 2 else ("", "", "")  # noqa: PLR2004
    if host != socket.gethostname() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # it is there, and another user's
    return False


def _describe(scene: Scene) -> str:
    queue = scene.queue
    if queue.due:
        return f"{queue.due} due and on their way"
    if queue.next_due_at is None:
        return "nothing is scheduled"
    return f"nothing is due; {queue.waiting} scheduled, the next for {_clock(queue.next_due_at)}"


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
