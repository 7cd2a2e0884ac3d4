"""Posts from a list: each row is tried like a draft, reported on, and written once however often it comes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from scheduler.audit.actions import Action
from scheduler.db import missions, posts, rules
from scheduler.db.posts import PostParts
from scheduler.db.tables import Mission
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission
from scheduler.errors import ChanceryError, ConflictError, ForbiddenError, NotFoundError
from scheduler.policy.bundle import open_policy
from scheduler.policy.evaluation import Finding
from scheduler.services import judging, writing
from scheduler.services.inspection import Flaw, find_flaws
from scheduler.services.kit import Kit
from scheduler.services.writing import Writable, Writing


class RefRepeatedError(ConflictError):
    """Two rows of one mission have one name: only one of them can become a post."""

    code = "ref_repeated"


class Fate(StrEnum):
    """What became of a row, or would if it were not only tried."""

    DRAFTED = "drafted"
    THERE = "there"  #: it was imported before; nothing was done, whatever it says now
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    ref: str  #: what the list calls it; one post of the mission
    mission: str
    writing: Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A row with what is wrong with it; a drafted one may be incomplete, and a policy may block it."""

    ref: str
    fate: Fate
    post_id: UUID | None = None  #: None: refused, or only tried
    refusal: ChanceryError | None = None
    flaws: tuple[Flaw, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the rows of one request name, looked up once."""

    missions: Mapping[str, Mission]  #: by code, those in sight
    accounts: Writable
    there: Mapping[tuple[UUID, str], UUID]  #: posts by mission and ref

    def find(self, row: Row) -> UUID | None:
        """The post that the row has become before."""
        mission = self.missions.get(row.mission)
        return None if mission is None else self.there.get((mission.id, row.ref))


async def bring_in(
    uow: UnitOfWork, kit: Kit, actor: Actor, rows: Sequence[Row], *, only_try: bool
) -> list[Brought]:
    """Draft every row that can be one, in the rows' order; the importer is the author of all.

    A refused row keeps no other back: who wants all or nothing tries first.
    """
    known = await _look_up(uow, actor, rows)
    policy = open_policy((await rules.get_policy(uow)).body)
    brought: list[Brought] = []
    drafts: dict[tuple[UUID, str], PostParts] = {}
    for row in rows:
        if (there := known.find(row)) is not None:
            brought.append(Brought(ref=row.ref, fate=Fate.THERE, post_id=there))
            continue
        try:
            parts = await _compose(uow, actor, row, known, drafts)
        except ChanceryError as exc:
            brought.append(_refuse(uow, actor, row, exc))
            continue
        drafts[parts.post.mission_id, row.ref] = parts
        _, flaws = await find_flaws(uow, kit, parts)
        findings = judging.judge(policy, parts, uow.now).findings
        brought.append(
            Brought(
                ref=row.ref,
                fate=Fate.DRAFTED,
                post_id=None if only_try else parts.post.id,
                flaws=tuple(flaws),
                findings=findings,
            )
        )
    if not only_try:
        await writing.add_all(uow, actor, list(drafts.values()))
    return brought


def _refuse(uow: UnitOfWork, actor: Actor, row: Row, exc: ChanceryError) -> Brought:
    """Who tries what they may not is put on record, as with a single draft."""
    if isinstance(exc, ForbiddenError):
        uow.record(
            Action.ACCESS_DENIED,
            {"t": "person", "id": str(actor.person_id)},
            actor=actor,
            detail={"code": exc.code, "tried": f"import to {row.mission}"},
            refused=True,
        )
    return Brought(ref=row.ref, fate=Fate.REFUSED, refusal=exc)


async def _look_up(uow: UnitOfWork, actor: Actor, rows: Sequence[Row]) -> _Known:
    codes = {row.mission for row in rows}
    seen = {each.code: each for each in await missions.find_all(uow, actor) if each.code in codes}
    ids, refs = [each.id for each in seen.values()], [row.ref for row in rows]
    return _Known(
        missions=seen,
        accounts=await writing.find_writable(uow, actor, set(_accounts(rows))),
        there=await posts.find_imported(uow, ids, refs),
    )


def _accounts(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        yield from row.writing.targets or ()
        yield from row.writing.variants or ()


async def _compose(
    uow: UnitOfWork,
    actor: Actor,
    row: Row,
    known: _Known,
    drafts: Mapping[tuple[UUID, str], PostParts],
) -> PostParts:
    mission = known.missions.get(row.mission)
    if mission is None:
        raise NotFoundError(f"no mission {row.mission}")
    actor.require(Permission.WRITE, mission.path, now=uow.now)
    if (mission.id, row.ref) in drafts:
        raise RefRepeatedError(f"an earlier row of {row.mission} is called {row.ref} as well")
    parts = await writing.compose(uow, actor, mission, row.writing, known.accounts)
    parts.post.import_ref = row.ref
    return parts
