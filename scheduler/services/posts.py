"""Posts from draft to review: write, edit, submit, withdraw, cancel, and set the time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject
from scheduler.clock import iso
from scheduler.db import accounts, deliveries, missions, posts
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account, Delivery, Mission, Post, PostEditor, PostText, Variant
from scheduler.db.uow import UnitOfWork
from scheduler.domain.calendar import Choice, parse_local, resolve
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState
from scheduler.domain.lateness import DEFAULT_LATE_MINUTES
from scheduler.domain.people import Actor, Permission
from scheduler.domain.post_flow import PostMove, PostState, plan
from scheduler.domain.text import check_text
from scheduler.errors import ConflictError, InvalidError
from scheduler.services import rendering
from scheduler.services.judging import find_findings, refuse_blocked
from scheduler.services.kit import Kit

_MOST_TARGETS: Final = 100
#: A person may still be typing when the minute passes; the late rule judges the rest.

_PAST_GRACE: Final = timedelta(seconds=60)


class TimePastError(InvalidError):
    code = "time_past"


class TimeMissingError(InvalidError):
    code = "time_missing"


class TargetsMissingError(InvalidError):
    code = "targets_missing"


class TargetsTooManyError(InvalidError):
    """One record of the log names them all, and its size is limited."""

    code = "targets_too_many"


class AccountUnknownError(InvalidError):
    """No such account, or one of a mission outside of the person's scope."""

    code = "account_unknown"


class DeliveryStartedError(ConflictError):
    """A delivery was claimed or tried: the post is no longer the officer's alone."""

    code = "delivery_started"


class RevisionStaleError(ConflictError):
    """Somebody changed the post since it was read."""

    code = "revision_stale"
    status = 412


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A wall time and zone as chosen by a person, or at once."""

    local: str | None  #: `2027-03-28T09:00`; None: as soon as it is approved
    zone: str | None = None  #: default: the mission's
    choice: Choice | None = None  #: which one, when the local time happens twice
    late_minutes: int = DEFAULT_LATE_MINUTES
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What an officer writes; `None` leaves a thing as it is in an edit."""

    title: str | None = None
    post_class: str | None = None
    texts: dict[str, list[dict[str, Any]]] | None = None  #: by language
    variants: dict[str, list[dict[str, Any]]] | None = None  #: by account code
    targets: tuple[str, ...] | None = None  #: account codes
    languages: dict[str, str] | None = None  #: by account code, where not the account's own
    when: When | None = None
    link_card: dict[str, str] | None = None
    schedule_on_approval: bool | None = None


async def draft(uow: UnitOfWork, actor: Actor, mission_code: str, writing: Writing) -> Post:
    mission = await missions.get_by_code(uow, actor, mission_code)
    actor.require(Permission.WRITE, mission.path, now=uow.now)
    post = Post(
        mission_id=mission.id,
        author_id=actor.person_id,
        post_class=writing.post_class or "routine",
        zone=mission.zone,
        late_minutes=DEFAULT_LATE_MINUTES,
        created_at=uow.now,
        updated_at=uow.now,
    )
    uow.session.add(post)
    await uow.session.flush()
    uow.session.add(PostEditor(post_id=post.id, person_id=actor.person_id))
    uow.record(
        Action.POST_DRAFT,
        {"t": "post", "id": str(post.id), "rev": post.revision},
        actor=actor,
        detail={"mission": str(mission.id), "class": post.post_class},
    )
    await _write(uow, actor, post, mission, writing)
    return post


async def edit(
    uow: UnitOfWork, actor: Actor, post_id: UUID, writing: Writing, *, revision: int
) -> Post:
    """Change a post that nobody has begun to publish; every earlier approval is void.

    Raises:
        RevisionStaleError: `revision` is not the one in the database.
        DeliveryStartedError: a worker has claimed or tried a delivery.
    """
    post = await posts.get(uow, actor, post_id, needs=Permission.WRITE)
    _require_revision(post, revision)
    plan(PostState(post.state), PostMove.EDIT)
    await _take_back_deliveries(uow, actor, post)
    await posts.move(
        uow,
        post,
        PostMove.EDIT,
        actor=actor,
        detail={"revision": post.revision + 1},
        revision=post.revision + 1,
        digest=None,
        policy=None,
    )
    await uow.session.refresh(post)
    await uow.session.merge(PostEditor(post_id=post.id, person_id=actor.person_id))
    mission = await uow.session.get_one(Mission, post.mission_id)
    await _write(uow, actor, post, mission, writing)
    return post


async def submit(uow: UnitOfWork, kit: Kit, actor: Actor, post_id: UUID, *, revision: int) -> Post:
    """Render every payload, check everything, and put the digest before the supervisors.

    Raises:
        TargetsMissingError, TimeMissingError, TimePastError: not ready to be published.
        ContentUnfitError: a target cannot carry it faithfully.
        PolicyBlockedError: the policy in force forbids it.
    """
    post = await posts.get(uow, actor, post_id, needs=Permission.WRITE)
    _require_revision(post, revision)
    plan(PostState(post.state), PostMove.SUBMIT)
    parts = await posts.load_parts(uow, post)
    if not parts.deliveries:
        raise TargetsMissingError("choose at least one account")
    require_future(post, uow.now)
    findings, version = await find_findings(uow, parts)
    refuse_blocked(findings)
    media = await rendering.load_media(uow, parts)
    targets = [account for _, account in parts.deliveries]
    rendering.refuse_unfit(rendering.find_unfit(kit, parts, targets, media))
    for delivery, account in parts.deliveries:
        delivery.payload = rendering.render(kit, parts, account, media)
        delivery.due_at = post.due_at
    post.policy = version.digest
    await uow.session.flush()
    statement = rendering.build_statement(parts, version.digest)
    await posts.move(
        uow,
        post,
        PostMove.SUBMIT,
        actor=actor,
        detail={"digest": statement.digest(), "statement": statement.as_json()},
        digest=statement.digest(),
    )
    return post


async def withdraw(uow: UnitOfWork, actor: Actor, post_id: UUID) -> Post:
    """Take a post back to draft before anything of it has left."""
    post = await posts.get(uow, actor, post_id, needs=Permission.WRITE)
    plan(PostState(post.state), PostMove.WITHDRAW)
    await _take_back_deliveries(uow, actor, post)
    await posts.move(
        uow,
        post,
        PostMove.WITHDRAW,
        actor=actor,
        detail={"revision": post.revision + 1},
        revision=post.revision + 1,
        digest=None,
        policy=None,
    )
    return post


async def cancel(uow: UnitOfWork, actor: Actor, post_id: UUID) -> Post:
    """End a post; what is public stays public, what is in a worker's hands is not caught."""
    post = await posts.get(uow, actor, post_id, needs=Permission.WRITE)
    parts = await posts.load_parts(uow, post)
    _refuse_in_hand(parts)
    await posts.move(uow, post, PostMove.CANCEL, actor=actor)
    for delivery, _ in parts.deliveries:
        if delivery.state in {"planned", "ready", "held", "rejected"}:
            await deliveries.move(uow, delivery, DeliveryMove.CANCEL, actor=actor)
    return post


def require_future(post: Post, now: datetime) -> None:
    """Refuse a post without a time it can still keep."""
    if post.due_at is None and post.local_time is not None:
        raise TimeMissingError("the time was never resolved; set it again")
    if post.due_at is not None and post.due_at < now - _PAST_GRACE:
        raise TimePastError(
            f"{post.local_time} in {post.zone} is over; choose another time", due=iso(post.due_at)
        )
    if post.not_after is not None and post.not_after <= max(now, post.due_at or now):
        raise TimePastError("the window ends before the post is due")


async def _write(
    uow: UnitOfWork, actor: Actor, post: Post, mission: Mission, writing: Writing
) -> None:
    _write_fields(post, writing)
    if writing.when is not None:
        _set_time(post, mission, writing.when, uow.now)
    if writing.texts is not None:
        await _replace_texts(uow, post, writing.texts)
    if writing.targets is not None:
        await _replace_targets(uow, actor, post, writing.targets)
    if writing.languages is not None:
        await _choose_languages(uow, post, writing.languages)
    if writing.variants is not None:
        await _replace_variants(uow, actor, post, writing.variants)
    await uow.session.flush()


def _write_fields(post: Post, writing: Writing) -> None:
    if writing.title is not None:
        check_text(writing.title, "title")
        post.title = writing.title
    if writing.post_class is not None:
        post.post_class = writing.post_class
    if writing.link_card is not None:
        for name, value in writing.link_card.items():
            check_text(value, f"link_card.{name}")
        post.link_card = writing.link_card or None
    if writing.schedule_on_approval is not None:
        post.schedule_on_approval = writing.schedule_on_approval


def _set_time(post: Post, mission: Mission, when: When, now: datetime) -> None:
    post.zone = when.zone or mission.zone
    post.local_time = when.local
    post.choice = None if when.choice is None else when.choice.value
    post.late_minutes = when.late_minutes
    post.not_after = when.not_after
    if when.local is None:
        post.due_at = None
    else:
        post.due_at = resolve(parse_local(when.local), post.zone, when.choice)
    require_future(post, now)


async def _replace_texts(
    uow: UnitOfWork, post: Post, texts: dict[str, list[dict[str, Any]]]
) -> None:
    await uow.session.execute(delete(PostText).where(col(PostText.post_id) == post.id))
    for language, segments in texts.items():
        _check_segments(segments, f"texts.{language}")
        uow.session.add(PostText(post_id=post.id, language=language, segments=segments))


async def _replace_variants(
    uow: UnitOfWork, actor: Actor, post: Post, variants: dict[str, list[dict[str, Any]]]
) -> None:
    await uow.session.execute(delete(Variant).where(col(Variant.post_id) == post.id))
    found = await _writable_accounts(uow, actor, tuple(variants))
    for code, segments in variants.items():
        _check_segments(segments, f"variants.{code}")
        uow.session.add(Variant(post_id=post.id, account_id=found[code].id, segments=segments))


async def _replace_targets(
    uow: UnitOfWork, actor: Actor, post: Post, codes: tuple[str, ...]
) -> None:
    if len(codes) > _MOST_TARGETS:
        raise TargetsTooManyError(f"a post has at most {_MOST_TARGETS} accounts; write another")
    wanted = await _writable_accounts(uow, actor, codes)
    parts = await posts.load_parts(uow, post)
    there = {account.code: delivery for delivery, account in parts.deliveries}
    for code in there.keys() - wanted.keys():
        _record_plan(uow, actor, there[code], Action.DELIVERY_DROP)
        await uow.session.delete(there[code])
    for code in sorted(wanted.keys() - there.keys()):
        delivery = Delivery(
            post_id=post.id,
            account_id=wanted[code].id,
            payload=b"[]",
            progress={},
            created_at=uow.now,
            updated_at=uow.now,
        )
        uow.session.add(delivery)
        _record_plan(uow, actor, delivery, Action.DELIVERY_PLAN)
    await uow.session.flush()


async def _choose_languages(uow: UnitOfWork, post: Post, languages: dict[str, str]) -> None:
    parts = await posts.load_parts(uow, post)
    targets = {account.code: delivery for delivery, account in parts.deliveries}
    if missing := languages.keys() - targets.keys():
        raise AccountUnknownError(f"{min(missing)} is not one of the post's accounts")
    for code, delivery in targets.items():
        delivery.language = languages.get(code, "")


def _record_plan(uow: UnitOfWork, actor: Actor, delivery: Delivery, action: Action) -> None:
    subject: JsonObject = {"t": "delivery", "id": str(delivery.id), "post": str(delivery.post_id)}
    uow.record(action, subject, actor=actor, detail={"account": str(delivery.account_id)})


async def _writable_accounts(
    uow: UnitOfWork, actor: Actor, codes: tuple[str, ...]
) -> dict[str, Account]:
    """Accounts of missions where the person may write; another mission's does not exist."""
    found = {}
    for account in await accounts.find_by_codes(uow, codes):
        mission = await uow.session.get_one(Mission, account.mission_id)
        if actor.may(Permission.WRITE, mission.path, now=uow.now):
            found[account.code] = account
    if missing := set(codes) - found.keys():
        raise AccountUnknownError(f"no account {min(missing)} that you may write for")
    return found


def _check_segments(segments: list[dict[str, Any]], field: str) -> None:
    for index, segment in enumerate(segments):
        check_text(segment["text"], f"{field}[{index}]")
        for image in segment["media"]:
            check_text(image["alt"], f"{field}[{index}].alt")


def _require_revision(post: Post, revision: int) -> None:
    if post.revision != revision:
        raise RevisionStaleError(
            f"the post is at revision {post.revision}, you read {revision}; look again",
            revision=post.revision,
        )


def _refuse_in_hand(parts: PostParts) -> None:
    for delivery, account in parts.deliveries:
        if delivery.state in {"claimed", "preparing", "sending", "unknown"}:
            raise DeliveryStartedError(
                f"{account.code} is being published now; what is public cannot be taken back here"
            )


async def _take_back_deliveries(uow: UnitOfWork, actor: Actor, post: Post) -> None:
    parts = await posts.load_parts(uow, post)
    _refuse_in_hand(parts)
    for delivery, account in parts.deliveries:
        if delivery.attempts or delivery.state not in {"planned", "ready", "held"}:
            raise DeliveryStartedError(
                f"{account.code} was tried already; cancel the post and write a new one"
            )
        if delivery.state != DeliveryState.PLANNED:
            await deliveries.move(
                uow, delivery, DeliveryMove.UNREADY, actor=actor, wake_at=None, reason=""
            )
