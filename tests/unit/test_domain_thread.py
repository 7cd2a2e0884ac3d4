import re
from collections.abc import Callable

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.thread import ThreadWordTooLongError, split_thread

SLOVENIAN = (
    "Dobro jutro iz Lipovca! Ta teden: v torek, 30. marca, vaja. V petek novi termini.\n"
    "Več pove Tina Hočevar.\n\nPo praznikih: https://mzz.karvenia.example/teden-12?a=1,2 @MZZ_Karvenija"
)
ARABIC = "تعلن سفارة كارفينيا في القاهرة عن فتح باب التقديم للمنح الدراسية. هل لديكم أسئلة؟ اكتبوا لنا على https://mzz.karvenia.example/cairo/منح اليوم."
JAPANESE = "大使館からのお知らせ：4月2日（金）は国民追悼の日のため、窓口業務を休みます。緊急の方は+999 20 555 0100へ（24時間）。詳細は「https://mzz.karvenia.example/東京案内」をご覧ください。@KarveniaJPにどうぞ。"
GEORGIAN = (
    "ლიპოვეცის ფორუმი იხსნება სამშაბათს. გელოდებით ყველას! კითხვები გამოგვიგზავნეთ დღესვე. მადლობა."
)
THAI = "สถานทูตคาร์เวเนียแจ้งปิดทำการวันศุกร์ที่สองเมษายนเนื่องในวันไว้อาลัยแห่งชาติ"

LINK = "https://mzz.karvenia.example/a/b?c=d"
WORDS = st.sampled_from(
    ["Lipovec", "forum.", "Hvala!", "30.", "marca", "»Ja.«", LINK, "@MZZ_Karvenija", "@petra@social.karvenia.example",
     "#LipovškiForum", "e\u0301te\u0301", "👨\u200d👩\u200d👧", "القاهرة", "؟", "ფორუმი.", "10\u00a0h", "東京", "です。", "カード", "ไทย"]
)  # fmt: skip
GAPS = st.sampled_from([" ", " ", " ", "  ", "\n", "\n\n", " \n \n", "\t", "\u3000"])
TEXTS = st.lists(st.tuples(WORDS, GAPS)).map(lambda pairs: "".join(w + g for w, g in pairs))


def at_most(limit: int) -> Callable[[str], bool]:
    return lambda part: len(part) <= limit


def visible(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_a_text_that_fits_is_one_part_as_it_was_written() -> None:
    assert split_thread(f" \n{SLOVENIAN}\n", at_most(len(SLOVENIAN))) == (SLOVENIAN,)


@pytest.mark.parametrize("text", ["", " ", "\n\n\t"])
def test_a_blank_text_has_no_parts(text: str) -> None:
    assert split_thread(text, at_most(0)) == ()


def test_paragraphs_are_cut_before_lines_and_lines_before_sentences() -> None:
    assert split_thread(SLOVENIAN, at_most(110)) == tuple(SLOVENIAN.split("\n\n"))
    assert split_thread(SLOVENIAN, at_most(90))[:2] == tuple(SLOVENIAN.split("\n")[:2])


def test_sentences_are_cut_before_words() -> None:
    assert split_thread("Ena dve. Tri štiri pet. Šest!", at_most(20)) == (
        "Ena dve.",
        "Tri štiri pet. Šest!",
    )
    assert split_thread("ena dve tri štiri", at_most(8)) == ("ena dve", "tri", "štiri")


@pytest.mark.parametrize(
    ("text", "limit", "first"),
    [
        (
            "Vaja je 30. Marca gremo",
            15,
            "Vaja je 30.",
        ),  # a point after a number does not end a sentence
        ("Ura npr. deset je prava", 13, "Ura npr."),  # nor one before a small letter
        ("»Je res?« Da, je res tako.", 17, "»Je res?«"),
        ("ეს კარგია. ეს სხვა წინადადებაა", 20, "ეს კარგია."),
        ("Ali greš? ne vem še prav", 18, "Ali greš? ne vem"),
    ],
)
def test_the_end_of_a_sentence_is_known_by_what_surrounds_it(
    text: str, limit: int, first: str
) -> None:
    assert split_thread(text, at_most(limit))[0] == first


def test_a_number_with_a_point_is_not_taken_for_the_end_of_a_sentence() -> None:
    assert split_thread("Konec. Vaja bo 30. Marca v Lipovcu", at_most(20))[0] == "Konec."


def test_japanese_is_cut_at_sentences_then_clauses_then_letters() -> None:
    assert split_thread("今日は晴れ。明日は雨。", at_most(7)) == ("今日は晴れ。", "明日は雨。")
    assert split_thread("今日は晴れ、明日は雨です", at_most(7)) == ("今日は晴れ、", "明日は雨です")
    assert split_thread("今日は晴れ", at_most(3)) == ("今日は", "晴れ")


def test_no_part_starts_with_a_closing_mark_or_a_lengthened_kana() -> None:
    assert split_thread("あいう。", at_most(3)) == ("あい", "う。")
    assert split_thread("あカードう", at_most(2)) == ("あ", "カー", "ドう")
    assert split_thread("あい（う）", at_most(3)) == ("あい", "（う）")


@pytest.mark.parametrize(
    "whole",
    [
        LINK,
        "https://mzz.karvenia.example/東京案内",
        "mzz.karvenia.example/東京",
        "@KarveniaJP",
        "@petra@例え.example",
        "#東京フォーラム",
        "＃東京",
    ],
)
def test_links_mentions_and_hashtags_stay_whole_beside_letters_without_spaces(whole: str) -> None:
    text = f"あい、{whole}。かきく"
    assert any(whole in part for part in split_thread(text, at_most(len(whole) + 1)))
    with pytest.raises(ThreadWordTooLongError):
        split_thread(text, at_most(len(whole) - 1))


def test_a_no_break_space_holds_its_words_together() -> None:
    assert split_thread("ob 10\u00a0h danes", at_most(6)) == ("ob", "10\u00a0h", "danes")


def test_a_space_that_carries_an_accent_is_a_letter() -> None:
    assert split_thread(" \u0301a b", at_most(3)) == (" \u0301a", "b")


@pytest.mark.parametrize(
    "text", ["Lipovec", LINK, "a Lipovec", "東京 @MZZ_Karvenija", "👨\u200d👩\u200d👧\u200d👦"]
)
def test_a_word_that_fits_no_part_is_refused(text: str) -> None:
    with pytest.raises(ThreadWordTooLongError) as caught:
        split_thread(text, at_most(6))
    assert caught.value.code == "thread_word_too_long"
    assert text[caught.value.details["offset"] :].startswith(caught.value.details["word"])


@pytest.mark.parametrize("text", [SLOVENIAN, ARABIC, GEORGIAN])
@pytest.mark.parametrize("limit", [60, 70, 100, 280])
def test_no_word_of_a_real_text_is_lost(text: str, limit: int) -> None:
    parts = split_thread(text, at_most(limit))
    assert all(len(part) <= limit for part in parts)
    assert " ".join(parts).split() == text.split()


@pytest.mark.parametrize("text", [JAPANESE, THAI])
@pytest.mark.parametrize("limit", [40, 50, 70])
def test_a_text_without_spaces_is_cut_and_nothing_of_it_is_lost(text: str, limit: int) -> None:
    parts = split_thread(text, at_most(limit))
    assert len(parts) > 1
    assert all(len(part) <= limit for part in parts)
    assert visible("".join(parts)) == visible(text)


def test_a_text_near_the_limit_is_cut_in_few_probes() -> None:
    probed = 0

    def fits(part: str) -> bool:
        nonlocal probed
        probed += len(part)
        return len(part) <= 500

    parts = split_thread("beseda " * 14_000, fits)
    assert len(parts) == 98_000 // 497 + 1
    assert probed < 98_000 * 12


def split(text: str, limit: int) -> tuple[str, ...] | None:
    try:
        return split_thread(text, at_most(limit))
    except ThreadWordTooLongError:
        return None


@given(TEXTS, st.integers(1, 80))
def test_parts_fit_and_are_slices_in_order_that_lose_only_white_space(
    text: str, limit: int
) -> None:
    parts = split(text, limit)
    if parts is None:
        assert limit < max(len(LINK), *map(len, text.split()))
        return
    position = 0
    for part in parts:
        assert 0 < len(part) <= limit
        start = text.index(part, position)
        assert not text[position:start].strip()
        position = start + len(part)
    assert not text[position:].strip()
    for whole in (LINK, "@MZZ_Karvenija", "@petra@social.karvenia.example", "#LipovškiForum"):
        assert sum(part.count(whole) for part in parts) == text.count(whole)


@given(st.text(), st.integers(1, 30))
def test_no_grapheme_of_any_text_is_cut(text: str, limit: int) -> None:
    edges = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    position = 0
    for part in split(text, limit) or ():
        start = text.index(part, position)
        position = start + len(part)
        assert {start, position} <= edges
