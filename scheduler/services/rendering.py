"""From what an officer wrote to the exact payload of each account, before anybody approves it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlmodel import col, select

from adapters.base import Content, LinkCard, MediaRef, Problem, Segment
from scheduler.canonical import JsonObject, canonical
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account, Delivery, Media
from scheduler.db.uow import UnitOfWork
from scheduler.domain.content import Item, Statement
from scheduler.errors import InvalidError
from scheduler.services.kit import Kit


class TextMissingError(InvalidError):
    """No text in the account's language, and no variant for the account."""

    code = "text_missing"


class MediaUnknownError(InvalidError):
    code = "media_unknown"


class ContentUnfitError(InvalidError):
    """A target cannot carry the content faithfully; `problems` says where and why."""

    code = "content_unfit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """One reason why one account cannot carry the content."""

    account: Account
    problem: Problem


def language_for(parts: PostParts, account: Account) -> str:
    """The language of the text that goes to the account: the one chosen for it, else its own."""
    chosen = (each.language for each, target in parts.deliveries if target.id == account.id)
    return next(chosen, "") or account.language


def segments_for(parts: PostParts, account: Account) -> Sequence[Mapping[str, Any]]:
    """The account's variant, else the text of the language chosen for it."""
    language = language_for(parts, account)
    for variant in parts.variants:
        if variant.account_id == account.id:
            return variant.segments
    for text in parts.texts:
        if text.language == language:
            return text.segments
    raise TextMissingError(
        f"{account.code} needs a text in {language}, or a variant of its own",
        account=account.code,
        language=language,
    )


async def load_media(uow: UnitOfWork, parts: PostParts) -> dict[str, Media]:
    """Every picture the post refers to.

    Raises:
        MediaUnknownError: a picture was never uploaded.
    """
    wanted = {
        image["sha256"]
        for segments in (
            *(text.segments for text in parts.texts),
            *(variant.segments for variant in parts.variants),
        )
        for segment in segments
        for image in segment["media"]
    }
    if not wanted:
        return {}
    found = await uow.session.scalars(select(Media).where(col(Media.sha256).in_(wanted)))
    media = {each.sha256: each for each in found}
    if missing := wanted - media.keys():
        raise MediaUnknownError(f"no picture {min(missing)}; upload it first")
    return media


def content_for(parts: PostParts, account: Account, media: Mapping[str, Media]) -> Content:
    card = parts.post.link_card
    return Content(
        language=language_for(parts, account),
        segments=tuple(
            Segment(
                text=segment["text"],
                media=tuple(_media_ref(media[each["sha256"]], each) for each in segment["media"]),
            )
            for segment in segments_for(parts, account)
        ),
        card=None if card is None else LinkCard(**card),
    )


def find_unfit(
    kit: Kit, parts: PostParts, targets: Iterable[Account], media: Mapping[str, Media]
) -> tuple[Unfit, ...]:
    """Everything that keeps a target from carrying the post faithfully."""
    return tuple(
        Unfit(account=account, problem=problem)
        for account in targets
        for problem in kit.platform(account.platform).problems(
            content_for(parts, account, media), account.limits
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadPart:
    """One post of a thread as it is approved: the request with its slots, and its pictures."""

    request: JsonObject
    media: tuple[MediaRef, ...]


def render(kit: Kit, parts: PostParts, account: Account, media: Mapping[str, Media]) -> bytes:
    """The canonical bytes of the account's payload: a list of parts."""
    content = content_for(parts, account, media)
    requests = kit.platform(account.platform).render(content, account.external_id, account.limits)
    payload: list[Any] = [
        {"request": request, "media": [asdict(each) for each in segment.media]}
        for request, segment in zip(requests, content.segments, strict=True)
    ]
    return canonical(payload)


def parts_of(delivery: Delivery) -> tuple[PayloadPart, ...]:
    """Read the stored payload.

    Raises:
        ValueError, KeyError, TypeError: somebody changed the row.
    """
    return tuple(
        PayloadPart(
            request=part["request"], media=tuple(MediaRef(**each) for each in part["media"])
        )
        for part in json.loads(delivery.payload)
    )


def build_statement(parts: PostParts, policy: str) -> Statement:
    """What an approval of the post as it stands in the database binds."""
    post = parts.post
    return Statement(
        post_id=str(post.id),
        revision=post.revision,
        post_class=post.post_class,
        items=tuple(
            Item(
                account_id=str(account.id),
                external_id=account.external_id,
                platform=account.platform,
                base_url=account.base_url,
                language=delivery.language,
                payload=delivery.payload,
                due_at=post.due_at,
            )
            for delivery, account in parts.deliveries
        ),
        editors=tuple(str(each) for each in parts.editors),
        sources=parts.sources,
        policy=policy,
        late_minutes=post.late_minutes,
        not_after=post.not_after,
    )


def refuse_unfit(unfit: Sequence[Unfit]) -> None:
    """Raise `ContentUnfitError` with every problem that stops it, when there is one."""
    blocking = [each for each in unfit if each.problem.blocks]
    if not blocking:
        return
    first = blocking[0]
    raise ContentUnfitError(
        f"{first.account.code}: {first.problem.message}"
        + (f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""),
        problems=[describe_unfit(each) for each in blocking],
    )


def describe_unfit(unfit: Unfit) -> dict[str, object]:
    return {
        "account": unfit.account.code,
        "code": unfit.problem.code,
        "message": unfit.problem.message,
        "segment": unfit.problem.segment,
    }


def _media_ref(media: Media, image: Mapping[str, str]) -> MediaRef:
    return MediaRef(
        sha256=media.sha256,
        mime=media.mime,
        length=media.length,
        width=media.width,
        height=media.height,
        alt=image["alt"],
    )
