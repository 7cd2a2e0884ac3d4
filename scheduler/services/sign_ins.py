"""Sign-ins renewed before they end: one worker at a time, sealed before use, and never over a newer one.

A refresh token may be good for one use only. So a renewal is taken in hand under a lease in the database before the
platform is asked, and its result is stored by comparing the generation of the session that it started from.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import structlog

from adapters.base import Credentials
from adapters.errors import (
    AdapterError,
    CredentialsRejectedError,
    RateLimitedError,
    UnavailableError,
)
from scheduler.audit.actions import Action
from scheduler.clock import iso, monotonic_s
from scheduler.db import accounts as rows
from scheduler.db import sign_ins
from scheduler.db.tables import Account, SealedToken
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWork, UnitOfWorkFactory
from scheduler.domain.people import Actor, Permission
from scheduler.ids import new_id
from scheduler.services import accounts, secrets
from scheduler.services.kit import Kit

log = structlog.get_logger()

#: How long before its end a session is renewed, so that no delivery has to.
AHEAD: Final = timedelta(minutes=30)
#: A session younger than this is not renewed for its age: some servers give short ones.
_YOUNG: Final = timedelta(minutes=4)
_ANSWER_S: Final = 30.0
#: Longer than an answer may take, so that a lease ends only with its worker.
LEASE: Final = timedelta(seconds=60)
_FIRST_REST: Final = timedelta(minutes=1)
_LONGEST_REST: Final = timedelta(minutes=30)
_POLL_S: Final = 0.3
#: How long, and how often, a new session is offered to a database that is away.
_KEEP_FOR: Final = timedelta(minutes=10)
_KEEP_AGAIN_S: Final = 1.0
#: How long somebody who needs the session waits for another's renewal.
_PATIENCE: Final = timedelta(seconds=10)
#: Days before the known end of a sign-in at which somebody is told.
WARNINGS: Final = (1, 7, 14)


class End(StrEnum):
    RENEWED = "renewed"
    CURRENT = "current"  #: nothing to do, or somebody else has renewed it
    BUSY = "busy"  #: somebody else renews it now, or it rests after a failure
    REFUSED = "refused"  #: the platform refuses the sign-in: the account is paused
    FAILED = "failed"  #: no useful answer: the next try comes later


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """How a renewal ended; `credentials` are those that stand sealed now, where there are good ones."""

    end: End
    credentials: Credentials | None = None
    error: AdapterError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    account_id: UUID
    platform: str
    credentials: Credentials
    generation: int  #: of the session that it starts from
    owner: str
    tries: int


async def renew(
    open_uow: UnitOfWorkFactory,
    kit: Kit,
    account_id: UUID,
    *,
    instead_of: Credentials | None = None,
    wait: timedelta = timedelta(0),
) -> Renewal:
    """Renew a sign-in that ends soon, or whose session was refused (`instead_of`), once over all workers.

    While another worker renews it, wait as long as `wait` for what it brings.

    Raises:
        TokenUnavailableError: what is sealed cannot be opened.
    """
    deadline_s = monotonic_s() + wait.total_seconds()
    while True:
        async with open_uow() as uow:
            begun = await _begin(uow, kit, account_id, instead_of)
        if isinstance(begun, _Task):
            return await _finish(_renew(open_uow, kit, begun))
        if begun.end is not End.BUSY or monotonic_s() >= deadline_s:
            return begun
        await asyncio.sleep(_POLL_S)


async def require(
    open_uow: UnitOfWorkFactory, kit: Kit, account_id: UUID, *, instead_of: Credentials
) -> Credentials:
    """The credentials in place of those whose session is over, renewed here or by whoever is at it.

    Raises:
        AdapterError: as the platform refused, or it takes somebody else too long.
    """
    renewal = await renew(open_uow, kit, account_id, instead_of=instead_of, wait=_PATIENCE)
    if renewal.credentials is not None:
        return renewal.credentials
    raise renewal.error or UnavailableError(
        "the sign-in is being renewed by another worker", code="renewal_busy"
    )


async def _begin(
    uow: UnitOfWork, kit: Kit, account_id: UUID, instead_of: Credentials | None
) -> _Task | Renewal:
    account = await uow.session.get_one(Account, account_id)
    row = await sign_ins.lock(uow, account_id)
    credentials = await secrets.open_credentials(uow, kit, account)
    sealed = await _find_session(uow, account_id)
    is_due = _is_refused(credentials, instead_of) or (
        instead_of is None and _ends_soon(uow, kit, account, credentials, sealed)
    )
    if not is_due or account.state == "removed" or (account.state == "paused" and not instead_of):
        return Renewal(end=End.CURRENT, credentials=credentials)
    rests = instead_of is None and _is_after(row.retry_at, uow.now)  # a send paces its own tries
    if rests or _is_after(row.lease_until, uow.now):
        return Renewal(end=End.BUSY)
    row.lease_owner, row.lease_until = new_id().hex, uow.now + LEASE
    return _Task(
        account_id=account_id,
        platform=account.platform,
        credentials=credentials,
        generation=_generation(sealed),
        owner=row.lease_owner,
        tries=row.tries,
    )


async def _finish(renewing: Coroutine[None, None, Renewal]) -> Renewal:
    """Whoever asked may be cancelled, but a session that the platform has given must not be lost."""
    running = asyncio.ensure_future(renewing)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


async def _renew(open_uow: UnitOfWorkFactory, kit: Kit, task: _Task) -> Renewal:
    """Ask the platform, outside of any transaction, and keep what it answers."""
    try:
        fresh = await _ask(kit, task)
    except AdapterError as exc:
        error = exc
    except TimeoutError:
        error = UnavailableError("no answer within the time-out", code="timeout")
    except Exception as exc:  # nothing is known of the sign-in: it is tried again
        log.exception("renewal.failed")
        error = UnavailableError(f"broke off: {type(exc).__name__}", code="internal_error")
    else:
        return await _keep_safely(open_uow, kit, task, fresh)
    async with open_uow() as uow:
        return await _give_up(uow, kit, task, error)


async def _keep_safely(
    open_uow: UnitOfWorkFactory, kit: Kit, task: _Task, fresh: Credentials
) -> Renewal:
    """Keep it as soon as the database answers: the platform may not take the old one again."""
    give_up_s = monotonic_s() + _KEEP_FOR.total_seconds()
    while True:
        try:
            async with open_uow() as uow:
                return await _keep(uow, kit, task, fresh)
        except DatabaseUnavailableError as exc:
            if monotonic_s() > give_up_s:
                raise
            log.warning("renewal.postponed", account=str(task.account_id), why=str(exc))
        await asyncio.sleep(_KEEP_AGAIN_S)


async def _ask(kit: Kit, task: _Task) -> Credentials:
    async with asyncio.timeout(_ANSWER_S):
        fresh = await kit.platform(task.platform).refresh(task.credentials)
    if not fresh.session:
        raise UnavailableError("the platform gave no session", code="session_empty")
    return fresh


async def _keep(uow: UnitOfWork, kit: Kit, task: _Task, fresh: Credentials) -> Renewal:
    """Seal the new session, unless a newer one stands there by now."""
    account = await _lock_account(uow, task.account_id)
    sealed = await _find_session(uow, account.id)
    await sign_ins.give_back(uow, account.id, owner=task.owner, tries=0, retry_at=None)
    if account.state == "removed" or _generation(sealed) != task.generation:
        return await _stands(uow, kit, account)
    await secrets.seal(uow, kit, account, "session", str(fresh.session), actor=None)
    return Renewal(end=End.RENEWED, credentials=fresh)


async def _give_up(uow: UnitOfWork, kit: Kit, task: _Task, error: AdapterError) -> Renewal:
    """Pause the account when its sign-in was refused; else leave it alone for a while."""
    account = await _lock_account(uow, task.account_id)
    refused = isinstance(error, CredentialsRejectedError)
    rest = min(_FIRST_REST * 2 ** min(task.tries, 10), _LONGEST_REST)
    if isinstance(error, RateLimitedError):
        rest = error.retry_after
    await sign_ins.give_back(
        uow,
        account.id,
        owner=task.owner,
        tries=0 if refused else task.tries + 1,
        retry_at=None if refused else uow.now + rest,
    )
    if _generation(await _find_session(uow, account.id)) != task.generation:
        return await _stands(uow, kit, account)
    if refused:
        await accounts.pause_refused(uow, account, f"sign-in refused: {error}")
        return Renewal(end=End.REFUSED, error=error)
    return Renewal(end=End.FAILED, error=error)


async def _stands(uow: UnitOfWork, kit: Kit, account: Account) -> Renewal:
    """What somebody else has sealed meanwhile is what counts."""
    if account.state == "removed":
        return Renewal(end=End.CURRENT)
    credentials = await secrets.open_credentials(uow, kit, account)
    return Renewal(end=End.CURRENT, credentials=credentials)


def ends_soon(kit: Kit, platform: str, credentials: Credentials, now: datetime) -> bool:
    return kit.platform(platform).needs_refresh(credentials, now + AHEAD)


def _ends_soon(
    uow: UnitOfWork,
    kit: Kit,
    account: Account,
    credentials: Credentials,
    sealed: SealedToken | None,
) -> bool:
    is_young = sealed is not None and sealed.updated_at > uow.now - _YOUNG
    return not is_young and ends_soon(kit, account.platform, credentials, uow.now)


def _is_refused(credentials: Credentials, instead_of: Credentials | None) -> bool:
    return instead_of is not None and credentials.session == instead_of.session


def _is_after(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment > now


def _generation(sealed: SealedToken | None) -> int:
    return 0 if sealed is None else sealed.generation


async def _find_session(uow: UnitOfWork, account_id: UUID) -> SealedToken | None:
    """Only read: whoever changes it has locked the account, which comes before its sign-in and its secrets."""
    found = (await rows.find_all_sealed(uow, [account_id]))[account_id]
    return next((token for token, _ in found if token.kind == "session"), None)


async def _lock_account(uow: UnitOfWork, account_id: UUID) -> Account:
    account: Account = await uow.session.get_one(
        Account, account_id, with_for_update=True, populate_existing=True
    )
    return account


async def set_end(
    uow: UnitOfWork, actor: Actor, account_id: UUID, ends_at: datetime | None
) -> Account:
    """Keep when a token ends for good, as its platform told the person; None: it does not, or nobody knows."""
    account = await rows.get(uow, actor, account_id, needs=Permission.MANAGE)
    await sign_ins.set_end(uow, account.id, ends_at)
    uow.record(
        Action.ACCOUNT_EXPIRY,
        {"t": "account", "id": str(account.id)},
        actor=actor,
        detail={"ends": None if ends_at is None else iso(ends_at)},
    )
    return account


async def find_unwarned(uow: UnitOfWork) -> tuple[tuple[UUID, int], ...]:
    """Accounts whose sign-in ends within some days, of which nobody has been told yet, with that number."""
    ending = await sign_ins.find_ending(uow, uow.now + timedelta(days=max(WARNINGS)))
    found = []
    for row, account in ending:
        left = (row.ends_at or uow.now) - uow.now
        days = min(each for each in WARNINGS if left <= timedelta(days=each))
        if row.warned_days is None or days < row.warned_days:
            found.append((account.id, days))
    return tuple(found)


async def warn(uow: UnitOfWork, account_id: UUID, days: int) -> None:
    """Put on record, once over all workers, that a sign-in ends within so many days."""
    if not await sign_ins.note_warning(uow, account_id, days):
        return
    [(_, ends_at)] = (await sign_ins.find_ends(uow, [account_id])).items()
    uow.record(
        Action.ACCOUNT_EXPIRING,
        {"t": "account", "id": str(account_id)},
        detail={"days": days, "ends": iso(ends_at)},
    )
