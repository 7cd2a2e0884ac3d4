"""Recurring posts: a rule makes copies of a post, and each copy is a post with a decision of its own."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from scheduler.audit.actions import Action
from scheduler.db import posts as rows
from scheduler.db import series
from scheduler.db.posts import PostParts, StaleStateError
from scheduler.db.tables import (
    Occurrence,
    Post,
    PostText,
    Series,
    Variant,
)
from scheduler.db.uow import UnitOfWork, UnitOfWorkFactory
from scheduler.domain.calendar import Choice, get_zone, parse_local
from scheduler.domain.people import Actor, Permission
from scheduler.domain.post_flow import IllegalMoveError
from scheduler.domain.recurrence import (
    Gap,
    Moment,
    Rule,
    SeriesTooLongError,
    Span,
    expand,
    resolve_all,
)
from scheduler.domain.text import check_text
from scheduler.errors import InvalidError
from scheduler.services import campaigns, posts
from scheduler.services.posts import DeliveryStartedError
from scheduler.services.postures import ReasonMissingError
from scheduler.services.writing import (
    AccountUnknownError,
    TimePastError,
    add_all,
    plan_delivery,
    require_on_targets,
)

#: All are written in one transaction, which must not hold up what is being published.
MOST_DELIVERIES: Final = 2000


class SeriesWindowError(InvalidError):
    """The post has an end but no time: how long after each time would the copies end?"""

    code = "series_window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """What a person says of a series; the rest is the post's own."""

    rule: str
    every: int = 1
    starts_on: date | None = None  #: default: the day after the post's own, or today
    until: date | None = None
    count: int | None = None
    exceptions: tuple[date, ...] = ()
    zone: str | None = None  #: default: the post's
    fold: Choice | None = None
    gap: Gap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the end of a series has cancelled, and what it could not because it is leaving."""

    series: Series
    cancelled: tuple[UUID, ...]
    left: tuple[UUID, ...]


async def repeat(uow: UnitOfWork, actor: Actor, post_id: UUID, wanted: Repeat) -> Series:
    """Draft a copy of the post, as it stands, for each day of the rule; the post itself stays as it is.

    Whoever wrote or changed the post counts as an editor of every copy, so that nobody approves their own words.

    Raises:
        RuleInvalidError, SeriesUnboundedError, SeriesTooLongError, SeriesEmptyError, ExceptionUnknownError,
        SeriesTimesError: the rule cannot be kept as it was said.
        TimePastError: it would begin in the past.
        SeriesWindowError: the post ends at an instant, but has no time.
        CampaignClosedError: the post is part of a campaign that takes no more posts.
    """
    source = await rows.get(uow, actor, post_id, needs=Permission.WRITE)
    parts = await rows.load_parts(uow, source)
    require_on_targets(uow, actor, Permission.WRITE, parts)
    await _refuse_uncopyable(uow, parts)
    zone = get_zone(wanted.zone or source.zone)
    rule = Rule.parse(wanted.rule)
    span = Span(
        start=wanted.starts_on or _default_start(source, rule, zone, uow.now),
        every=wanted.every,
        until=wanted.until,
        count=wanted.count,
        exceptions=frozenset(wanted.exceptions),
    )
    moments = resolve_all(expand(rule, span), zone.key, fold=wanted.fold, gap=wanted.gap)
    if moments[0].due_at <= uow.now:
        raise TimePastError(f"{moments[0].local} in {zone.key} is over; begin later")
    if len(moments) * len(parts.deliveries) > MOST_DELIVERIES:
        raise SeriesTooLongError(
            f"{len(moments)} posts on {len(parts.deliveries)} accounts are more than "
            f"{MOST_DELIVERIES} deliveries; end the series earlier, and repeat it then"
        )
    made = _build_series(actor, source, wanted, span, uow.now)
    made.zone = zone.key
    await _write_all(uow, actor, parts, made, moments)
    return made


async def _refuse_uncopyable(uow: UnitOfWork, parts: PostParts) -> None:
    source = parts.post
    if removed := [account.code for _, account in parts.deliveries if account.state == "removed"]:
        raise AccountUnknownError(f"{removed[0]} was removed; choose other accounts")
    if source.campaign_id is not None:
        await campaigns.require_open(uow, source.campaign_id)
    if source.not_after is not None and source.due_at is None:
        raise SeriesWindowError("the post ends at an instant but has no time; give it one first")


def _default_start(source: Post, rule: Rule, zone: ZoneInfo, now: datetime) -> date:
    """Not on a day that the post itself has, and not at a time that is over."""
    local = now.astimezone(zone)
    start = local.date() + timedelta(days=rule.at <= local.time())
    if source.local_time is None:
        return start
    return max(start, parse_local(source.local_time).date() + timedelta(days=1))


def _build_series(actor: Actor, source: Post, wanted: Repeat, span: Span, now: datetime) -> Series:
    return Series(
        mission_id=source.mission_id,
        source_id=source.id,
        author_id=actor.person_id,
        rule=wanted.rule,
        every=wanted.every,
        zone=source.zone,
        starts_on=span.start.isoformat(),
        until=None if wanted.until is None else wanted.until.isoformat(),
        amount=wanted.count,
        exceptions=sorted(each.isoformat() for each in span.exceptions),
        fold=None if wanted.fold is None else wanted.fold.value,
        gap=None if wanted.gap is None else wanted.gap.value,
        created_at=now,
    )


async def _write_all(
    uow: UnitOfWork, actor: Actor, parts: PostParts, made: Series, moments: tuple[Moment, ...]
) -> None:
    editors = parts.editors | {actor.person_id}
    uow.session.add(made)
    uow.record(
        Action.SERIES_DRAFT,
        {"t": "series", "id": str(made.id)},
        actor=actor,
        detail={
            "post": str(parts.post.id),
            "revision": parts.post.revision,
            "rule": made.rule,
            "every": made.every,
            "zone": made.zone,
            "from": made.starts_on,
            "until": made.until,
            "count": made.amount,
            "except": list(made.exceptions),
            "fold": made.fold,
            "gap": made.gap,
            "posts": len(moments),
        },
    )
    copies = [
        _copy_parts(uow, parts, _copy(actor, parts.post, made, moment, uow.now), editors)
        for moment in moments
    ]
    await add_all(uow, actor, copies, detail={"series": str(made.id)})
    uow.session.add_all(
        Occurrence(post_id=copy.post.id, series_id=made.id, day=moment.day.isoformat())
        for copy, moment in zip(copies, moments, strict=True)
    )
    await uow.session.flush()


def _copy_parts(
    uow: UnitOfWork, parts: PostParts, copy: Post, editors: frozenset[UUID]
) -> PostParts:
    return replace(
        parts,
        post=copy,
        texts=tuple(
            PostText(post_id=copy.id, language=each.language, segments=each.segments)
            for each in parts.texts
        ),
        variants=tuple(
            Variant(post_id=copy.id, account_id=each.account_id, segments=each.segments)
            for each in parts.variants
        ),
        deliveries=tuple(
            (plan_delivery(uow, copy, account, planned.language), account)
            for planned, account in parts.deliveries
        ),
        editors=editors,
    )


def _copy(actor: Actor, source: Post, made: Series, moment: Moment, now: datetime) -> Post:
    """A draft with the post's content at its own time; a window stays as long as the post's."""
    window = None
    if source.not_after is not None and source.due_at is not None:
        window = source.not_after - source.due_at
    return Post(
        mission_id=source.mission_id,
        author_id=actor.person_id,
        title=source.title,
        post_class=source.post_class,
        local_time=moment.local,
        zone=made.zone,
        choice=None if moment.choice is None else moment.choice.value,
        due_at=moment.due_at,
        late_minutes=source.late_minutes,
        not_after=None if window is None else moment.due_at + window,
        schedule_on_approval=source.schedule_on_approval,
        link_card=source.link_card,
        campaign_id=source.campaign_id,
        facts=source.facts,
        created_at=now,
        updated_at=now,
    )


async def end(open_uow: UnitOfWorkFactory, actor: Actor, series_id: UUID, *, reason: str) -> Ended:
    """Cancel the posts of a series that are still to come and have not begun to leave; again does the rest.

    Raises:
        ReasonMissingError: no reason.
    """
    if not reason.strip():
        raise ReasonMissingError("say why: the reason is kept in the record")
    check_text(reason, "reason")
    async with open_uow() as uow:
        found = await series.get(uow, actor, series_id, needs=Permission.WRITE)
        if found.ended_at is None:
            found.ended_at, found.ended_by, found.end_reason = uow.now, actor.person_id, reason
            uow.record(
                Action.SERIES_END,
                {"t": "series", "id": str(series_id)},
                actor=actor,
                detail={"reason": reason},
            )
        ahead = await series.find_ahead(uow, series_id)
    left = [each for each in ahead if not await _cancel(open_uow, actor, each)]
    gone = frozenset(left)
    cancelled = tuple(each for each in ahead if each not in gone)
    return Ended(series=found, cancelled=cancelled, left=tuple(left))


async def _cancel(open_uow: UnitOfWorkFactory, actor: Actor, post_id: UUID) -> bool:
    """Cancel one post in a short transaction of its own, unless something of it is leaving or has been tried."""
    try:
        async with open_uow() as uow:
            post = await rows.get(uow, actor, post_id, needs=Permission.WRITE)
            parts = await rows.load_parts(uow, post)
            if any(delivery.attempts for delivery, _ in parts.deliveries):
                return False
            await posts.cancel(uow, actor, post_id)
    except (DeliveryStartedError, StaleStateError, IllegalMoveError):
        return False
    return True
