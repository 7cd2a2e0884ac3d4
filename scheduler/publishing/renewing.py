"""Renews sign-ins ahead of their end, off the send path, and tells when one ends for good."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from math import inf
from typing import Final
from uuid import UUID

import structlog

from scheduler.clock import monotonic_s
from scheduler.db import sign_ins as rows
from scheduler.db.tables import Account
from scheduler.db.uow import UnitOfWork, UnitOfWorkFactory
from scheduler.publishing.background import guarded, repeat
from scheduler.publishing.lanes import Lanes
from scheduler.services import secrets, sign_ins
from scheduler.services.kit import Kit
from scheduler.services.sign_ins import End
from scheduler.vault.envelope import TokenUnavailableError

log = structlog.get_logger()

_PASS_S: Final = 15.0
#: How often each account is looked at; well within the time that a renewal is ahead.
LOOK_EVERY: Final = timedelta(minutes=5)
#: How many sealed sessions are opened in one go: the loop has other things to do.
_BATCH: Final = 50


@dataclass(slots=True)
class Renewer:
    """One process's share of the renewals; the lease in the database keeps two from one account."""

    open_uow: UnitOfWorkFactory
    kit: Kit
    look_every: timedelta = LOOK_EVERY
    pass_s: float = _PASS_S
    _looked_s: dict[UUID, float] = field(default_factory=dict)
    _in_hand: set[UUID] = field(default_factory=set)
    _lanes: Lanes = field(default_factory=lambda: Lanes(per_server=2, total=8))

    async def run(self, stopping: asyncio.Event) -> None:
        """Renew until `stopping`; what is under way is finished, because a new session must not be lost."""
        async with asyncio.TaskGroup() as group:
            group.create_task(repeat(self.pass_s, stopping, self._warn))
            await repeat(self.pass_s, stopping, partial(self._start, group))

    async def _start(self, group: asyncio.TaskGroup) -> None:
        async with self.open_uow.read() as uow:
            ending = await self._find_ending(uow)
        for account in ending:
            self._in_hand.add(account.id)
            group.create_task(self._renew(account))

    async def _find_ending(self, uow: UnitOfWork) -> list[Account]:
        """Of the accounts whose turn it is to be looked at, those whose session ends soon."""
        waiting = await rows.find_waiting(uow) | self._in_hand
        active = await rows.find_active(uow)
        self._looked_s = {each.id: self._looked_s.get(each.id, -inf) for each in active}
        long_ago_s = monotonic_s() - self.look_every.total_seconds()
        turn = [each for each in active if self._looked_s[each.id] <= long_ago_s]
        ending = []
        for account in [each for each in turn if each.id not in waiting][:_BATCH]:
            self._looked_s[account.id] = monotonic_s()
            try:
                credentials = await secrets.open_credentials(uow, self.kit, account)
            except TokenUnavailableError:
                continue  # whoever sends or checks it next tells a person
            if sign_ins.ends_soon(self.kit, account.platform, credentials, uow.now):
                ending.append(account)
        return ending

    async def _renew(self, account: Account) -> None:
        try:
            async with self._lanes.enter((account.platform, account.base_url)):
                await guarded(partial(self._renew_one, account))
        finally:
            self._in_hand.discard(account.id)

    async def _renew_one(self, account: Account) -> None:
        renewal = await sign_ins.renew(self.open_uow, self.kit, account.id)
        if renewal.end in {End.FAILED, End.REFUSED}:
            why = renewal.error.code if renewal.error else ""
            log.warning("renewal.refused", account=account.code, end=renewal.end, why=why)
        if renewal.end is End.FAILED:
            self._looked_s.pop(account.id, None)  # as soon as it has rested

    async def _warn(self) -> None:
        async with self.open_uow.read() as uow:
            found = await sign_ins.find_unwarned(uow)
        for account_id, days in found:
            async with self.open_uow() as uow:
                await sign_ins.warn(uow, account_id, days)
