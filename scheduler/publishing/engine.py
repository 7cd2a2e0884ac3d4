"""The engine: from the clock to the claim, the intent, the platform and the record.

Its loops need the database alone. arq only nudges them; without Redis everything leaves just the same.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from scheduler.clock import monotonic_s
from scheduler.db import deliveries
from scheduler.db.deliveries import Doubt
from scheduler.db.uow import UnitOfWorkFactory
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.publishing.background import guarded, repeat
from scheduler.publishing.delivering import Courier
from scheduler.publishing.group import GATHER_S
from scheduler.publishing.looking import Looker
from scheduler.services import outcomes, publishing
from scheduler.services.holds import Claimed
from scheduler.services.kit import Kit
from scheduler.services.publishing import LEASE_MARGIN

CLAIM_AHEAD: Final = timedelta(seconds=3)
_SWEEP_S: Final = 1.0
_MOST_LOOKS: Final = 200
_BATCH: Final = 200


@dataclass(slots=True)
class Engine:
    """One process's share of the publishing; any number may run side by side on PostgreSQL."""

    open_uow: UnitOfWorkFactory
    kit: Kit
    worker: str  #: a name nobody else uses: host, process, start
    most_in_hand: int = 600  #: bounds what waits in memory, and what a crash leaves in doubt
    most_on_a_server: int = (
        200  #: a slow one is full before the hands are, and keeps nobody else waiting
    )
    _nudge: asyncio.Event = field(default_factory=asyncio.Event)
    _in_hand: dict[UUID, Claimed] = field(default_factory=dict)
    _dropped: set[tuple[UUID, int]] = field(default_factory=set)
    _looking: set[UUID] = field(default_factory=set)
    #: By delivery, fence and attempt.
    _doubted_since_s: dict[tuple[UUID, int, int], float] = field(default_factory=dict)
    last_sweep_s: float = 0.0  #: monotonic; the health check looks at it

    async def nudge(self) -> None:
        """Look at the database now; a doorbell may ring too often or never."""
        self._nudge.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until `stopping`; then finish what is in flight and give back the rest."""
        courier = Courier(self.open_uow, self.kit, stopping)
        looker = Looker(self.open_uow, self.kit)
        async with asyncio.TaskGroup() as group:
            stopper = group.create_task(stopping.wait())
            group.create_task(repeat(_SWEEP_S, stopping, self._recover))
            group.create_task(repeat(_SWEEP_S, stopping, partial(self._look, group, looker)))
            while not stopping.is_set():
                self._nudge.clear()
                await guarded(lambda: self._claim(group, courier))
                await self._wait_for_nudge(stopper)
                if self._in_hand:  # others end in these moments too: one claim for all of them
                    await asyncio.sleep(GATHER_S)

    async def _claim(self, group: asyncio.TaskGroup, courier: Courier) -> None:
        room = min(self.most_in_hand - len(self._in_hand), self.most_on_a_server)
        if room <= 0:
            self.last_sweep_s = monotonic_s()
            return
        servers = Counter(each.server for each in self._in_hand.values())
        full = [server for server, count in servers.items() if count >= self.most_on_a_server]
        async with self.open_uow() as uow:
            found = await publishing.claim(
                uow, worker=self.worker, ahead=CLAIM_AHEAD, limit=room, full=full
            )
        self.last_sweep_s = monotonic_s()  # a database that refused is no healthy sweep
        for claimed in found:
            self._in_hand[claimed.delivery_id] = claimed
            group.create_task(self._deliver(claimed, courier))
        if len(found) == room:
            self._nudge.set()

    async def _deliver(self, claimed: Claimed, courier: Courier) -> None:
        try:
            with structlog.contextvars.bound_contextvars(delivery=str(claimed.delivery_id)):
                await guarded(lambda: courier.deliver(claimed))
        finally:
            self._in_hand.pop(claimed.delivery_id, None)
            self._nudge.set()  # the account is free for its next post

    async def _recover(self) -> None:
        """Each delivery in a transaction of its own: one that cannot be read must not stop the others."""
        async with self.open_uow.read() as uow:
            lapsed = await deliveries.find_lapsed(uow, limit=_BATCH)
            overdue = await deliveries.find_overdue(uow, limit=_BATCH)
            doubtful = await deliveries.find_doubtful(uow)
            claimed = {
                (each.id, each.fence)
                for each in await deliveries.find_claims_of(uow, self.worker)
                if each.id not in self._in_hand
            }
        # Dropped when the database went away. A claim of this very moment is seen once, not twice.
        dropped, self._dropped = claimed & self._dropped, claimed
        for delivery_id, fence in dropped:
            await guarded(partial(self._give_back, delivery_id, fence))
        fresh = self._too_fresh(doubtful)  # R6: taken back, its account is free for the next post
        for delivery_id in lapsed:
            if delivery_id in self._in_hand or delivery_id in fresh:
                continue  # somebody is at it, so the database's clock must have jumped
            await guarded(partial(self._recover_one, delivery_id))
        for delivery_id in overdue:
            await guarded(partial(self._end_window, delivery_id))

    async def _give_back(self, delivery_id: UUID, fence: int) -> None:
        async with self.open_uow() as uow:
            await outcomes.give_back(uow, delivery_id, fence)

    async def _recover_one(self, delivery_id: UUID) -> None:
        async with self.open_uow() as uow:
            await outcomes.recover(uow, self.kit, delivery_id)

    async def _end_window(self, delivery_id: UUID) -> None:
        async with self.open_uow() as uow:
            await outcomes.end_window(uow, delivery_id)

    async def _look(self, group: asyncio.TaskGroup, looker: Looker) -> None:
        """Start the looks that are due; the next round does not wait for a slow platform's answers."""
        room = _MOST_LOOKS - len(self._looking)
        async with self.open_uow.read() as uow:
            waking = set(await deliveries.find_waking(uow, limit=max(room, 0)))
            doubtful = await deliveries.find_doubtful(uow)
        for delivery_id in waking - self._too_fresh(doubtful) - self._looking:
            self._looking.add(delivery_id)
            group.create_task(self._look_at(delivery_id, looker))

    async def _look_at(self, delivery_id: UUID, looker: Looker) -> None:
        try:
            await guarded(partial(looker.look_at, delivery_id))
        finally:
            self._looking.discard(delivery_id)

    def _too_fresh(self, doubtful: Sequence[Doubt]) -> set[UUID]:
        """Doubtful deliveries that this process has not watched for long enough by a clock that cannot jump.

        A request of another process may be under way although the database's clock says that its time is over: one
        that is being sent for as long as its lease, an unknown one until the platform has settled.
        """
        now_s, watched, fresh = monotonic_s(), {}, set()
        for each in doubtful:
            key = each.delivery_id, each.fence, each.attempt
            watched[key] = since_s = self._doubted_since_s.get(key, now_s)
            can = self.kit.platform(each.platform).capabilities
            more = LEASE_MARGIN if each.state is DeliveryState.SENDING else can.settle
            if now_s - since_s < (can.publish_timeout + more).total_seconds():
                fresh.add(each.delivery_id)
        self._doubted_since_s = watched
        return fresh

    async def _wait_for_nudge(self, stopper: asyncio.Task[bool]) -> None:
        waiter = asyncio.ensure_future(self._nudge.wait())
        await asyncio.wait({waiter, stopper}, timeout=_SWEEP_S, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
