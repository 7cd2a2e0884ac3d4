"""Set and lift postures: each takes effect in the transaction that would record an intent to send."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject, sha256_hex
from scheduler.clock import iso
from scheduler.db import accounts, missions, postures, rules
from scheduler.db import campaigns as rows
from scheduler.db.postures import IN_FLIGHT, WAITING, Met
from scheduler.db.tables import Account, Campaign, Mission, Posture
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission, PermissionDeniedError, ScopeDeniedError
from scheduler.domain.posture import Restriction
from scheduler.domain.text import check_text
from scheduler.errors import ConflictError, InvalidError, NotFoundError
from scheduler.services import campaigns
from scheduler.services.scope import require_at_the_top


class AlreadyStoppedError(ConflictError):
    """The same is forbidden already, without an end."""

    code = "already_stopped"


class NotStoppedError(ConflictError):
    """No posture is in force or announced that you could lift."""

    code = "not_stopped"


class PostureAmbiguousError(ConflictError):
    """Several are in force or announced: name the one to lift."""

    code = "posture_ambiguous"


class SecondPersonError(ConflictError):
    """Who lifts it is not who set it; the proposal is on record, another person has to confirm."""

    code = "second_person_needed"


class ReasonMissingError(InvalidError):
    """The record needs to know why."""

    code = "reason_missing"


class PostureTimesError(InvalidError):
    """It would end before it begins, or is over already."""

    code = "posture_times"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPosture:
    """Everything it names must fit; what is empty holds for all."""

    kind: str = "stop"
    mission: str | None = None  #: its code: posts of it and below, and what goes to their accounts
    account: str | None = None  #: its code
    campaign: str | None = None  #: its code
    language: str | None = None
    allowed_classes: tuple[str, ...] = ()
    starts_at: datetime | None = None  #: None: at once
    ends_at: datetime | None = None  #: None: until it is lifted


EVERYTHING: Final = NewPosture()


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReceipt:
    posture: Posture
    caught: tuple[Met, ...]  #: will be held when they come due
    in_flight: tuple[Met, ...]  #: their intent was committed before: they may become public


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """Where it holds, and the mission from which it is set."""

    mission: Mission | None
    account: Account | None
    campaign: Campaign | None
    set_from: Mission


async def stop(
    uow: UnitOfWork, actor: Actor, *, reason: str, new: NewPosture = EVERYTHING
) -> StopReceipt:
    """Set a posture; of what it forbids, nothing whose intent is not committed yet will leave.

    Raises:
        AlreadyStoppedError: the same is in force without an end.
        PostureTimesError: it has no time to be in force.
    """
    require_reason(reason)
    scope = await _find_scope(uow, actor, new)
    await rules.enter_gate(uow, exclusive=True)
    posture = _build(uow, actor, reason, new, scope)
    path = None if scope.mission is None else scope.mission.path
    await _refuse_repeated(uow, rules.restriction_of(posture, path))
    uow.session.add(posture)
    restriction = rules.restriction_of(posture, path)
    receipt = StopReceipt(
        posture=posture,
        caught=_forbidden(restriction, await postures.find_met(uow, WAITING)),
        in_flight=_forbidden(restriction, await postures.find_met(uow, IN_FLIGHT)),
    )
    _record(uow, Action.POSTURE_STOP, posture, actor, _tell(receipt))
    return receipt


async def resume(
    uow: UnitOfWork, actor: Actor, *, reason: str, posture_id: UUID | None = None
) -> Posture:
    """Lift a posture, or propose it when the actor has set it; what was held stays held.

    Raises:
        NotStoppedError: there is none.
        PostureAmbiguousError: there are several, and none was named.
        SecondPersonError: the actor has set it and proposed its end before.
    """
    require_reason(reason)
    await rules.enter_gate(uow, exclusive=True)
    posture = await _find_one(uow, actor, posture_id)
    detail: JsonObject = {"kind": posture.kind, "reason": reason}
    if posture.started_by == actor.person_id:
        if posture.end_proposed_by is not None:
            raise SecondPersonError(
                "you have set it: another person who may stop here has to run `chancery resume`",
                posture=str(posture.id),
            )
        posture.end_proposed_by, posture.end_proposed_at = actor.person_id, uow.now
        _record(uow, Action.POSTURE_PROPOSE_RESUME, posture, actor, detail)
        return posture
    posture.ended_by, posture.ended_at = actor.person_id, uow.now
    _record(uow, Action.POSTURE_RESUME, posture, actor, detail)
    return posture


async def find_visible(uow: UnitOfWork, actor: Actor) -> Sequence[tuple[Posture, Restriction]]:
    """What is in force or announced and concerns the actor: everything that holds at or around their missions."""
    held = {each.id: each for each in await rules.load_postures(uow)}
    return [
        (posture, held[posture.id])
        for posture in await postures.find_open(uow)
        if _concerns(actor, await _find_path(uow, posture))
    ]


async def require_concern(uow: UnitOfWork, actor: Actor, posture: Posture) -> None:
    """For whom a posture does not concern, it does not exist."""
    if not _concerns(actor, await _find_path(uow, posture)):
        raise NotFoundError(f"no posture {posture.id}")


async def require_lifting(uow: UnitOfWork, actor: Actor, posture: Posture) -> None:
    """Refuse who may not lift it: a posture is lifted from where it was set, or above.

    Raises:
        NotFoundError: it does not concern the actor.
        ScopeDeniedError, PermissionDeniedError: not with this token, or not by this person.
    """
    await require_concern(uow, actor, posture)
    place = await _find_place(uow, posture)
    if actor.may(Permission.STOP, place.path, now=uow.now):
        return
    if Permission.STOP not in actor.scopes:
        raise ScopeDeniedError(f"this token does not carry the scope {Permission.STOP}")
    raise PermissionDeniedError(
        f"it was set from {place.code}: stop is not granted to you there", needs="stop"
    )


def require_reason(reason: str) -> None:
    """Refuse what would leave the record without its why."""
    if not reason.strip():
        raise ReasonMissingError("say why: the reason is kept in the record")
    check_text(reason, "reason")


async def _find_scope(uow: UnitOfWork, actor: Actor, new: NewPosture) -> _Scope:
    """Look up what is named; the permission is needed for mission and account, else for the campaign, else for all.

    For all it is needed at the headquarters; beside a mission or account, a campaign only narrows what is stopped.
    """
    mission = account = campaign = owner = None
    if new.mission is not None:
        mission = await missions.get_by_code(uow, actor, new.mission)
        actor.require(Permission.STOP, mission.path, now=uow.now)
    if new.account is not None:
        found = await accounts.find_by_codes(uow, [new.account])
        if not found:
            raise NotFoundError(f"no account {new.account}")
        [(seen, owner)] = found
        account = await accounts.get(uow, actor, seen.id, needs=Permission.STOP)
    place = mission or owner
    if new.campaign is not None:
        campaign, leading = await rows.get_by_code(uow, actor, new.campaign)
        if place is None:
            campaigns.require_at_owner(uow, actor, Permission.STOP, leading)
            place = leading
    if place is None:
        set_from = await require_at_the_top(uow, actor, Permission.STOP)
    else:
        set_from = await _find_highest(uow, actor, place)
    return _Scope(mission=mission, account=account, campaign=campaign, set_from=set_from)


async def _find_highest(uow: UnitOfWork, actor: Actor, place: Mission) -> Mission:
    """The mission nearest to the headquarters at which the actor holds the permission over `place`."""
    path = min(
        (path for path in actor.paths(Permission.STOP) if place.path.startswith(path)), key=len
    )
    return await missions.get_by_path(uow, path)


def _build(uow: UnitOfWork, actor: Actor, reason: str, new: NewPosture, scope: _Scope) -> Posture:
    starts_at = new.starts_at if new.starts_at is not None and new.starts_at > uow.now else None
    if new.ends_at is not None and new.ends_at <= (starts_at or uow.now):
        raise PostureTimesError("it has to end after it begins, and after now")
    return Posture(
        kind=new.kind,
        reason=reason,
        mission_id=None if scope.mission is None else scope.mission.id,
        account_id=None if scope.account is None else scope.account.id,
        campaign_id=None if scope.campaign is None else scope.campaign.id,
        language=new.language,
        allowed_classes=sorted(set(new.allowed_classes)),
        starts_at=starts_at,
        ends_at=new.ends_at,
        set_from_id=scope.set_from.id,
        started_by=actor.person_id,
        started_at=uow.now,
    )


async def _refuse_repeated(uow: UnitOfWork, new: Restriction) -> None:
    """Two stops of the same would both have to be lifted; one that only ends later is another."""
    for each in await rules.load_postures(uow):
        same = (
            each.kind == new.kind
            and each.mission_path == new.mission_path
            and each.account_id == new.account_id
            and each.campaign_id == new.campaign_id
            and each.language == new.language
            and each.allowed_classes == new.allowed_classes
        )
        if same and each.ends_at is None and each.is_in_force(uow.now):
            raise AlreadyStoppedError(
                f"the same is in force already: posture {each.id}", posture=str(each.id)
            )


def _forbidden(restriction: Restriction, met: Sequence[Met]) -> tuple[Met, ...]:
    return tuple(each for each in met if restriction.forbids(each.departure))


async def _find_one(uow: UnitOfWork, actor: Actor, posture_id: UUID | None) -> Posture:
    if posture_id is not None:
        posture = await postures.get(uow, posture_id)
        await require_lifting(uow, actor, posture)
        if is_over(posture, uow.now):
            raise NotStoppedError("it is over already")
        return posture
    if not actor.paths(Permission.STOP):
        await require_at_the_top(uow, actor, Permission.STOP)  # refuses
    visible = [posture for posture, _ in await find_visible(uow, actor)]
    mine = [
        each
        for each in visible
        if actor.may(Permission.STOP, (await _find_place(uow, each)).path, now=uow.now)
    ]
    if visible and not mine:
        await require_lifting(uow, actor, visible[0])  # refuses
    if not mine:
        raise NotStoppedError("nothing that concerns you is stopped")
    if len(mine) > 1:
        raise PostureAmbiguousError(
            "several are in force or announced: name one with --posture (see `chancery posture`)",
            postures=[str(each.id) for each in mine],
        )
    return mine[0]


def is_over(posture: Posture, now: datetime) -> bool:
    return posture.ended_at is not None or (posture.ends_at is not None and posture.ends_at <= now)


async def _find_place(uow: UnitOfWork, posture: Posture) -> Mission:
    """The mission from which it was set; a stop of earlier releases was set from the headquarters."""
    if posture.set_from_id is not None:
        return await uow.session.get_one(Mission, posture.set_from_id)
    root = await missions.find_root(uow)
    if root is None:
        raise NotFoundError("nothing is installed here yet; run `chancery init`")
    return root


async def _find_path(uow: UnitOfWork, posture: Posture) -> str | None:
    """The path of the mission it holds for, or of its account's or campaign's; None for all."""
    mission_id = posture.mission_id
    if mission_id is None and posture.account_id is not None:
        mission_id = (await uow.session.get_one(Account, posture.account_id)).mission_id
    if mission_id is None and posture.campaign_id is not None:
        mission_id = (await uow.session.get_one(Campaign, posture.campaign_id)).mission_id
    if mission_id is None:
        return None
    return (await uow.session.get_one(Mission, mission_id)).path


def _concerns(actor: Actor, path: str | None) -> bool:
    return path is None or any(
        path.startswith(grant.mission_path) or grant.mission_path.startswith(path)
        for grant in actor.grants
    )


def _tell(receipt: StopReceipt) -> JsonObject:
    posture = receipt.posture
    scope = {
        "mission": posture.mission_id,
        "account": posture.account_id,
        "campaign": posture.campaign_id,
    }
    times = {"from": posture.starts_at, "until": posture.ends_at}
    return {
        "kind": posture.kind,
        "reason": posture.reason,
        **{name: str(each) for name, each in scope.items() if each is not None},
        **({} if posture.language is None else {"language": posture.language}),
        **{name: iso(each) for name, each in times.items() if each is not None},
        "allowed_classes": list(posture.allowed_classes),
        "caught": len(receipt.caught),
        "caught_sha256": _digest(receipt.caught),
        "in_flight": len(receipt.in_flight),
        "in_flight_sha256": _digest(receipt.in_flight),
    }


def _digest(met: Sequence[Met]) -> str:
    """Over the ids in their order, a line each, so that a printed receipt can be checked."""
    return sha256_hex("\n".join(sorted(str(each.delivery_id) for each in met)).encode())


def _record(
    uow: UnitOfWork, action: Action, posture: Posture, actor: Actor, detail: JsonObject
) -> None:
    uow.record(action, {"t": "posture", "id": str(posture.id)}, actor=actor, detail=detail)
