"""Accounts on platforms, connected with a token that nobody sees again."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field, SecretStr, StringConstraints

from scheduler.db import accounts as rows
from scheduler.db.tables import Account
from scheduler.domain.people import Permission
from scheduler.errors import NotFoundError
from scheduler.services import accounts, directory
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
from scheduler.web.api.fields import Code, Language, Note
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
    state: Literal["active", "paused", "removed"]
    state_reason: str
    created_at: datetime
    checked_at: datetime


async def list_accounts(step: Step, query: Paging) -> Page[AccountAnswer]:
    """The accounts in sight, by mission and code."""
    found = await rows.find_all(step.uow, step.actor)
    shown, cursor = page_of(found, query, lambda pair: pair[0].id)
    return Page(items=[_answer(account, mission.code) for account, mission in shown], next=cursor)


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
    return _answer(account, body.mission)


async def show_account(step: Step) -> AccountAnswer:
    """One account."""
    account = await rows.get(step.uow, step.actor, step.uuid("account_id"), needs=Permission.READ)
    return await _with_mission(step, account)


async def check_account(errand: Errand, body: NoBody) -> AccountAnswer:  # noqa: ARG001 - an empty body is checked
    """Sign in again and read what the server says about itself; a refused account is paused."""
    app, account_id = errand.app, errand.uuid("account_id")
    account = await accounts.check(app.open_uow, app.kit, errand.actor, account_id)
    async with app.open_uow.read() as uow:
        names = await directory.find_names(uow, mission_ids=[account.mission_id])
    return _answer(account, names.missions[account.mission_id])


async def pause_account(step: Step, body: ReasonBody) -> AccountAnswer:
    """Take an account out of service: what is due waits, and is held when it is late."""
    account_id = step.uuid("account_id")
    account = await accounts.pause(step.uow, step.actor, account_id, reason=body.reason)
    return await _with_mission(step, account)


async def resume_account(step: Step, body: ReasonBody) -> AccountAnswer:
    """Put a paused account back into service."""
    account_id = step.uuid("account_id")
    account = await accounts.resume(step.uow, step.actor, account_id, reason=body.reason)
    return await _with_mission(step, account)


async def remove_account(step: Step, body: ReasonBody) -> None:
    """Disconnect for good: its keys are destroyed, its past stays on record."""
    await accounts.remove(step.uow, step.actor, step.uuid("account_id"), reason=body.reason)


async def _with_mission(step: Step, account: Account) -> AccountAnswer:
    names = await directory.find_names(step.uow, mission_ids=[account.mission_id])
    return _answer(account, names.missions[account.mission_id])


def _answer(account: Account, mission: str) -> AccountAnswer:
    fields = AccountAnswer.model_fields.keys() - {"mission"}
    return AccountAnswer(mission=mission, **{name: getattr(account, name) for name in fields})


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
    delete("/accounts/{account_id}", remove_account, _NEEDS, errors=(NotFoundError,)),
)
