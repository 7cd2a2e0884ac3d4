import json
from importlib.resources import files

import pytest

from scheduler.policy.evaluation import PostFacts, evaluate
from scheduler.policy.rules import Effect, Policy

SCENARIO = files("scheduler.practice") / "lipovec.json"


def load(name: str) -> Policy:
    package = "scheduler.policy" if name == "default.toml" else "scheduler.practice"
    return Policy.parse((files(package) / name).read_bytes())


def rules_of(policy: Policy, post_class: str, language: str, text: str) -> list[str]:
    findings = evaluate(policy, PostFacts.of(post_class, {language: text}))
    return [f"{finding.rule} {finding.effect}" for finding in findings]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Dobro jutro iz Lipovca! https://mzz.karvenia.example/teden-12", []),
        ("The concert is on Friday, place TBC.", ["text.to_be_confirmed warn"]),
        ("Lorem ipsum dolor", ["text.unfinished block"]),
        ("Dear [Name], welcome.", ["text.unfinished block"]),
        ("NOT FOR PUBLICATION: visit of Petra Zorc", ["text.internal_marking block"]),
        ("See http://mzz.karvenia.example/a", ["link.insecure warn"]),
    ],
)
def test_the_policy_of_a_new_installation_finds_slips_only(text: str, found: list[str]) -> None:
    assert rules_of(load("default.toml"), "routine", "en", text) == found


@pytest.mark.parametrize(
    ("post_class", "language", "text", "found"),
    [
        ("routine", "en", "Great to be back in Kiev", ["term.toponyms.kyiv block"]),
        ("routine", "en", "Dynamo Kiev and chicken Kiev in Kyiv", []),
        ("routine", "en", "Odessa and Odessa, Texas", ["term.toponyms.odesa block"]),
        ("routine", "en", "The North Macedonian language", ["term.north_macedonia block"]),
        ("routine", "en", "Albania, Kosovo* and Montenegro", []),
        ("routine", "en", "Albania, Kosovo and Montenegro", ["term.kosovo_designation require"]),
        ("routine", "ka", "აფხაზეთისა და ცხინვალის", ["term.disputed_territory require"] * 2),
        ("event", "sl", "Jutri ob petih!", ["time.relative_day warn"]),
        ("routine", "sl", "Jutri ob petih!", []),
        ("consular_alert", "sl", "Potres v obmorskem mestu!", ["consular.alert_phone block"]),
        ("consular_alert", "sl", "Klicni center: +999 20 555 0100", []),
    ],
)
def test_the_practice_policy_finds_what_the_ministry_forbids(
    post_class: str, language: str, text: str, found: list[str]
) -> None:
    assert rules_of(load("policy.toml"), post_class, language, text) == found


@pytest.mark.parametrize("name", ["default.toml", "policy.toml"])
def test_no_published_post_of_the_practice_ministry_is_blocked(name: str) -> None:
    policy = load(name)
    posts = [
        post
        for post in json.loads(SCENARIO.read_text("utf-8"))["posts"]
        if post["ministry"] == "krv" and post["expect"]["final"] == "published"
    ]
    assert len(posts) == 42
    for post in posts:
        findings = evaluate(policy, PostFacts.of(post["cls"], {post["lang"]: post["text"]}))
        assert not [each for each in findings if each.effect is not Effect.WARN], post["id"]
