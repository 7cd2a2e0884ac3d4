"""How Mastodon counts the length of a text and turns it into HTML."""

import html
from typing import Final

import regex

from scheduler.practice.graphemes import count_graphemes

MAX_CHARACTERS: Final = 500
URL_LENGTH: Final = 23

_URL = r"(?<![\w@/.])https?://[^\s<>\"'“”«»]*[^\s<>\"'“”«».,:;!?)\]}…]"
_TAG = r"(?<![\w/&])#(?P<tag>[\p{L}\p{M}\p{N}_]*[\p{L}\p{M}_][\p{L}\p{M}\p{N}_]*)"
_MENTION = (
    r"(?<![=/\w])@(?P<user>[a-zA-Z0-9_]+(?:[a-zA-Z0-9_.-]+[a-zA-Z0-9_]+)?)(?P<domain>@[\w.-]*\w)?"
)
_ENTITY: Final = regex.compile(f"(?P<url>{_URL})|{_TAG}|{_MENTION}")


def count(text: str, *, spoiler: str = "") -> int:
    """Grapheme clusters of warning and text, where a link is 23 long and the domain of a mention is free."""
    return count_graphemes(spoiler + _ENTITY.sub(_countable, text))


def _countable(found: "regex.Match[str]") -> str:
    if found["url"]:
        return "x" * URL_LENGTH
    return f"@{found['user']}" if found["user"] else found[0]


def tags(text: str) -> list[str]:
    """Hashtags in their order, without `#`, each once."""
    found = (match["tag"].lower() for match in _ENTITY.finditer(text) if match["tag"])
    return list(dict.fromkeys(found))


def to_html(text: str, *, origin: str) -> str:
    if not text:
        return ""
    paragraphs = regex.split(r"\n{2,}", text.replace("\r\n", "\n"))
    return "".join(
        f"<p>{_inline(paragraph, origin).replace(chr(10), '<br />')}</p>"
        for paragraph in paragraphs
    )


def _inline(text: str, origin: str) -> str:
    pieces: list[str] = []
    end = 0
    for found in _ENTITY.finditer(text):
        pieces += [html.escape(text[end : found.start()], quote=False), _entity(found, origin)]
        end = found.end()
    pieces.append(html.escape(text[end:], quote=False))
    return "".join(pieces)


def _entity(found: "regex.Match[str]", origin: str) -> str:
    if found["url"]:
        return _link(found["url"])
    if found["tag"]:
        tag = html.escape(found["tag"])
        return (
            f'<a href="{origin}/tags/{tag.lower()}" class="mention hashtag" rel="tag">'
            f"#<span>{tag}</span></a>"
        )
    return html.escape(found[0])  # mentions of accounts that are not here stay text


def _link(url: str) -> str:
    """The scheme and everything after 30 characters are in the text, but not shown."""
    scheme, _, rest = url.partition("://")
    shown, hidden = html.escape(rest[:30]), html.escape(rest[30:])
    return (
        f'<a href="{html.escape(url)}" target="_blank" rel="nofollow noopener" translate="no">'
        f'<span class="invisible">{scheme}://</span>'
        f'<span class="{"ellipsis" if hidden else ""}">{shown}</span>'
        f'<span class="invisible">{hidden}</span></a>'
    )
