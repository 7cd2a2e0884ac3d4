"""Accounts on platforms, connected with a token that nobody sees again."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field, SecretStr, StringConstraints

from scheduler.db import accounts as rows
from scheduler.db import sign_ins as sign_in_rows
from scheduler.db.tables import Account
from scheduler.db.uow import UnitOfWork
from scheduler.domain.pace import MOST_SPACING
from scheduler.domain.people import Permission
from scheduler.errors import NotFoundError
from scheduler.services import accounts, directory, sign_ins
from scheduler.services.accounts import (
    AccountStateError,
    AccountTakenError,
    NewAccount,
    PlatformUnavailableError,
    ProfileChangedError,
    ServerAddressError,
    SignInRefusedError,
)
from scheduler.services.kit import UnknownPlatformError
from scheduler.vault.envelope import TokenUnavailableError
from scheduler.web.api.fields import Code, Instant, Language, Note
from scheduler.web.api.persons import NoBody
from scheduler.web.paging import Page, Paging, page_of
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Errand, Route, Step, Unit, delete, get, post


class AccountBody(Input):
    code: Code
    mission: Code
    platform: Annotated[str, StringConstraints(pattern=r"^[a-z]+$", max_length=40)]
    base_url: Annotated[str, StringConstraints(pattern=r"^https?://[!-~]{1,250}$")]
    identifier: Annotated[str, StringConstraints(pattern=r"^[!-~]{0,250}$")] = ""
    language: Language
    secret: Annotated[SecretStr, Field(min_length=1, max_length=2000)]


class ReasonBody(Input):
    reason: Note


class ExpiryBody(Input):
    """When the token ends for good, as its platform says; null: it does not, or nobody knows."""

    ends_at: Instant | None


class SpacingBody(Input):
    seconds: Annotated[int, Field(ge=0, le=int(MOST_SPACING.total_seconds()))]


class AccountAnswer(Answer):
    id: UUID
    code: str
    mission: str
    platform: str
    base_url: str
    external_id: str
    handle: str
    display_name: str
    url: str
    software: str
    language: str
    limits: dict[str, int]
    spacing_s: int  #: between two posts; 0: none
    state: Literal["active", "paused", "removed"]
    state_reason: str
    created_at: datetime
    checked_at: datetime
    sign_in_ends_at: datetime | None  #: where it is known; somebody is told 14, 7 and 1 days before


async def list_accounts(step: Step, query: Paging) -> Page[AccountAnswer]:
    """The accounts in sight, by mission and code."""
    found = await rows.find_all(step.uow, step.actor)
    shown, cursor = page_of(found, query, lambda pair: pair[0].id)
    ends = await sign_in_rows.find_ends(step.uow, [account.id for account, _ in shown])
    return Page(
        items=[_answer(account, mission.code, ends.get(account.id)) for account, mission in shown],
        next=cursor,
    )


async def connect_account(errand: Errand, body: AccountBody) -> AccountAnswer:
    """Ask the platform whose token it is, and keep it sealed."""
    new = NewAccount(
        code=body.code,
        mission=body.mission,
        platform=body.platform,
        base_url=body.base_url,
        identifier=body.identifier,
        language=body.language,
        secret=body.secret.get_secret_value(),
    )
    app = errand.app
    account = await accounts.connect(app.open_uow, app.kit, errand.actor, new)
    return await _answer_now(errand, account)


async def show_account(step: Step) -> AccountAnswer:
    """One account."""
    account = await rows.get(step.uow, step.actor, step.uuid("account_id"), needs=Permission.READ)
    return await _with_mission(step.uow, account)


async def check_account(errand: Errand, body: NoBody) -> AccountAnswer:  # noqa: ARG001 - an empty body is checked
    """Sign in again and read what the server says about itself; a refused account is paused."""
    app, account_id = errand.app, errand.uuid("account_id")
    account = await accounts.check(app.open_uow, app.kit, errand.actor, account_id)
    return await _answer_now(errand, account)


async def pause_account(step: Step, body: ReasonBody) -> AccountAnswer:
    """Take an account out of service: what is due waits, and is held when it is late."""
    account_id = step.uuid("account_id")
    account = await accounts.pause(step.uow, step.actor, account_id, reason=body.reason)
    return await _with_mission(step.uow, account)


async def resume_account(step: Step, body: ReasonBody) -> AccountAnswer:
    """Put a paused account back into service."""
    account_id = step.uuid("account_id")
    account = await accounts.resume(step.uow, step.actor, account_id, reason=body.reason)
    return await _with_mission(step.uow, account)


async def set_expiry(step: Step, body: ExpiryBody) -> AccountAnswer:
    """Tell when the account's token ends for good, so that somebody is warned in time."""
    account_id = step.uuid("account_id")
    account = await sign_ins.set_end(step.uow, step.actor, account_id, body.ends_at)
    return await _with_mission(step.uow, account)


async def set_spacing(step: Step, body: SpacingBody) -> AccountAnswer:
    """Keep a distance between the account's posts; a consular alert does not wait for it."""
    account_id = step.uuid("account_id")
    account = await accounts.set_spacing(step.uow, step.actor, account_id, seconds=body.seconds)
    return await _with_mission(step.uow, account)


async def remove_account(step: Step, body: ReasonBody) -> None:
    """Disconnect for good: its keys are destroyed, its past stays on record."""
    await accounts.remove(step.uow, step.actor, step.uuid("account_id"), reason=body.reason)


async def _answer_now(errand: Errand, account: Account) -> AccountAnswer:
    async with errand.app.open_uow.read() as uow:
        return await _with_mission(uow, account)


async def _with_mission(uow: UnitOfWork, account: Account) -> AccountAnswer:
    names = await directory.find_names(uow, mission_ids=[account.mission_id])
    ends = await sign_in_rows.find_ends(uow, [account.id])
    return _answer(account, names.missions[account.mission_id], ends.get(account.id))


def _answer(account: Account, mission: str, ends_at: datetime | None) -> AccountAnswer:
    fields = AccountAnswer.model_fields.keys() - {"mission", "sign_in_ends_at"}
    return AccountAnswer(
        mission=mission,
        sign_in_ends_at=ends_at,
        **{name: getattr(account, name) for name in fields},
    )


_NEEDS: Final = "manage, at the account's mission"
_PLATFORM_ERRORS: Final = (NotFoundError, SignInRefusedError, PlatformUnavailableError)
ROUTES: Final[tuple[Route, ...]] = (
    get("/accounts", list_accounts),
    post(
        "/accounts",
        connect_account,
        _NEEDS,
        unit=Unit.OWN,
        status=201,
        errors=(*_PLATFORM_ERRORS, UnknownPlatformError, ServerAddressError, AccountTakenError),
    ),
    get("/accounts/{account_id}", show_account, errors=(NotFoundError,)),
    post(
        "/accounts/{account_id}/check",
        check_account,
        _NEEDS,
        unit=Unit.OWN,
        errors=(*_PLATFORM_ERRORS, ProfileChangedError, TokenUnavailableError),
    ),
    post(
        "/accounts/{account_id}/pause",
        pause_account,
        _NEEDS,
        errors=(NotFoundError, AccountStateError),
    ),
    post(
        "/accounts/{account_id}/resume",
        resume_account,
        _NEEDS,
        errors=(NotFoundError, AccountStateError),
    ),
    post("/accounts/{account_id}/expiry", set_expiry, _NEEDS, errors=(NotFoundError,)),
    post("/accounts/{account_id}/spacing", set_spacing, _NEEDS, errors=(NotFoundError,)),
    delete("/accounts/{account_id}", remove_account, _NEEDS, errors=(NotFoundError,)),
)
