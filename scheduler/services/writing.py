"""What an officer writes into a draft: texts, variants, accounts, pictures and the time."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import delete
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject, JsonValue, canonical
from scheduler.clock import iso
from scheduler.db import accounts, posts
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account, Delivery, Mission, Post, PostEditor, PostText, Variant
from scheduler.db.uow import UnitOfWork
from scheduler.domain.calendar import Choice, get_zone, parse_local, resolve
from scheduler.domain.lateness import DEFAULT_LATE_MINUTES, MOST_LATE_MINUTES
from scheduler.domain.people import Actor, Permission
from scheduler.domain.text import check_text
from scheduler.errors import ForbiddenError, InvalidError
from scheduler.policy.declaring import read_value
from scheduler.policy.facts import AUTHORED, DECLARED
from scheduler.policy.source import PolicyInvalidError, node_of
from scheduler.services import campaigns

#: Accounts that somebody may write for, by code, each with its mission.
Writable = Mapping[str, tuple[Account, Mission]]

_MOST_TARGETS: Final = 100
#: A person may still be typing when the minute passes; the late rule judges the rest.
_PAST_GRACE: Final = timedelta(seconds=60)


class TimePastError(InvalidError):
    code = "time_past"


class TimeMissingError(InvalidError):
    code = "time_missing"


class LateMinutesError(InvalidError):
    """A post needs some time to leave, and none that is still news leaves a week late."""

    code = "late_minutes_invalid"


class TargetsTooManyError(InvalidError):
    """One record of the log names them all, and its size is limited."""

    code = "targets_too_many"


class FactInvalidError(InvalidError):
    """Not a fact that authors declare, or a value of another kind."""

    code = "fact_invalid"


class AccountUnknownError(InvalidError):
    """No such account, or one of a mission outside of the person's scope."""

    code = "account_unknown"


class TargetDeniedError(ForbiddenError):
    """The permission holds for the post's mission, but not for all of its accounts'."""

    code = "target_denied"


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
    campaign: str | None = None  #: its code; empty: none
    facts: dict[str, Any] | None = None  #: for the policy's rules, by name


def require_on_targets(
    uow: UnitOfWork, actor: Actor, permission: Permission, parts: PostParts
) -> None:
    """The post's own mission is not enough: it speaks from the accounts of others as well."""
    for path in sorted(parts.paths):
        if not actor.may(permission, path, now=uow.now):
            actor.refuse_unripe(permission, path, now=uow.now)
            raise TargetDeniedError("one of the post's accounts is of a mission that is not yours")


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


async def compose(
    uow: UnitOfWork, actor: Actor, mission: Mission, writing: Writing, found: Writable
) -> PostParts:
    """A new post with all that hangs on it; nothing of it is in the database yet."""
    post = Post(
        mission_id=mission.id,
        author_id=actor.person_id,
        post_class="routine",
        zone=mission.zone,
        late_minutes=DEFAULT_LATE_MINUTES,
        created_at=uow.now,
        updated_at=uow.now,
    )
    await _write_post(uow, post, mission, writing)
    codes, variants = writing.targets or (), writing.variants or {}
    _refuse_many(codes)
    _refuse_unwritable({*codes, *variants}, found)
    targets = [
        (plan_delivery(uow, post, found[code][0]), found[code][0]) for code in sorted(set(codes))
    ]
    _choose_languages(targets, writing.languages or {})
    return PostParts(
        post=post,
        mission=mission,
        texts=tuple(_build_texts(post, writing.texts or {})),
        variants=tuple(_build_variants(post, variants, found)),
        deliveries=tuple(targets),
        editors=frozenset({actor.person_id}),
        paths=frozenset({mission.path, *(found[code][1].path for code in codes)}),
    )


async def add_all(
    uow: UnitOfWork,
    actor: Actor,
    drafts: Sequence[PostParts],
    *,
    detail: JsonObject = MappingProxyType({}),
) -> None:
    """Put composed posts into the database, in as many statements as one; `detail` is for the record of each."""
    uow.session.add_all(parts.post for parts in drafts)
    await uow.session.flush()  # what hangs on them refers to them
    for parts in drafts:
        post = parts.post
        uow.session.add_all(PostEditor(post_id=post.id, person_id=each) for each in parts.editors)
        uow.session.add_all([*parts.texts, *parts.variants])
        uow.session.add_all(delivery for delivery, _ in parts.deliveries)
        told: dict[str, JsonValue] = {"mission": str(post.mission_id), "class": post.post_class}
        if post.import_ref is not None:
            told["ref"] = post.import_ref
        subject: JsonObject = {"t": "post", "id": str(post.id), "rev": post.revision}
        uow.record(Action.POST_DRAFT, subject, actor=actor, detail={**told, **detail})
        for delivery, _ in parts.deliveries:
            _record_plan(uow, actor, delivery, Action.DELIVERY_PLAN)
    await uow.session.flush()


async def find_writable(uow: UnitOfWork, actor: Actor, codes: Collection[str]) -> Writable:
    """Of these accounts those of missions where the person may write: another mission's does not exist."""
    if not codes:
        return {}
    return {
        account.code: (account, mission)
        for account, mission in await accounts.find_by_codes(uow, codes)
        if actor.may(Permission.WRITE, mission.path, now=uow.now)
    }


async def write(
    uow: UnitOfWork, actor: Actor, post: Post, mission: Mission, writing: Writing
) -> None:
    """Write over what the post says."""
    await _write_post(uow, post, mission, writing)
    found = await find_writable(uow, actor, {*(writing.targets or ()), *(writing.variants or {})})
    if writing.texts is not None:
        await uow.session.execute(delete(PostText).where(col(PostText.post_id) == post.id))
        uow.session.add_all(_build_texts(post, writing.texts))
    if writing.targets is not None:
        await _replace_targets(uow, actor, post, writing.targets, found)
    if writing.languages is not None:
        parts = await posts.load_parts(uow, post)
        _choose_languages(parts.deliveries, writing.languages)
    if writing.variants is not None:
        await uow.session.execute(delete(Variant).where(col(Variant.post_id) == post.id))
        _refuse_unwritable(writing.variants, found)
        uow.session.add_all(_build_variants(post, writing.variants, found))
    await uow.session.flush()


async def _write_post(uow: UnitOfWork, post: Post, mission: Mission, writing: Writing) -> None:
    _write_fields(post, writing)
    if writing.campaign is not None:
        await campaigns.choose(uow, post, mission, writing.campaign)
    if writing.when is not None:
        _set_time(post, mission, writing.when, uow.now)


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
    if writing.facts is not None:
        post.facts = _check_facts(writing.facts)
    if writing.schedule_on_approval is not None:
        post.schedule_on_approval = writing.schedule_on_approval


def _check_facts(facts: dict[str, Any]) -> dict[str, Any] | None:
    """Refuse what authors may not declare, and values of another kind than the fact's."""
    for name, value in facts.items():
        if name not in AUTHORED:
            known = ", ".join(sorted(AUTHORED))
            raise FactInvalidError(f"{name[:60]!a} is no fact that authors declare; known: {known}")
        try:
            told = read_value(node_of(value, "facts", name), DECLARED[name])
            canonical(value)
        except (PolicyInvalidError, ValueError) as exc:
            raise FactInvalidError(f"facts.{name}: {exc}", fact=name) from exc
        if isinstance(told, str):
            check_text(told, f"facts.{name}")
    return facts or None


def _set_time(post: Post, mission: Mission, when: When, now: datetime) -> None:
    post.zone = get_zone(when.zone or mission.zone).key
    post.local_time = when.local
    post.choice = None if when.choice is None else when.choice.value
    if not 1 <= when.late_minutes <= MOST_LATE_MINUTES:
        raise LateMinutesError(f"late_minutes is 1 to {MOST_LATE_MINUTES}")
    post.late_minutes = when.late_minutes
    post.not_after = when.not_after
    if when.local is None:
        post.due_at = None
    else:
        post.due_at = resolve(parse_local(when.local), post.zone, when.choice)
    require_future(post, now)


def _build_texts(post: Post, texts: Mapping[str, list[dict[str, Any]]]) -> list[PostText]:
    for language, segments in texts.items():
        _check_segments(segments, f"texts.{language}")
    return [
        PostText(post_id=post.id, language=language, segments=segments)
        for language, segments in sorted(texts.items())
    ]


def _build_variants(
    post: Post, variants: Mapping[str, list[dict[str, Any]]], found: Writable
) -> list[Variant]:
    built = []
    for code, segments in variants.items():
        _check_segments(segments, f"variants.{code}")
        account = found[code][0]
        built.append(Variant(post_id=post.id, account_id=account.id, segments=segments))
    return sorted(built, key=lambda variant: variant.account_id)


async def _replace_targets(
    uow: UnitOfWork, actor: Actor, post: Post, codes: tuple[str, ...], found: Writable
) -> None:
    _refuse_many(codes)
    _refuse_unwritable(codes, found)
    parts = await posts.load_parts(uow, post)
    there = {account.code: delivery for delivery, account in parts.deliveries}
    for code in there.keys() - set(codes):
        _record_plan(uow, actor, there[code], Action.DELIVERY_DROP)
        await uow.session.delete(there[code])
    for code in sorted(set(codes) - there.keys()):
        delivery = plan_delivery(uow, post, found[code][0])
        uow.session.add(delivery)
        _record_plan(uow, actor, delivery, Action.DELIVERY_PLAN)
    await uow.session.flush()


def plan_delivery(uow: UnitOfWork, post: Post, account: Account, language: str = "") -> Delivery:
    """The delivery of a draft on one account; not in the database yet."""
    return Delivery(
        post_id=post.id,
        account_id=account.id,
        language=language,
        payload=b"[]",
        progress={},
        created_at=uow.now,
        updated_at=uow.now,
    )


def _choose_languages(targets: Iterable[posts.Target], languages: Mapping[str, str]) -> None:
    by_code = {account.code: delivery for delivery, account in targets}
    if missing := languages.keys() - by_code.keys():
        raise AccountUnknownError(f"{min(missing)} is not one of the post's accounts")
    for code, delivery in by_code.items():
        delivery.language = languages.get(code, "")


def _record_plan(uow: UnitOfWork, actor: Actor, delivery: Delivery, action: Action) -> None:
    subject: JsonObject = {"t": "delivery", "id": str(delivery.id), "post": str(delivery.post_id)}
    uow.record(action, subject, actor=actor, detail={"account": str(delivery.account_id)})


def _refuse_many(codes: Collection[str]) -> None:
    if len(codes) > _MOST_TARGETS:
        raise TargetsTooManyError(f"a post has at most {_MOST_TARGETS} accounts; write another")


def _refuse_unwritable(codes: Iterable[str], found: Writable) -> None:
    if missing := set(codes) - found.keys():
        raise AccountUnknownError(f"no account {min(missing)} that you may write for")


def _check_segments(segments: list[dict[str, Any]], field: str) -> None:
    for index, segment in enumerate(segments):
        check_text(segment["text"], f"{field}[{index}]")
        for image in segment["media"]:
            check_text(image["alt"], f"{field}[{index}].alt")
