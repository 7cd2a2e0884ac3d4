import json
import unicodedata
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.text import (
    MAX_TEXT_LENGTH,
    TextBidiError,
    TextControlError,
    TextError,
    TextSurrogateError,
    TextTagError,
    TextTooLargeError,
    check_text,
    hidden_characters,
)

SCENARIO = files("scheduler.practice") / "lipovec.json"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e")


def refuse(text: str) -> TextError:
    with pytest.raises(TextError) as caught:
        check_text(text, "text")
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Dobro jutro iz Lipovca!\n\n\tHvala.",
        "Tina Hočevar",
        unicodedata.normalize("NFD", "Tina Hočevar"),
        "\u2067تعلن السفارة\u2069 ABC \u2066123\u2069",
        "\u2068outer \u2066inner\u2069 text\u2069",
        "عربي\u200e 5\u200f\u061c",
        f"Hello {SCOTLAND} {FAMILY}",
        "a" * MAX_TEXT_LENGTH,
        "e" + "\u0301" * (MAX_TEXT_LENGTH - 1),
    ],
)
def test_what_people_really_write_is_accepted(text: str) -> None:
    check_text(text, "text")


@pytest.mark.parametrize(
    ("text", "error", "code", "offset"),
    [
        ("ab\ud800", TextSurrogateError, "text_surrogate", 2),
        ("\udfffab", TextSurrogateError, "text_surrogate", 0),
        ("a\x00b", TextControlError, "text_control", 1),
        ("a\r\nb", TextControlError, "text_control", 1),
        ("ab\x7f", TextControlError, "text_control", 2),
        ("č\x85", TextControlError, "text_control", 1),
        ("a\u2066b\nc\u2069", TextBidiError, "text_bidi", 1),
        ("a\u2066b\u2029c\u2069", TextBidiError, "text_bidi", 1),
        ("a\u2067b", TextBidiError, "text_bidi", 1),
        ("\u2066\u2067a\u2069", TextBidiError, "text_bidi", 0),
        ("a\u2069", TextBidiError, "text_bidi", 1),
        ("a\u2066b\u2069\u2069", TextBidiError, "text_bidi", 4),
        ("a\U000e0041", TextTagError, "text_tag", 1),
        (SCOTLAND + "\U000e0067", TextTagError, "text_tag", 7),
        ("\U0001f3f4\U000e0067\U000e0062", TextTagError, "text_tag", 1),
        ("\U0001f3f4" + "\U000e0061" * 7 + "\U000e007f", TextTagError, "text_tag", 1),
    ]
    + [(f"a{char}b", TextBidiError, "text_bidi", 1) for char in sorted(OVERRIDES)],
)
def test_a_refused_character_is_named_with_its_place(
    text: str, error: type[TextError], code: str, offset: int
) -> None:
    caught = refuse(text)
    assert type(caught) is error
    assert caught.code == code
    assert caught.details == {
        "field": "text",
        "offset": offset,
        "code_point": f"U+{ord(text[offset]):04X}",
    }


def test_a_text_over_the_limit_is_refused_before_it_is_searched() -> None:
    caught = refuse("\x00" + "\u0301" * 10**6)
    assert type(caught) is TextTooLargeError
    assert caught.code == "text_too_large"
    assert caught.details == {"field": "text", "length": 10**6 + 1}


def test_a_newline_between_balanced_isolates_is_accepted() -> None:
    check_text("\u2066a\u2069\n\u2067b\u2069", "text")


def test_of_the_scenario_only_the_text_with_an_override_is_refused() -> None:
    texts = [post["text"] for post in json.loads(SCENARIO.read_text("utf-8"))["posts"]]
    refused = [text for text in texts if not passes(text)]
    assert len(texts) == 122
    assert refused == [text for text in texts if OVERRIDES & set(text)]
    assert len(refused) == 1


def test_hidden_characters_are_found_with_their_names() -> None:
    spans = hidden_characters("Li\u200bpo\u00a0vec \u00ad\u202e\ufffe\ud800")
    assert [(span.start, span.end, span.name) for span in spans] == [
        (2, 3, "ZERO WIDTH SPACE"),
        (5, 6, "NO-BREAK SPACE"),
        (10, 11, "SOFT HYPHEN"),
        (11, 12, "RIGHT-TO-LEFT OVERRIDE"),
        (12, 13, "U+FFFE"),
        (13, 14, "U+D800"),
    ]
    assert spans[0].character == "\u200b"


def test_a_run_of_one_hidden_character_is_one_span() -> None:
    spans = hidden_characters("a\u200b\u200b\u200bb\u200b\u200c\u200c")
    assert [(span.start, span.end) for span in spans] == [(1, 4), (5, 6), (6, 8)]


@pytest.mark.parametrize(
    "text", [FAMILY, SCOTLAND, "❤\ufe0f", "1\ufe0f\u20e3", "👩🏽\u200d🚀", "a b\n\tc"]
)
def test_joiners_that_an_emoji_needs_are_not_hidden(text: str) -> None:
    assert hidden_characters(text) == ()


@pytest.mark.parametrize(
    "character",
    [
        "\u200b",
        "\u200c",
        "\u200d",
        "\u200e",
        "\u200f",
        "\u2060",
        "\u2066",
        "\u2800",
        "\u3000",
        "\u3164",
        "\ufeff",
        "\ufe0f",
        "\u034f",
        "\u2028",
        "\U000e0041",
        "\U000e0100",
    ],
)
def test_every_family_of_hidden_characters_is_marked(character: str) -> None:
    assert [span.start for span in hidden_characters(f"a{character}b")] == [1]


def passes(text: str) -> bool:
    try:
        check_text(text, "text")
    except TextError:
        return False
    return True


@given(st.text(st.characters(), max_size=60))
def test_what_passes_holds_nothing_that_is_refused(text: str) -> None:
    hidden_characters(text)
    if passes(text):
        assert not OVERRIDES & set(text)
        assert text.encode().decode() == text
        assert all(char in "\n\t" for char in text if unicodedata.category(char) == "Cc")


@given(st.text(st.sampled_from("a\n\u2029\u2066\u2067\u2068\u2069"), max_size=12))
def test_isolates_pass_only_when_they_are_balanced_in_each_paragraph(text: str) -> None:
    def is_balanced(paragraph: str) -> bool:
        depth = 0
        for char in paragraph:
            depth += {"\u2069": -1, "a": 0}.get(char, 1)
            if depth < 0:
                return False
        return depth == 0

    paragraphs = text.replace("\u2029", "\n").split("\n")
    assert passes(text) == all(is_balanced(paragraph) for paragraph in paragraphs)
