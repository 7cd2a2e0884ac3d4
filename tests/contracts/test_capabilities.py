"""What platforms can carry: data for all of the plan, and texts counted as each of them counts."""

import json

import pytest

from adapters.capabilities import PLATFORMS, fits, measure
from adapters.registry import PLATFORMS as ADAPTERS
from scheduler.practice.scenario import DEFAULT_FILE


def test_every_platform_of_the_plan_is_there_and_the_adapters_use_the_same_data() -> None:
    assert len(PLATFORMS) == 11
    for adapter in ADAPTERS:
        assert PLATFORMS[adapter.platform] is adapter.capabilities


@pytest.mark.parametrize(
    ("platform", "text", "used"),
    [
        ("x", "Kyiv https://mzz.karvenia.example/en/a-long-address", 28),
        ("x", "დილა მშვიდობისა", 15),
        ("x", "外交部", 6),
        ("x", "👨‍👩‍👧‍👦 e\u0301", 4),
        ("mastodon", "@hq@social.karvenia.example https://mzz.karvenia.example", 27),
        ("bluesky", "👨‍👩‍👧‍👦 e\u0301", 3),
        ("threads", "Sejem 🎪", 10),
        ("telegram", "Sejem 🎪", 8),
        ("youtube", "Kosilo ob poldne č", 19),
        ("facebook", "e\u0301", 2),
        ("linkedin", "Lipovec", 7),
    ],
)
def test_a_text_is_counted_as_the_platform_counts(platform: str, text: str, used: int) -> None:
    assert measure(PLATFORMS[platform], text).used == used


@pytest.mark.parametrize(("platform", "unit"), [("x", "外"), ("bluesky", "a"), ("youtube", "č")])
def test_a_text_fits_up_to_its_limit(platform: str, unit: str) -> None:
    length = measure(PLATFORMS[platform], unit)
    most = length.limit // length.used
    assert fits(platform, unit * most)
    assert not fits(platform, unit * (most + 1))


def test_bytes_count_too() -> None:
    assert fits("bluesky", "👩" * 300)
    assert not fits("bluesky", "👨‍👩‍👧‍👦" * 121)


def test_a_platform_that_is_not_in_the_plan_is_not_judged() -> None:
    assert fits("carrier-pigeon", "Good morning!" * 1000)


def test_texts_of_the_practice_scenario_are_as_long_as_it_says() -> None:
    """But for Bluesky: the file counts a link as 30, which its app shows; the server counts all of it."""
    wrong = []
    for post in json.loads(DEFAULT_FILE.read_text())["posts"]:
        parts = [post["text"], *post.get("thread", ())]
        for platform, expected in post.get("lengths", {}).items():
            if platform == "bluesky":
                continue
            longest = max(measure(PLATFORMS[platform], part).used for part in parts)
            if longest != expected:
                wrong.append((post["id"], platform, longest, expected))
    assert wrong == []
