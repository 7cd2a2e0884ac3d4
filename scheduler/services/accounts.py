"""Accounts: connect a profile on any server by its address, check it, pause, resume, remove it."""

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from adapters.base import Credentials, Profile
from adapters.errors import AdapterError, ContentRejectedError, CredentialsRejectedError
from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject
from scheduler.db import accounts, missions, rules, sign_ins
from scheduler.db.tables import Account
from scheduler.db.uow import UnitOfWork, UnitOfWorkFactory
from scheduler.domain.people import Actor, Permission
from scheduler.errors import ConflictError, InvalidError, UnavailableError
from scheduler.services import secrets
from scheduler.services.kit import Kit

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class AccountTakenError(ConflictError):
    """The profile, or the short name, is connected already."""

    code = "account_taken"


class SignInRefusedError(InvalidError):
    """The platform does not accept the token, password or server address."""

    code = "sign_in_refused"


class PlatformUnavailableError(UnavailableError):
    """The platform did not answer usefully, or its address may not be reached; nothing was changed."""

    code = "platform_unavailable"


class ServerAddressError(InvalidError):
    code = "server_address_invalid"


class AccountStateError(ConflictError):
    code = "account_state"


class ProfileChangedError(ConflictError):
    """The token belongs to another profile than the account was connected for."""

    code = "account_profile_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    code: str
    mission: str
    platform: str
    base_url: str
    identifier: str = ""  #: the login name, where the platform wants one
    language: str
    secret: str


async def connect(open_uow: UnitOfWorkFactory, kit: Kit, actor: Actor, new: NewAccount) -> Account:
    """Ask the platform who the token is, then store the account with the token sealed.

    Raises:
        SignInRefusedError: the platform refuses the token.
        PlatformUnavailableError: no useful answer, or an address that may not be reached.
        AccountTakenError: the profile or the short name is connected already.
    """
    kit.platform(new.platform)  # refuses an unknown one before anything else
    async with open_uow.read() as uow:
        mission = await missions.get_by_code(uow, actor, new.mission)
        actor.require(Permission.MANAGE, mission.path, now=uow.now)
    credentials = Credentials(
        base_url=_origin(new.base_url),
        external_id="",
        identifier=new.identifier,
        secret=new.secret,
        session=None,
    )
    credentials, profile = await _verified(kit, new.platform, credentials)
    try:
        async with open_uow() as uow:
            account = await _insert(uow, new, mission.id, profile, credentials, actor)
            await sign_ins.set_end(uow, account.id, profile.ends_at)
            await _store(uow, kit, account, credentials, actor=actor)
    except IntegrityError as exc:
        raise AccountTakenError(
            f"{profile.handle} or the name {new.code} is connected already"
        ) from exc
    return account


async def _insert(
    uow: UnitOfWork,
    new: NewAccount,
    mission_id: UUID,
    profile: Profile,
    credentials: Credentials,
    actor: Actor,
) -> Account:
    account = Account(
        mission_id=mission_id,
        code=new.code,
        platform=new.platform,
        base_url=credentials.base_url,
        identifier=new.identifier,
        external_id=profile.external_id,
        handle=profile.handle,
        display_name=profile.display_name,
        url=profile.url,
        software=profile.software,
        language=new.language,
        limits=dict(profile.limits),
        created_at=uow.now,
        checked_at=uow.now,
    )
    uow.session.add(account)
    await uow.session.flush()
    detail: JsonObject = {
        "platform": account.platform,
        "server": account.base_url,
        "external": account.external_id,
        "mission": str(mission_id),
    }
    uow.record(Action.ACCOUNT_ADD, _subject(account), actor=actor, detail=detail)
    return account


async def check(open_uow: UnitOfWorkFactory, kit: Kit, actor: Actor, account_id: UUID) -> Account:
    """Sign in again, refresh what the server says about itself, and take a refused account out of service."""
    async with open_uow.read() as uow:
        account = await accounts.get(uow, actor, account_id, needs=Permission.MANAGE)
        credentials = await secrets.open_credentials(uow, kit, account)
    try:
        credentials, profile = await _verified(kit, account.platform, credentials)
    except SignInRefusedError:
        async with open_uow() as uow:
            account = await accounts.get(uow, actor, account_id)
            if account.state == "active":
                await set_state(uow, account, "paused", "the platform refuses the sign-in", actor)
        raise
    async with open_uow() as uow:
        account = await accounts.get(uow, actor, account_id, needs=Permission.MANAGE)
        if profile.external_id != account.external_id:
            raise ProfileChangedError(
                f"the token now belongs to {profile.handle}; remove the account and connect it anew"
            )
        account.handle, account.display_name = profile.handle, profile.display_name
        account.limits, account.software = dict(profile.limits), profile.software
        account.checked_at = uow.now
        if profile.ends_at is not None:
            await sign_ins.set_end(uow, account.id, profile.ends_at)
        uow.record(Action.ACCOUNT_CHECK, _subject(account), actor=actor)
        await _store(uow, kit, account, credentials, actor=actor, only_session=True)
    return account


async def pause(uow: UnitOfWork, actor: Actor, account_id: UUID, *, reason: str) -> Account:
    """Take an account out of service: what is due waits, and is held when it is late."""
    await rules.enter_gate(uow, exclusive=True)
    account = await accounts.get(uow, actor, account_id, needs=Permission.MANAGE)
    if account.state != "active":
        raise AccountStateError(f"the account is {account.state}")
    await set_state(uow, account, "paused", reason, actor)
    return account


async def resume(uow: UnitOfWork, actor: Actor, account_id: UUID, *, reason: str) -> Account:
    account = await accounts.get(uow, actor, account_id, needs=Permission.MANAGE)
    if account.state != "paused":
        raise AccountStateError(f"the account is {account.state}, not paused")
    await set_state(uow, account, "active", reason, actor)
    return account


async def set_spacing(uow: UnitOfWork, actor: Actor, account_id: UUID, *, seconds: int) -> Account:
    """Keep so many seconds between the account's posts; 0: none."""
    account = await accounts.get(uow, actor, account_id, needs=Permission.MANAGE)
    account.spacing_s = seconds
    uow.record(Action.ACCOUNT_SPACING, _subject(account), actor=actor, detail={"seconds": seconds})
    return account


async def remove(uow: UnitOfWork, actor: Actor, account_id: UUID, *, reason: str) -> Account:
    """Disconnect for good: its keys are destroyed, its past stays on record."""
    await rules.enter_gate(uow, exclusive=True)
    account = await accounts.get(uow, actor, account_id, needs=Permission.MANAGE)
    await set_state(uow, account, "removed", reason, actor)
    account.code = f"{account.code}~{account.id.hex[:8]}"  # the short name is free again
    await secrets.shred(uow, account)
    return account


async def pause_refused(uow: UnitOfWork, account: Account, reason: str) -> None:
    """Take an account out of service unless somebody has changed its state meanwhile."""
    query = select(Account).where(col(Account.id) == account.id, col(Account.state) == "active")
    fresh = await uow.session.scalars(
        query.with_for_update().execution_options(populate_existing=True)
    )
    if (active := fresh.one_or_none()) is not None:
        await set_state(uow, active, "paused", reason, None)


async def set_state(
    uow: UnitOfWork, account: Account, state: str, reason: str, actor: Actor | None
) -> None:
    account.state, account.state_reason = state, reason
    verb = {"active": "resume", "paused": "pause", "removed": "remove"}[state]
    uow.record(Action(f"account.{verb}"), _subject(account), actor=actor, detail={"reason": reason})


async def _verified(
    kit: Kit, platform: str, credentials: Credentials
) -> tuple[Credentials, Profile]:
    adapter = kit.platform(platform)
    try:
        credentials = await adapter.refresh(credentials)
        profile = await adapter.verify(credentials)
    except (CredentialsRejectedError, ContentRejectedError) as exc:
        raise SignInRefusedError(f"the platform refuses this sign-in: {exc}") from exc
    except AdapterError as exc:
        raise PlatformUnavailableError(f"could not sign in: {exc}", reason=exc.code) from exc
    return replace(credentials, external_id=profile.external_id), profile


async def _store(
    uow: UnitOfWork,
    kit: Kit,
    account: Account,
    credentials: Credentials,
    *,
    actor: Actor | None,
    only_session: bool = False,
) -> None:
    if not only_session:
        await secrets.seal(uow, kit, account, "secret", credentials.secret, actor=actor)
    if credentials.session is not None:
        await secrets.seal(uow, kit, account, "session", credentials.session, actor=actor)


def _origin(url: str) -> str:
    """Scheme, host and port in one spelling: the same server is the same account.

    Raises:
        ServerAddressError: no such address, or one with a path, a query or a name in it.
    """
    parts = urlsplit(url.strip().rstrip("/"))
    try:
        port = parts.port
    except ValueError:
        port = -1
    plain = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or not plain or port == -1:
        raise ServerAddressError("give the server as https://social.karvenia.example")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def _subject(account: Account) -> dict[str, str]:
    return {"t": "account", "id": str(account.id)}
