"""What is found in texts of many scripts."""

import pytest

from scheduler.domain.text import MAX_TEXT_LENGTH
from scheduler.policy import tokens
from scheduler.policy.lists import is_near


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("See https://mzz.karvenia.example/en.", ["mzz.karvenia.example"]),
        ("See http://user@Un.Example:80/x", ["un.example"]),
        ("short.example/2xYz and a.b", ["short.example"]),
        ("write to a@mzz.karvenia.example/x", []),
        ("https://mzz.karvenia.example/cairo/منح end", ["mzz.karvenia.example"]),
    ],
)
def test_links_have_their_host(text: str, hosts: list[str]) -> None:
    assert [token.parts["host"] for token in tokens.find_links(text)] == hosts


@pytest.mark.parametrize(
    ("text", "cased", "apart"),
    [
        ("#LipovecForum", True, True),
        ("#lipovecforum", True, False),
        ("#ლიპოვეცისფორუმი", False, False),
        ("#ᲗᲐᲛᲐᲠᲔᲗᲘ", False, True),
        ("#الشباب_من_أجل_السلام", False, True),
    ],
)
def test_hashtags_know_whether_their_script_has_capitals(
    text: str, cased: bool, apart: bool
) -> None:
    [token] = tokens.find_hashtags(text)
    assert token.text == text
    assert token.parts["cased"] is cased
    if cased:
        assert token.parts["apart"] is apart


@pytest.mark.parametrize(
    ("platform", "names"),
    [("x", ["mfa"]), ("bluesky", ["mfa.karvenia.example"]), ("mastodon", ["mfa.karvenia.example"])],
)
def test_a_mention_is_what_the_platform_reads(platform: str, names: list[str]) -> None:
    found = tokens.find_mentions("Thanks @mfa.karvenia.example!", platform)
    assert [token.parts["name"] for token in found] == names


@pytest.mark.parametrize(
    ("text", "placed"),
    [
        ("Doors open at six. 🎶", [True]),
        ("A 🎶 evening", [False]),
        ("Thanks 🎉🎶 #LipovecForum https://un.example", [True, True]),
        ("Quiz! 🎉😂 Who wins?", [True, True]),
        ("🏴󠁧󠁢󠁷󠁬󠁳󠁿 first", [False]),
        ("Families 👩‍👧 meet", [False]),
        ("© 2027", []),
    ],
)
def test_emoji_are_counted_by_grapheme_and_by_place(text: str, placed: list[bool]) -> None:
    assert [token.parts["placed"] for token in tokens.find_emoji(text)] == placed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("One two. Three!", [2, 1]),
        ("Am 30. März um zehn.", [5]),
        ("გვიან. ხვალ მოდით.", [1, 2]),
        ("See https://un.example/a.b.c now", [2]),
        ("お知らせ。休みます。", [1, 1]),
    ],
)
def test_sentences_end_where_people_end_them(text: str, words: list[int]) -> None:
    assert [token.parts["words"] for token in tokens.find_sentences(text)] == words


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("10:00–12:30", ["10:00", "12:30"]),
        ("um 10 Uhr", ["10 Uhr"]),
        ("à 9 h 00", ["9 h 00"]),
        ("at 5!", ["5"]),
        ("at 5 embassies", []),
        ("2:1 won, 1.5 million", []),
    ],
)
def test_clock_times_are_told_from_numbers(text: str, times: list[str]) -> None:
    assert [token.text for token in tokens.find_times(text)] == times


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("@K\u0430rveniaJP", ["mixed_script"]),
        ("https://un.example/\u202eswen", ["bidi"]),
        ("a\u200bb", ["invisible"]),
        ("👩‍👧 and نمی\u200cخواهم", []),
        ("Kyiv і Київ", []),
    ],
)
def test_dangerous_characters_are_found_and_needed_ones_are_not(
    text: str, kinds: list[str]
) -> None:
    assert [token.parts["kind"] for token in tokens.find_suspects(text)] == kinds


def test_numbers_are_the_same_in_every_notation() -> None:
    assert tokens.find_numbers("2,4 milijona, 18. marca 2027") == ["2.4", "18", "2027"]
    assert tokens.find_numbers("EUR 2.4 million, 1,200 people, ٣ at 10:00, +999 20 555 0100") == [
        "2.4",
        "1200",
        "3",
    ]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("#Forumm", True),
        ("#Forun", True),
        ("#Fourm", True),
        ("#Foru", True),
        ("#FORUM", False),
        ("#Forms", False),
    ],
)
def test_a_typo_is_one_step_away(name: str, near: bool) -> None:
    assert is_near(name, {"#forum"}) is near


NASTY = (
    "a",
    "a-",
    "a.",
    ".",
    "@a",
    "a@",
    "1,",
    "+1 ",
    "🎉 a ",
    "\u200b",
    "\u202e",
    "\u0301",
    "10:00 ",
    "AB ",
    "#a ",
    "?!",
    "“",
    "https://a.b/.",
)


@pytest.mark.parametrize("piece", NASTY)
def test_the_longest_text_is_read_whatever_it_repeats(piece: str) -> None:
    """Work that grew with the square of the text would not end within the time that a test has."""
    text = piece * (MAX_TEXT_LENGTH // len(piece) - 1) + "x"
    for find in (
        tokens.find_links,
        tokens.find_hashtags,
        tokens.find_emails,
        tokens.find_phones,
        tokens.find_emoji,
        tokens.find_sentences,
        tokens.find_times,
        tokens.find_acronyms,
        tokens.find_suspects,
        tokens.find_numbers,
    ):
        assert len(list(find(text))) <= len(text)
