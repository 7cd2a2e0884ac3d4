"""Looks ahead at what is due in some minutes: sign-in, pictures, limits, approval, policy and posture.

It runs beside the publishing and gives way to it: its reading and its writing are shared by all that is checked, one
picture is read at a time, and calls to a platform are few at each server and end by themselves.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from adapters.base import Credentials, Profile
from adapters.errors import AdapterError, CredentialsRejectedError
from scheduler.clock import monotonic_s, utc_now
from scheduler.db import preflights
from scheduler.db.tables import Account
from scheduler.db.uow import UnitOfWorkFactory
from scheduler.media.errors import MediaCorruptError, MediaMissingError
from scheduler.publishing.background import guarded, repeat
from scheduler.publishing.group import GroupCommit
from scheduler.publishing.lanes import Lanes
from scheduler.services import preflight, sign_ins
from scheduler.services.kit import Kit
from scheduler.services.preflight import Due, Finding, Result, Sheet
from scheduler.vault.envelope import TokenUnavailableError

log = structlog.get_logger()

_PASS_S: Final = 5.0
_ANSWER_S: Final = 15.0
_BATCH: Final = 200
#: A picture that was read just now for another account is not read again.
_SEEN_S: Final = 60.0
#: How long results are gathered when there are many: nobody waits for one.
_GATHER_S: Final = 0.2


@dataclass(slots=True)
class Preflight:
    """One process's share of the checks; the first result for a delivery and revision is the one that stays."""

    open_uow: UnitOfWorkFactory
    kit: Kit
    ahead: timedelta
    pass_s: float = _PASS_S
    answer_s: float = _ANSWER_S
    _in_hand: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    _lanes: Lanes = field(default_factory=lambda: Lanes(per_server=2, total=32))
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _seen: dict[str, tuple[float, Finding | None]] = field(default_factory=dict)
    _read: GroupCommit[tuple[UUID, Sequence[Due]], Sheet] = field(init=False)
    _record: GroupCommit[Result, None] = field(init=False)

    def __post_init__(self) -> None:
        kit = self.kit
        self._read = GroupCommit(
            self.open_uow.read, lambda uow, asked: preflight.read_all(uow, kit, asked)
        )
        self._record = GroupCommit(self.open_uow, preflight.record_all, _GATHER_S)

    async def run(self, stopping: asyncio.Event) -> None:
        """Check until `stopping`; what is under way then is dropped, and done by whoever comes next."""
        async with asyncio.TaskGroup() as group:
            await repeat(self.pass_s, stopping, partial(self._start, group))
            for task in self._in_hand.values():
                task.cancel()

    async def _start(self, group: asyncio.TaskGroup) -> None:
        async with self.open_uow.read() as uow:
            found = await preflights.find_due(
                uow, uow.now + self.ahead, but=self._in_hand, limit=_BATCH
            )
        by_account: defaultdict[UUID, list[Due]] = defaultdict(list)
        accounts: dict[UUID, Account] = {}
        for delivery_id, revision, account in found:
            by_account[account.id].append((delivery_id, revision))
            accounts[account.id] = account
        for account_id, due in by_account.items():
            self._in_hand[account_id] = group.create_task(self._check(accounts[account_id], due))

    async def _check(self, account: Account, due: list[Due]) -> None:
        try:
            await guarded(partial(self._check_all, account.id, due))
        finally:
            self._in_hand.pop(account.id, None)

    async def _check_all(self, account_id: UUID, due: list[Due]) -> None:
        sheet = await self._read((account_id, due))
        pictures = {each: await self._look_at(each) for each in sheet.pictures}
        profile, refused = await self._ask_who(sheet)
        found = {
            papers.delivery_id: [
                *sheet.findings,
                *refused,
                *papers.findings,
                *(each for name in papers.media if (each := pictures[name]) is not None),
                *preflight.judge_fit(self.kit, sheet, papers, profile),
            ]
            for papers in sheet.papers
        }
        await self._record(Result(sheet=sheet, profile=profile, found=found))

    async def _look_at(self, sha256: str) -> Finding | None:
        """Whether a picture is there with its bytes unchanged; one at a time, because the disk is shared."""
        async with self._reading:
            now_s = monotonic_s()
            self._seen = {
                name: seen for name, seen in self._seen.items() if seen[0] > now_s - _SEEN_S
            }
            if sha256 not in self._seen:
                self._seen[sha256] = (now_s, await self._open(sha256))
            return self._seen[sha256][1]

    async def _open(self, sha256: str) -> Finding | None:
        try:
            await asyncio.to_thread(self.kit.media.read, sha256)
        except (MediaMissingError, MediaCorruptError) as exc:
            return Finding(code=exc.code, message=str(exc))
        return None

    async def _ask_who(self, sheet: Sheet) -> tuple[Profile | None, list[Finding]]:
        """Whether the platform still takes our sign-in for who the account is."""
        if sheet.credentials is None:
            return None, []
        account = sheet.account
        try:
            async with (
                self._lanes.enter((account.platform, account.base_url)),
                asyncio.timeout(self.answer_s),
            ):
                profile = await self._verify(account, sheet.credentials)
        except (CredentialsRejectedError, TokenUnavailableError) as exc:
            return None, [_finding("sign_in_refused", f"the sign-in is refused: {exc}")]
        except AdapterError as exc:
            return None, [_finding("platform_unavailable", f"it could not be asked: {exc}")]
        except TimeoutError:
            message = f"no answer within {self.answer_s:.0f} s"
            return None, [_finding("platform_unavailable", message)]
        if profile.external_id != account.external_id:
            message = f"the sign-in now belongs to {profile.handle}"
            return None, [_finding("account_profile_changed", message)]
        return profile, []

    async def _verify(self, account: Account, credentials: Credentials) -> Profile:
        adapter = self.kit.platform(account.platform)
        if adapter.needs_refresh(credentials, utc_now()):
            credentials = await self._renewed(account, credentials)
        try:
            return await adapter.verify(credentials)
        except CredentialsRejectedError as exc:
            if not exc.session_only:
                raise
        return await adapter.verify(await self._renewed(account, credentials))

    async def _renewed(self, account: Account, credentials: Credentials) -> Credentials:
        return await sign_ins.require(self.open_uow, self.kit, account.id, instead_of=credentials)


def _finding(code: str, message: str) -> Finding:
    return Finding(code=code, message=message)
