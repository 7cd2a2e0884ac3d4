"""A post looked at from all sides: what would be public on each account, what is wrong with it, what it waits for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from scheduler.db import posts, rules, sight
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account, Comment, Delivery, Media
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor
from scheduler.domain.post_flow import PostState
from scheduler.domain.text import HiddenSpan, hidden_characters
from scheduler.errors import ChanceryError
from scheduler.policy.bundle import open_policy
from scheduler.policy.evaluation import Finding
from scheduler.services import judging, rendering
from scheduler.services.judging import Judgement
from scheduler.services.kit import Kit
from scheduler.services.posts import TargetsMissingError
from scheduler.services.rendering import MediaUnknownError, TextMissingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something to mend before the post can be submitted; `account` is None when it is about the whole post."""

    account: str | None
    code: str
    message: str
    segment: int | None
    blocks: bool = True  #: False: to be known, not to be mended


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLength:
    """As the account's platform counts."""

    account: str
    segment: int
    used: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicPayload:
    """What will be public on one account: one request a part, whose `$slot`s the platform fills."""

    account: str
    platform: str
    language: str
    parts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    parts: PostParts
    codes: Mapping[UUID, str]  #: of the targets and of the accounts that have a variant
    digest: str  #: over everything here that will be public
    comments: Sequence[tuple[Comment, str]]
    judgement: Judgement | None  #: None: the policy in force was changed by hand
    flaws: tuple[Flaw, ...]
    lengths: tuple[SegmentLength, ...]
    payloads: tuple[PublicPayload, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        return () if self.judgement is None else self.judgement.findings


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenIn:
    """A run of invisible characters and the text it stands in."""

    field: str
    span: HiddenSpan


async def inspect(uow: UnitOfWork, kit: Kit, actor: Actor, post_id: UUID) -> Inspection:
    """Everything a person may want to know of a post; a draft with gaps is shown with its gaps."""
    post = await sight.get_post(uow, actor, post_id)
    parts = await posts.load_parts(uow, post)
    policy = await rules.find_policy(uow)  # None: changed by hand; who submits or approves is told
    judgement = None if policy is None else judging.judge(open_policy(policy.body), parts, uow.now)
    in_force = "" if policy is None else policy.digest
    media, flaws = await find_flaws(uow, kit, parts)
    return Inspection(
        parts=parts,
        codes=await _find_codes(uow, parts),
        digest=rendering.build_statement(parts, post.policy or in_force).digest_like(post.digest),
        comments=await posts.find_comments(uow, post.id),
        judgement=judgement,
        flaws=tuple(flaws),
        lengths=tuple(_measure(kit, parts)),
        payloads=tuple(_find_payloads(kit, parts, media, flaws)),
    )


def find_hidden(seen: Inspection) -> tuple[HiddenIn, ...]:
    """What a reviewer cannot see, in every text, alt text and link card that may become public."""
    parts, codes = seen.parts, seen.codes
    sources = [(f"texts.{text.language}", text.segments) for text in parts.texts]
    sources += [(f"variants.{codes[each.account_id]}", each.segments) for each in parts.variants]
    texts = [each for name, segments in sources for each in _texts(name, segments)]
    return tuple(
        HiddenIn(field=field, span=span)
        for field, text in (*texts, *judging.card_texts(parts))
        for span in hidden_characters(text)
    )


def _texts(name: str, segments: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    found = []
    for index, segment in enumerate(segments):
        found.append((f"{name}[{index}].text", segment["text"]))
        found += [
            (f"{name}[{index}].media[{number}].alt", image["alt"])
            for number, image in enumerate(segment["media"])
        ]
    return found


async def _find_codes(uow: UnitOfWork, parts: PostParts) -> dict[UUID, str]:
    codes = {account.id: account.code for _, account in parts.deliveries}
    for variant in parts.variants:
        if variant.account_id not in codes:
            account = await uow.session.get_one(Account, variant.account_id)
            codes[account.id] = account.code
    return codes


async def find_flaws(
    uow: UnitOfWork, kit: Kit, parts: PostParts
) -> tuple[dict[str, Media] | None, list[Flaw]]:
    """What keeps the post from being submitted, and its pictures when all of them are there."""
    try:
        media = await rendering.load_media(uow, parts)
    except MediaUnknownError as exc:
        return None, [_flaw(exc), *_find_account_flaws(kit, parts, None)]
    return media, _find_account_flaws(kit, parts, media)


def _find_account_flaws(
    kit: Kit, parts: PostParts, media: Mapping[str, Media] | None
) -> list[Flaw]:
    flaws = [] if parts.deliveries else [_flaw(TargetsMissingError("choose at least one account"))]
    for _, account in parts.deliveries:
        try:
            rendering.segments_for(parts, account)
        except TextMissingError as exc:
            flaws.append(_flaw(exc, account.code))
            continue
        if media is None:
            continue
        flaws += [
            Flaw(
                account=account.code,
                code=unfit.problem.code,
                message=unfit.problem.message,
                segment=unfit.problem.segment,
                blocks=unfit.problem.blocks,
            )
            for unfit in rendering.find_unfit(kit, parts, [account], media)
        ]
    return flaws


def _measure(kit: Kit, parts: PostParts) -> list[SegmentLength]:
    lengths = []
    for _, account in parts.deliveries:
        for index, text in enumerate(_texts_for(parts, account)):
            length = kit.platform(account.platform).length(text, account.limits)
            lengths.append(
                SegmentLength(
                    account=account.code, segment=index, used=length.used, limit=length.limit
                )
            )
    return lengths


def _texts_for(parts: PostParts, account: Account) -> list[str]:
    try:
        return [segment["text"] for segment in rendering.segments_for(parts, account)]
    except TextMissingError:
        return []


def _find_payloads(
    kit: Kit, parts: PostParts, media: Mapping[str, Media] | None, flaws: Sequence[Flaw]
) -> list[PublicPayload]:
    """The stored payloads once there are any; before, as they would be rendered now."""
    is_draft = parts.post.state == PostState.DRAFT
    faulty = {flaw.account for flaw in flaws if flaw.blocks}
    found = []
    for delivery, account in parts.deliveries:
        if not is_draft:
            rendered = _read_stored(delivery)
        elif media is None or account.code in faulty:
            continue
        else:
            rendered = json.loads(rendering.render(kit, parts, account, media))
        found.append(
            PublicPayload(
                account=account.code,
                platform=account.platform,
                language=rendering.language_for(parts, account),
                parts=rendered,
            )
        )
    return found


def _read_stored(delivery: Delivery) -> list[dict[str, Any]]:
    """The stored parts; none when somebody changed the row so that it cannot be read (it will be held)."""
    try:
        return [asdict(part) for part in rendering.parts_of(delivery)]
    except (ValueError, KeyError, TypeError):
        return []


def _flaw(error: ChanceryError, account: str | None = None) -> Flaw:
    return Flaw(account=account, code=error.code, message=str(error), segment=None)
