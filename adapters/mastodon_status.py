"""What a Mastodon status or instance says, and how it compares with the body that was sent (pure)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from adapters import answers
from adapters.base import JsonObject, Published

_REGIONS: Final = {tag.lower(): tag for tag in ("zh-CN", "zh-HK", "zh-TW", "zh-YUE")}
_LARGEST_LIMIT: Final = 2**40
# Where servers tell their limits: Mastodon and most others, then the older key of some.
_LIMITS: Final = (
    ("max_length", ("configuration", "statuses", "max_characters")),
    ("max_length", ("max_toot_chars",)),
    ("url_length", ("configuration", "statuses", "characters_reserved_per_url")),
    ("max_media", ("configuration", "statuses", "max_media_attachments")),
    ("max_alt_length", ("configuration", "media_attachments", "description_limit")),
    ("max_image_bytes", ("configuration", "media_attachments", "image_size_limit")),
    ("max_image_pixels", ("configuration", "media_attachments", "image_matrix_limit")),
)


def read_limits(instance: JsonObject) -> Mapping[str, int]:
    """Return the limits that the server states in a usable way; the rest stay with the capabilities."""
    found: dict[str, int] = {}
    for name, (*path, last) in _LIMITS:
        value = answers.inner(instance, *path).get(last)
        usable = (
            isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST_LIMIT
        )
        if isinstance(value, int) and usable:
            found.setdefault(name, value)
    return found


def nodeinfo_href(index: JsonObject) -> str:
    """Return the first address in a nodeinfo index; empty if there is none."""
    found = index.get("links")
    first = found[0] if isinstance(found, list) and found else None
    return answers.text_of(first, "href") if isinstance(first, dict) else ""


def kept_language(tag: str) -> str:
    """Return what servers keep of a BCP 47 tag: its ISO 639 part, and of regions only those of Chinese."""
    return _REGIONS.get(tag.lower()) or primary_language(tag)


def primary_language(tag: str) -> str:
    """Return the ISO 639 part of a BCP 47 tag."""
    return tag.partition("-")[0].lower()


def read_published(status: JsonObject) -> Published | None:
    """Return None if the status has no usable id and address."""
    remote_id = answers.id_of(status)
    url = answers.web_url_of(status, "url") or answers.web_url_of(status, "uri")
    if not remote_id or not url:
        return None
    return Published(remote_id=remote_id, url=url, ref=remote_id)


def created_at(status: JsonObject) -> datetime | None:
    return answers.iso_time(answers.text_of(status, "created_at"))


def as_stored(text: str) -> str:
    """Return `text` as servers keep it: they trim it and unify line ends."""
    return text.replace("\r\n", "\n").strip()


def same_place(sent: JsonObject, status: JsonObject) -> bool:
    """Tell whether both reply to the same post, or to none, with as many pictures."""
    return _parent(sent) == _parent(status) and len(_media(sent)) == len(_attachments(status))


def differences(sent: JsonObject, status: JsonObject) -> list[str]:
    """Return codes for all but the text; alternative texts are not in `sent`, they are checked at upload."""
    found = []
    media, attachments = _media(sent), _attachments(status)
    if len(media) != len(attachments):
        found.append("media_count")
    elif media != attachments:
        found.append("media")
    stored, wanted = (answers.text_of(each, "language") for each in (status, sent))
    if primary_language(stored) != primary_language(wanted):
        found.append("language")
    if _parent(sent) != _parent(status):
        found.append("parent")
    if answers.text_of(status, "spoiler_text"):
        found.append("content_warning")
    found += [key for key in ("visibility", "sensitive") if status.get(key) != sent.get(key)]
    return found


def _parent(value: JsonObject) -> str:
    return answers.id_of(value, "in_reply_to_id")


def _media(sent: JsonObject) -> list[str]:
    ids = sent.get("media_ids")
    return [str(item) for item in ids] if isinstance(ids, list) else []


def _attachments(status: JsonObject) -> list[str]:
    found = status.get("media_attachments")
    items = found if isinstance(found, list) else []
    return [answers.id_of(item) if isinstance(item, dict) else "" for item in items]
