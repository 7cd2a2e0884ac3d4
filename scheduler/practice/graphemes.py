"""Length as people see it: extended grapheme clusters, Unicode Standard Annex 29."""

from typing import Final

import regex

_CLUSTER: Final = regex.compile(r"\X")


def count_graphemes(text: str) -> int:
    return sum(1 for _ in _CLUSTER.finditer(text))
