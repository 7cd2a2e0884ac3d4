import unicodedata

import pytest
import re2
from hypothesis import assume, given
from hypothesis import strategies as st

from scheduler.policy.matching import (
    GROUP_SIZE,
    MAX_HITS,
    Matcher,
    Needle,
    PatternError,
    fold,
    folds,
)


def find_term(term: str, text: str) -> list[tuple[int, int]]:
    return list(Needle(term, is_term=True).find(fold(text)))


def find_pattern(pattern: str, text: str) -> list[tuple[int, int]]:
    return list(Needle(pattern, is_term=False).find(fold(text)))


@pytest.mark.parametrize(
    ("term", "text", "spans"),
    [
        ("Kiev", "Back in Kiev, kiev and KIEV.", [(8, 12), (14, 18), (23, 27)]),
        ("Kiev", "Kievan and MyKiev and Kiev2 and Kiev_a and éKiev", []),
        ("Крим", "Криму, але КРИМ!", [(11, 15)]),
        ("ლიპოვეცი", "ᲚᲘᲞᲝᲕᲔᲪᲘ", [(0, 8)]),
        ("明日", "明日", [(0, 2)]),
        ("izjava*", "izjave, IZJAVO, izjav in izjavljanje", [(0, 6), (8, 14), (16, 21)]),
        ("Crimea*", "Crimea’s, Crimean; crime, crimes, Crimes", [(0, 8), (10, 17)]),
        ("Крим*", "Криму та кримінал, Кримінальний", [(0, 5)]),
        ("აფხაზეთი*", "აფხაზეთისა და აფხაზეთს", [(0, 10), (14, 22)]),
        ("#OpenCables", "see#OpenCables", [(3, 14)]),
        ("F.Y.R.O.M.", "the F.Y.R.O.M. and FxYxRxOxMx", [(4, 14)]),
        ("the Ukraine", "the  Ukraine, the\nUkraine, the\u00a0Ukraine", [(0, 12), (14, 25), (27, 38)]),
        ("a b a", "xa b a b a", [(5, 10)]),  # a failed border hides no later occurrence
        ("a b a", "a b a b a", [(0, 5), (4, 9)]),
        ("Türkiye", unicodedata.normalize("NFD", "In Türkiye."), [(3, 11)]),
        (unicodedata.normalize("NFD", "Türkiye"), "In Türkiye.", [(3, 10)]),
        ("Kiev", "in Ki\u200be\u00adv!", [(3, 9)]),
        ("Kiev", "in\u200bKiev\u200cx", [(3, 7)]),
        ("Kiev", "Kiev\u200b\u0301", []),
        ("Kiev", "\ud800Kiev\udfff", [(1, 5)]),
        ("Kiev", "Kiev\u0301", []),
        ("کتاب", "کتاب\u200cها", [(0, 4)]),
        ("한국", unicodedata.normalize("NFD", "한국"), [(0, 6)]),
        ("Kiev", "in Ｋiev, ｋｉｅｖ and 𝐊𝐢𝐞𝐯!", [(3, 7), (9, 13), (18, 22)]),
        ("Kiev", "Ｋｉｅｖan, MyＫiev", []),
        ("Kiev", "K\u200bｉev", [(0, 5)]),
        ("Kiev", "Kiev™ and Kiev² and Ⓚiev", [(0, 4), (20, 24)]),
        ("office", "the oﬃce, Oﬃce", [(4, 8), (10, 14)]),
        ("fi", "ﬁ ﬁn", [(0, 1)]),
        ("Nr. 5", "Nr．\u3000５", [(0, 5)]),
        ("カード", "ｶｰﾄﾞ", [(0, 4)]),
        ("ლიპოვეცი", "ლიპოვეცი და ლიპოვეციდან", [(0, 8)]),
    ],
)  # fmt: skip
def test_a_term_is_found_as_a_whole_word_however_it_is_written(
    term: str, text: str, spans: list[tuple[int, int]]
) -> None:
    assert find_term(term, text) == spans


def test_folding_changes_no_georgian_letter_and_no_case() -> None:
    for text in ("ლიპოვეცი", "ᲚᲘᲞᲝᲕᲔᲪᲘ", "ႠႡႢ ⴀⴁⴂ", "KIEV Крим ΣΊΣΥΦΟΣ straße İstanbul"):
        assert fold(text).text == text


def test_signs_are_also_searched_as_they_were_written() -> None:
    read, written = folds("№ 5")
    assert (read.text, written.text) == ("No 5", "№ 5")
    assert list(Needle(r"№ \d", is_term=False).find(written)) == [(0, 3)]
    assert len(folds("Kiev")) == 1
    assert len(folds("Türkiye…")) == 2


def test_a_pattern_is_found_as_it_is_written_in_any_case() -> None:
    assert find_pattern(r"visa[- ]free", "Visa-free, VISA FREE, visafree") == [(0, 9), (11, 20)]
    assert find_pattern(r"(?-i)Kiev", "kiev Kiev") == [(5, 9)]
    assert find_pattern(r"č+", "aččbč") == [(1, 3), (4, 5)]


def test_an_empty_match_of_a_pattern_is_passed_over() -> None:
    assert find_pattern(r"a|^\b", "b a") == [(2, 3)]


@pytest.mark.parametrize(
    "pattern", ["(", r"(?=a)", r"\1", "a{5000}", "a*", "^", r"\b|x", r"\C", r"\\\C"]
)
def test_a_pattern_that_cannot_be_trusted_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        Needle(pattern, is_term=False)


@pytest.mark.parametrize("term", ["", " ", "\u200b", "\u00ad \u200d"])
def test_a_term_that_nobody_sees_is_refused(term: str) -> None:
    with pytest.raises(PatternError):
        Needle(term, is_term=True)


def test_a_term_is_never_read_as_a_pattern() -> None:
    assert find_term(r"a.c\C(", r"abc a.c\C(") == [(4, 10)]


def test_all_needles_are_searched_across_groups() -> None:
    needles = [Needle(f"word{number}", is_term=True) for number in range(GROUP_SIZE + 2)]
    text = f"word0 word7 word{GROUP_SIZE - 1} word{GROUP_SIZE} word{GROUP_SIZE + 1} word{GROUP_SIZE + 2}"
    assert list(Matcher(needles).find(fold(text))) == [
        0,
        7,
        GROUP_SIZE - 1,
        GROUP_SIZE,
        GROUP_SIZE + 1,
    ]
    assert Matcher([]).find(fold(text)) == {}


def test_a_candidate_without_a_whole_word_is_no_hit() -> None:
    assert Matcher([Needle("Kiev", is_term=True)]).find(fold("Kievan")) == {}


def test_hits_of_one_needle_are_bounded() -> None:
    hits = Matcher([Needle("a", is_term=True)]).find(fold("a " * 1_000))
    assert len(hits[0]) == MAX_HITS


def test_a_combined_search_that_failed_is_replaced_by_single_ones() -> None:
    matcher = Matcher([Needle("Kiev", is_term=True), Needle("Odessa", is_term=True)])
    silent = re2.Set.SearchSet(re2.Options())
    silent.Add("never")
    silent.Compile()
    assert list(matcher._find_candidates(silent, 0, b"Kiev")) == [0, 1]


def test_needles_that_do_not_fit_in_memory_are_refused() -> None:
    with pytest.raises(PatternError, match="too long together"):
        Matcher([Needle("Kiev", is_term=True)], memory_bytes=1_000)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1), st.text(), st.text())
def test_a_term_is_found_between_any_spaces(term: str, before: str, after: str) -> None:
    try:
        needle = Needle(term, is_term=True)
    except PatternError:
        assume(False)
    text = f"{before} . {term} . {after}"
    place = (len(before) + 3, len(before) + 3 + len(term))
    assert any(place[0] <= end and start <= place[1] for start, end in needle.find(fold(text)))


@given(st.text(st.characters()))
def test_folding_any_text_leads_back_into_it(text: str) -> None:
    folded = fold(text)
    for offset in range(len(folded.text)):
        start, end = folded.original(offset, offset + 1)
        assert 0 <= start < end <= len(text)
        folded.is_boundary(offset)
