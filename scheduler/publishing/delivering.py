"""Deliveries from claim to record: the only place that calls `publish`."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.exc import IntegrityError

from adapters.base import Adapter, Credentials, Json, Slots, fill
from adapters.errors import AdapterError, OutcomeUnknownError, UnavailableError
from scheduler.clock import monotonic_s, utc_now
from scheduler.db.posts import StaleStateError
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWorkFactory
from scheduler.media.errors import MediaCorruptError, MediaMissingError
from scheduler.publishing.group import GATHER_S, GroupCommit
from scheduler.publishing.pace import sleep_until
from scheduler.services import holds, outcomes, publishing, sign_ins
from scheduler.services.holds import Claimed
from scheduler.services.kit import Kit
from scheduler.services.outcomes import Outcome
from scheduler.services.publishing import Intent, Refusal, Work
from scheduler.services.release import Obstacle
from scheduler.vault.envelope import TokenUnavailableError

log = structlog.get_logger()

#: How much longer than its own time-out a publish call may take before its answer no longer counts.
_ANSWER_GRACE: Final = timedelta(seconds=2)
_RECORD_RETRY_S: Final = 0.5
#: How often a claim is renewed during an upload; several times within a lease.
_EXTEND_S: Final = 15


@dataclass(slots=True)
class Courier:
    """Carries claimed deliveries to their platforms, any number at a time; their transactions are shared."""

    open_uow: UnitOfWorkFactory
    kit: Kit
    stopping: asyncio.Event
    _prepare: GroupCommit[Claimed, Work | Refusal] = field(init=False)
    _intend: GroupCommit[tuple[Work, bytes], Intent | Refusal] = field(init=False)
    _settle: GroupCommit[tuple[Intent, Outcome], bool] = field(init=False)

    def __post_init__(self) -> None:
        kit = self.kit
        self._prepare = GroupCommit(
            self.open_uow, lambda uow, each: publishing.prepare(uow, kit, each)
        )
        self._intend = GroupCommit(
            self.open_uow, lambda uow, each: publishing.intend(uow, kit, each)
        )
        self._settle = GroupCommit(
            self.open_uow, lambda uow, each: outcomes.record(uow, kit, each), GATHER_S
        )

    async def deliver(self, claimed: Claimed) -> None:
        """Publish the parts of a delivery one after the other, as far as they may leave now."""
        more = True
        while more:
            try:
                intent = await self._reach_intent(claimed)
            except (StaleStateError, DatabaseUnavailableError):
                raise
            except (
                Exception
            ) as exc:  # nothing has left: a person looks, instead of another try without end
                log.exception("prepare.failed")
                broken = Obstacle(code="internal_error", message=f"broke off: {type(exc).__name__}")
                async with self.open_uow() as uow:
                    await outcomes.record_unprepared(uow, claimed, broken)
                return
            if intent is None:
                return
            more = await self._record(intent, await self._send(intent))

    async def _reach_intent(self, claimed: Claimed) -> Intent | None:
        """Prepare, wait for the instant, and commit to sending; None when it must not leave now."""
        ready = await self._make_ready(claimed)
        if ready is None:
            return None
        if not await sleep_until(claimed.due_at_s, self.stopping):
            await self._give_back(claimed)
            return None
        try:
            intent = await self._intend(ready)
        except IntegrityError:  # another delivery of the account is being sent: wait for it
            await self._give_back(claimed)
            return None
        if isinstance(intent, Intent):
            return intent
        await self._turn_away(claimed, intent)
        return None

    async def _make_ready(self, claimed: Claimed) -> tuple[Work, bytes] | None:
        """Everything that can be done before the instant and is not public: sign-in, uploads, filling."""
        try:
            work = await self._prepare(claimed)
            if not isinstance(work, Work):
                await self._turn_away(claimed, work)
                return None
            work = replace(work, credentials=await self._signed_in(work))
            receipts = await self._upload(work)
            return work, fill(work.payload.request, self._slots(work, receipts))
        except AdapterError as exc:
            error: AdapterError | Obstacle = exc
        except (MediaCorruptError, MediaMissingError, TokenUnavailableError) as exc:
            error = Obstacle(code=exc.code, message=str(exc))
        async with self.open_uow() as uow:
            await outcomes.record_unprepared(uow, claimed, error)
        return None

    async def _turn_away(self, claimed: Claimed, why: Refusal) -> None:
        async with self.open_uow() as uow:
            await holds.turn_away(uow, claimed, why)

    async def _give_back(self, claimed: Claimed) -> None:
        async with self.open_uow() as uow:
            await holds.unclaim(uow, claimed)

    async def _signed_in(self, work: Work) -> Credentials:
        adapter = self._adapter(work)
        if not work.must_refresh and not adapter.needs_refresh(work.credentials, utc_now()):
            return work.credentials
        return await sign_ins.require(
            self.open_uow, self.kit, work.claimed.account_id, instead_of=work.credentials
        )

    async def _upload(self, work: Work) -> dict[str, Json]:
        adapter = self._adapter(work)
        receipts = dict(work.media_receipts)
        for media in work.payload.media:
            if media.sha256 in receipts:
                continue
            data = await asyncio.to_thread(self.kit.media.read, media.sha256)
            receipt = await self._while_alive(
                work.claimed, adapter.upload(work.credentials, media, data)
            )
            async with self.open_uow() as uow:
                await publishing.save_media(uow, self.kit, work.claimed, media, receipt)
            receipts[media.sha256] = receipt
        return receipts

    async def _while_alive(self, claimed: Claimed, upload: Awaitable[Json]) -> Json:
        """Wait for an upload and keep the claim meanwhile; a dead worker's claim ends within a lease."""
        uploading = asyncio.ensure_future(upload)
        try:
            while not (await asyncio.wait({uploading}, timeout=_EXTEND_S))[0]:
                async with self.open_uow() as uow:
                    await publishing.extend(uow, claimed)
            return await uploading
        finally:
            uploading.cancel()

    async def _send(self, intent: Intent) -> Outcome:
        """The one call that makes something public; it is never repeated here."""
        work, adapter = intent.work, self._adapter(intent.work)
        if monotonic_s() > intent.send_before_s:
            return UnavailableError("this process slept past its lease", code="lease_short")
        limit = adapter.capabilities.publish_timeout + _ANSWER_GRACE
        try:
            async with asyncio.timeout(limit.total_seconds()):
                return await adapter.publish(work.credentials, intent.body, work.key)
        except AdapterError as exc:
            return exc
        except TimeoutError:
            return OutcomeUnknownError("no answer within the time-out", code="timeout")
        except Exception as exc:  # whatever broke, the bytes may have left
            log.exception("publish.failed")
            return OutcomeUnknownError(f"broke off: {type(exc).__name__}", code="internal_error")

    async def _record(self, intent: Intent, outcome: Outcome) -> bool:
        """Record while the lease lasts; after that the delivery is looked up instead."""
        while True:
            try:
                more = await self._settle((intent, outcome))
            except StaleStateError:
                async with self.open_uow() as uow:
                    await outcomes.keep_late_answer(uow, intent, outcome)
                raise
            except DatabaseUnavailableError as exc:
                if monotonic_s() + _RECORD_RETRY_S > intent.record_before_s:
                    raise
                log.warning("record.postponed", why=str(exc))
                await asyncio.sleep(_RECORD_RETRY_S)
            else:
                return more

    def _adapter(self, work: Work) -> Adapter:
        return self.kit.platform(work.platform)

    def _slots(self, work: Work, receipts: dict[str, Json]) -> Slots:
        return Slots(
            media=receipts,
            parent=work.parent,
            root=work.root,
            record_key=self._adapter(work).record_key(work.approved_for, work.key),
            created_at=work.created_at,
        )
