"""The text a person reads in an HTML fragment, for comparing a published post with the approved text."""

import re
from html.parser import HTMLParser
from typing import Final

from adapters.text import without_mention_hosts

_SPACE: Final = re.compile(r"\s+")
_NO_WORD: Final = re.compile(r"[\W_]+")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in {"br", "p"}:
            self.pieces.append("\n")


def visible_text(html: str) -> str:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return "".join(reader.pieces)


def same_reading(text: str, html: str) -> bool:
    """Tell whether `html` shows `text`, apart from white space and the hosts of mentions."""
    return _reading(text) == _reading(visible_text(html))


def similar_reading(text: str, html: str) -> bool:
    """Tell whether `html` may show `text`: its letters and digits agree, where it has any."""
    ours, theirs = _reading(text), _reading(visible_text(html))
    return ours == theirs or _words(ours) == _words(theirs) != ""


def _reading(text: str) -> str:
    return _SPACE.sub("", without_mention_hosts(text))


def _words(text: str) -> str:
    return _NO_WORD.sub("", text).casefold()
