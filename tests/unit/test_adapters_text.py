import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import text as subject
from adapters.markup import same_reading, similar_reading, visible_text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("abc", 3),
        ("a\r\nb", 3),
        ("čšž", 3),
        ("c\u030c", 1),  # a letter and its caron
        ("👨‍👩‍👧‍👦", 1),
        ("🇸🇮🇭🇷", 2),
        ("👍🏽", 1),
        ("नमस्ते", 3),
        ("한국", 2),
        ("مرحبا", 5),
        ("e" + "\u0301" * 100_000, 1),
    ],
)
def test_graphemes_are_what_a_person_counts(text: str, count: int) -> None:
    assert subject.graphemes(text) == count


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://mzz.karvenia.example", ["https://mzz.karvenia.example"]),
        ("Glej https://a.example/b, c.", ["https://a.example/b"]),
        ("(https://a.example/b)", ["https://a.example/b"]),
        ("https://a.example/b_(c)", ["https://a.example/b_(c)"]),
        ("„https://a.example/b“", ["https://a.example/b“"]),
        ("»https://a.example/b«, ", ["https://a.example/b«"]),
        ("https://a.example/b?c=d&e=f#g!", ["https://a.example/b?c=d&e=f#g"]),
        ("HTTP://A.EXAMPLE/x", ["HTTP://A.EXAMPLE/x"]),
        ("https://a.example:8443/x", ["https://a.example:8443/x"]),
        ("https://министарство.example/вест", ["https://министарство.example/вест"]),
        ("看https://a.example/b。", ["https://a.example/b"]),
        ("看 https://a.example/b。好", ["https://a.example/b"]),
        ("a.example www.a.example ftp://a.example https:// https://localhost", []),
        ("xhttps://a.example @https://a.example", []),
        ("https://a.example https://b.example/", ["https://a.example", "https://b.example/"]),
        ("[https://a.example/b]", ["https://a.example/b"]),
    ],
)
def test_links_end_where_the_sentence_goes_on(text: str, found: list[str]) -> None:
    assert [text[span.start : span.end] for span in subject.links(text)] == found


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("https://a.example/a/very/long/path/that/goes/on/and/on", 23),
        ("https://a.si", 23),
        ("x https://a.example.", 26),
        ("@mzz@social.karvenia.example", 4),
        ("@mzz", 4),
        ("mail tina@karvenia.example", 26),
        ("https://a.example/@mzz@b.example", 23),
        ("@a.b@c.example!", 5),
    ],
)
def test_mastodon_counts_links_and_mentions_its_own_way(text: str, count: int) -> None:
    assert subject.mastodon_length(text, url_length=23) == count


def test_facets_are_measured_in_bytes() -> None:
    text = "Здраво #конзулат https://a.example/č #2026 ##x a#b #!"
    facets = subject.bluesky_facets(text)
    data = text.encode()
    cut = []
    for facet in facets:
        index = facet["index"]
        assert isinstance(index, dict)
        cut.append(data[index["byteStart"] : index["byteEnd"]].decode())
    assert cut == ["#конзулат", "https://a.example/č"]
    assert facets[0]["features"] == [{"$type": "app.bsky.richtext.facet#tag", "tag": "конзулат"}]
    assert facets[1]["features"] == [
        {"$type": "app.bsky.richtext.facet#link", "uri": "https://a.example/č"}
    ]


def test_a_tag_ends_before_its_punctuation_and_is_no_longer_than_the_server_takes() -> None:
    def tags(text: str) -> list[object]:
        return [facet["features"][0]["tag"] for facet in subject.bluesky_facets(text)]  # type: ignore[index,call-overload]  # known shape

    assert tags("#a, #b!? #c_d #e-f #g.") == ["a", "b", "c_d", "e-f", "g"]
    assert tags("＃konzulat") == ["konzulat"]
    assert tags("#" + "a" * 64) == ["a" * 64]
    assert tags("#" + "a" * 65) == []
    assert tags("#" + "👨‍👩‍👧‍👦" * 40) == []


@given(st.text(max_size=400))
def test_facets_lie_inside_the_text_on_character_borders_and_in_order(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    end = 0
    for facet in subject.bluesky_facets(f"{text} https://a.example/{text} #{text}"):
        whole = f"{text} https://a.example/{text} #{text}".encode("utf-8", "surrogatepass")
        index = facet["index"]
        assert isinstance(index, dict)
        assert end <= index["byteStart"] < index["byteEnd"] <= len(whole)
        whole[: index["byteStart"]].decode("utf-8", "surrogatepass")
        whole[: index["byteEnd"]].decode("utf-8", "surrogatepass")
        end = index["byteEnd"]
    assert subject.utf8_length(text) == len(data)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 2_000_000,
        "@" + "a" * 1_000_000,
        "@a@" * 300_000,
        "https://" * 100_000,
        "https://a" + ".a" * 300_000 + " ",
        "https://a.b/" + ")" * 100_000,
        "https://a.b/" + "(" * 100_000,
        "#" + "!" * 3000,
    ],
)
def test_hostile_text_is_measured_in_linear_time(text: str) -> None:
    started = time.process_time()
    subject.mastodon_length(text, url_length=23)
    list(subject.links(text))
    if len(text) <= 3001:
        subject.bluesky_facets(text)
    assert time.process_time() - started < 4


def test_visible_text_is_what_a_reader_sees() -> None:
    assert visible_text("<p>a &amp; b</p><p>c<br>d</p>") == "\na & b\nc\nd"
    assert visible_text("<p") == "<p"


@pytest.mark.parametrize(
    ("text", "html", "same", "similar"),
    [
        ("a b", "<p>a<br />b</p>", True, True),
        ("a, b", "<p>a b</p>", False, True),
        ("**a** b", "<p><strong>a</strong> b</p>", False, True),
        ("a", "<p>b</p>", False, False),
        ("🎉", "<p>🎊</p>", False, False),
        ("🎉", "<p>🎉</p>", True, True),
        ("", "", True, True),
        ("@mzz@a.example x", "<p>@mzz x</p>", True, True),
    ],
)
def test_readings_are_compared_strictly_or_by_their_words(
    text: str, html: str, same: bool, similar: bool
) -> None:
    assert same_reading(text, html) is same
    assert similar_reading(text, html) is similar
