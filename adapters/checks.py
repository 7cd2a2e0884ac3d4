"""What keeps a platform from carrying a content faithfully, as far as its capabilities tell."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping

from adapters.base import Capabilities, Content, Length, LinkCards, MediaRef, Problem, Segment
from adapters.text import links, utf8_length

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*", re.IGNORECASE)
_UNCARRIED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

Measure = Callable[[str, Mapping[str, int]], Length]


def find_problems(
    content: Content, capabilities: Capabilities, limits: Mapping[str, int], measure: Measure
) -> tuple[Problem, ...]:
    """Return every problem in reading order; `limits` are the server's own and go first."""
    return (
        *_of_whole(content, capabilities),
        *_of_card(content, capabilities),
        *_of_repeated_media(content),
        *(
            Problem(code=code, message=message, segment=index)
            for index, segment in enumerate(content.segments)
            for code, message in (
                *_of_text(segment, limits, measure),
                *_of_bytes(segment.text, capabilities),
                *_of_media(segment.media, capabilities, limits),
            )
        ),
    )


def check_media(media: MediaRef, data: bytes) -> None:
    """Raise ValueError unless `data` are exactly the approved bytes."""
    if len(data) != media.length or hashlib.sha256(data).hexdigest() != media.sha256:
        raise ValueError("the bytes are not those of the media reference")


def _of_whole(content: Content, capabilities: Capabilities) -> Iterator[Problem]:
    if not content.segments:
        yield Problem(code="text_empty", message="There is nothing to publish.", segment=0)
    if len(content.segments) > 1 and not capabilities.threads:
        yield Problem(
            code="thread_unsupported",
            message=f"{capabilities.title} has no threads.",
            segment=1,
        )
    if not _LANGUAGE.fullmatch(content.language):
        yield Problem(
            code="language_invalid",
            message=f"“{content.language}” is not a language tag such as sl or pt-BR.",
            segment=0,
        )


def _of_card(content: Content, capabilities: Capabilities) -> Iterator[Problem]:
    card = content.card
    if card is None or not content.segments:
        return
    if capabilities.link_card is not LinkCards.SUPPLIED:
        message = f"{capabilities.title} makes its own link preview; it cannot carry ours."
        yield Problem(code="card_unsupported", message=message, segment=0)
        return
    if content.segments[0].media:
        message = "A post shows either pictures or a link preview."
        yield Problem(code="card_with_media", message=message, segment=0)
    if [(span.start, span.end) for span in links(card.uri)] != [(0, len(card.uri))]:
        message = "The link preview needs a full http or https address."
        yield Problem(code="card_invalid", message=message, segment=0)


def _of_repeated_media(content: Content) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, segment in enumerate(content.segments):
        for media in segment.media:
            if media.sha256 in seen:
                message = "The same picture appears twice."
                yield Problem(code="media_repeated", message=message, segment=index)
            seen.add(media.sha256)


def _of_text(
    segment: Segment, limits: Mapping[str, int], measure: Measure
) -> Iterator[tuple[str, str]]:
    text = segment.text
    if not text.strip() and not segment.media:
        yield "text_empty", "The post has neither text nor picture."
    if _UNCARRIED.search(text):
        yield "text_invalid", "The text holds control characters that no platform keeps."
    length = measure(text, limits)
    if length.used > length.limit:
        yield "text_too_long", f"The text has {length.used} characters of {length.limit}."


def _of_bytes(text: str, capabilities: Capabilities) -> Iterator[tuple[str, str]]:
    size = utf8_length(text)
    if capabilities.max_bytes is not None and size > capabilities.max_bytes:
        yield "text_too_many_bytes", f"The text has {size} bytes of {capabilities.max_bytes}."


def _of_media(
    media: tuple[MediaRef, ...], capabilities: Capabilities, limits: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    most = limits.get("max_media", capabilities.max_media)
    if len(media) > most:
        yield "too_many_media", f"The post has {len(media)} pictures of {most}."
    for item in media:
        yield from _of_picture(item, capabilities, limits)


def _of_picture(
    media: MediaRef, capabilities: Capabilities, limits: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    if media.mime not in capabilities.media_types:
        yield "media_type_unsupported", f"{capabilities.title} does not take {media.mime} here."
    most_bytes = limits.get("max_image_bytes", capabilities.max_image_bytes)
    if media.length > most_bytes:
        yield "media_too_large", f"The picture has {media.length} bytes of {most_bytes}."
    most_pixels = limits.get("max_image_pixels", capabilities.max_image_pixels)
    if media.width * media.height > most_pixels:
        yield "media_too_many_pixels", f"The picture has more than {most_pixels} pixels."
    if capabilities.alt_required and not media.alt.strip():
        yield "alt_missing", "The picture has no alternative text."
    most_alt = limits.get("max_alt_length", capabilities.max_alt_length)
    if len(media.alt) > most_alt:
        yield "alt_too_long", f"The alternative text has {len(media.alt)} characters of {most_alt}."
