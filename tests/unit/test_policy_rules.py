import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import InvalidError
from scheduler.policy.rules import (
    MAX_FILE_BYTES,
    MAX_RULES,
    Effect,
    Kind,
    Policy,
    PolicyInvalidError,
    Rule,
)

HEAD = 'format = 1\nversion = "2027.03.1"\n'


def rule(**changes: object) -> str:
    keys: dict[str, object] = {
        "id": "term.kyiv",
        "effect": "block",
        "kind": "blocked_term",
        "terms": ["Kiev"],
        "message": "Ukrainian places carry their Ukrainian names.",
    }
    lines = (
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in (keys | changes).items()
        if value is not None
    )
    return "[[rules]]\n" + "\n".join(lines) + "\n"


def parse(*rules: str) -> Policy:
    return Policy.parse((HEAD + "".join(rules)).encode())


def refuse(body: bytes | str) -> PolicyInvalidError:
    with pytest.raises(PolicyInvalidError) as caught:
        Policy.parse(body if isinstance(body, bytes) else body.encode())
    assert caught.value.code == "policy_invalid"
    assert isinstance(caught.value, InvalidError)
    assert str(caught.value).startswith(f"{caught.value.details['place']}: ")
    return caught.value


def test_a_file_becomes_rules_with_its_version_and_digest() -> None:
    policy = parse(
        rule(languages=["en"], classes=["routine"], exceptions=["chicken Kiev"], fix="Kyiv"),
        rule(id="alert.phone", effect="require", kind="required_term", terms=None, patterns=[r"\+999"]),
    )  # fmt: skip
    assert policy.version == "2027.03.1"
    assert policy.digest.startswith("sha256:")
    assert len(policy.digest) == 71
    assert policy.required == (1,)
    assert policy.rules[0] == Rule(
        id="term.kyiv",
        effect=Effect.BLOCK,
        kind=Kind.BLOCKED_TERM,
        message="Ukrainian places carry their Ukrainian names.",
        fix="Kyiv",
        languages=("en",),
        classes=("routine",),
        terms=("Kiev",),
        exceptions=("chicken Kiev",),
    )
    assert policy.rules[1].patterns == (r"\+999",)
    assert policy.rules[1].languages is None


def test_a_file_without_rules_is_a_policy() -> None:
    assert parse("rules = []").rules == ()


def test_comments_and_the_order_of_keys_leave_the_digest_as_it_is() -> None:
    lines = rule(fix="Kyiv").splitlines()
    turned = "\n".join([lines[0], "# a reason", *reversed(lines[1:])])
    assert parse(turned).digest == parse(rule(fix="Kyiv")).digest


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "term.other"},
        {"effect": "warn"},
        {"kind": "required_term"},
        {"terms": ["Kiew"]},
        {"terms": None, "patterns": ["Kiev"]},
        {"message": "Another."},
        {"fix": "Kyiv"},
        {"languages": ["en"]},
        {"classes": ["routine"]},
        {"exceptions": ["chicken Kiev"]},
    ],
)
def test_every_change_of_a_rule_changes_the_digest(changes: dict[str, object]) -> None:
    assert parse(rule(**changes)).digest != parse(rule()).digest


def test_the_version_is_in_the_digest() -> None:
    other = HEAD.replace("03.1", "03.2") + rule()
    assert Policy.parse(other.encode()).digest != parse(rule()).digest


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"\xff", "file"),
        ("format = ", "file"),
        ("rules = " + "[" * 5_000, "file"),
        ('format = 1\nformat = 1\nversion = "1"\nrules = []', "file"),
        (b"#" * (MAX_FILE_BYTES + 1), "file"),
        ("", "file"),
        (HEAD, "file"),
        (HEAD + 'rules = []\nauthor = "x"', "file"),
        ('format = 2\nversion = "1"\nrules = []', "format"),
        ('format = true\nversion = "1"\nrules = []', "format"),
        ('format = 1.0\nversion = "1"\nrules = []', "format"),
        ("format = 1\nversion = 1\nrules = []", "version"),
        ('format = 1\nversion = ""\nrules = []', "version"),
        ('format = 1\nversion = "a b"\nrules = []', "version"),
        (HEAD + "rules = {}", "rules"),
        (HEAD + "rules = [1]", "rules[0]"),
        (HEAD + "rules = [{}]", "rules[0]"),
        (HEAD + "rules = [" + "{}," * (MAX_RULES + 1) + "]", "rules"),
        (HEAD + rule(override="nobody"), "rules[0] (term.kyiv)"),
        (HEAD + rule(message=None), "rules[0] (term.kyiv)"),
        (HEAD + rule(terms=None), "rules[0] (term.kyiv)"),
        (HEAD + rule(id=7), "rules[0].id"),
        (HEAD + rule(id="Term Kyiv"), "rules[0] (Term Kyiv).id"),
        (HEAD + rule(effect="forbid"), "rules[0] (term.kyiv).effect"),
        (HEAD + rule(effect=["block"]), "rules[0] (term.kyiv).effect"),
        (HEAD + rule(kind="regex"), "rules[0] (term.kyiv).kind"),
        (HEAD + rule(message=""), "rules[0] (term.kyiv).message"),
        (HEAD + rule(message="a\u0000b"), "rules[0] (term.kyiv).message"),
        (HEAD + rule(message="a" * 501), "rules[0] (term.kyiv).message"),
        (HEAD + rule(fix=" Kyiv"), "rules[0] (term.kyiv).fix"),
        (HEAD + rule(terms="Kiev"), "rules[0] (term.kyiv).terms"),
        (HEAD + rule(terms=[]), "rules[0] (term.kyiv).terms"),
        (HEAD + rule(terms=["Kiev", "Kiev"]), "rules[0] (term.kyiv).terms"),
        (HEAD + rule(terms=["Kiev", 1]), "rules[0] (term.kyiv).terms[1]"),
        (HEAD + rule(terms=["Kiev", "\u200b"]), "rules[0] (term.kyiv).terms[1]"),
        (HEAD + rule(languages=[]), "rules[0] (term.kyiv).languages"),
        (HEAD + rule(languages=["English"]), "rules[0] (term.kyiv).languages[0]"),
        (HEAD + rule(classes=["Routine post"]), "rules[0] (term.kyiv).classes[0]"),
        (HEAD + rule(patterns=["a", "("]), "rules[0] (term.kyiv).patterns[1]"),
        (HEAD + rule(patterns=["(?=a)b"]), "rules[0] (term.kyiv).patterns[0]"),
        (HEAD + rule(patterns=["(a*)*"]), "rules[0] (term.kyiv).patterns[0]"),
        (HEAD + rule(patterns=[r"\pL{500}"]), "rules[0] (term.kyiv).patterns[0]"),
        (HEAD + rule() + rule(terms=["Odessa"]), "rules[1] (term.kyiv)"),
        (HEAD + rule(patterns=[rf"{n}\pL{{40}}" for n in range(40)]), "rules"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(body: bytes | str, place: str) -> None:
    assert refuse(body).details["place"] == place


REQUIRED = {"id": "name.first", "kind": "required_term"}


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        ((rule(exceptions=["kiev"]),), "rules[0] (term.kyiv).terms[0]"),
        ((rule(exceptions=["chicken Kyiv"]),), "rules[0] (term.kyiv).exceptions[0]"),
        ((rule(kind="required_term", exceptions=["chicken Kiev"]),), "rules[0] (term.kyiv).exceptions"),
        ((rule(), rule(**REQUIRED)), "rules[1] (name.first).terms[0]"),
        ((rule(**REQUIRED, terms=["from Kiev"]), rule()), "rules[0] (name.first).terms[0]"),
        ((rule(languages=["sr"]), rule(**REQUIRED, languages=["sr-Cyrl"])), "rules[1] (name.first).terms[0]"),
        ((rule(languages=["sr-Cyrl"]), rule(**REQUIRED, languages=["sr"])), "rules[1] (name.first).terms[0]"),
        ((rule(languages=["en"]), rule(**REQUIRED)), "rules[1] (name.first).terms[0]"),
        ((rule(classes=["event", "press"]), rule(**REQUIRED, classes=["press"])), "rules[1] (name.first).terms[0]"),
    ],
)  # fmt: skip
def test_rules_that_contradict_are_refused(rules: tuple[str, ...], place: str) -> None:
    assert refuse(HEAD + "".join(rules)).details["place"] == place


@pytest.mark.parametrize(
    "rules",
    [
        (rule(effect="warn"), rule(**REQUIRED)),
        (rule(languages=["sl"]), rule(**REQUIRED, languages=["en"])),
        (rule(classes=["event"]), rule(**REQUIRED, classes=["press"])),
        (rule(exceptions=["Dynamo Kiev"]), rule(**REQUIRED, terms=["Dynamo Kiev"])),
        (rule(**REQUIRED), rule(id="name.second", kind="required_term")),
        (rule(exceptions=["chicken Kiev"], terms=["Kiev", "chicken Kiev soup"]),),
    ],
)
def test_rules_that_can_all_be_met_are_accepted(rules: tuple[str, ...]) -> None:
    assert len(parse(*rules).rules) == len(rules)


def test_a_hit_inside_a_longer_one_is_counted_once() -> None:
    hits = parse(rule(terms=["Kiev", "city of Kiev", "of"])).find("The city of Kiev, Kiev.")
    assert hits[0].counted == ((4, 16), (18, 22))


def test_a_hit_inside_an_exception_is_excused_and_another_is_not() -> None:
    hits = parse(rule(exceptions=["Dynamo Kiev"])).find("Dynamo Kiev plays in Kiev")
    assert hits[0].excused == ((7, 11),)
    assert hits[0].counted == ((21, 25),)


def test_nobody_hides_a_hit_behind_a_hundred_exceptions() -> None:
    hits = parse(rule(exceptions=["Dynamo Kiev"])).find("Dynamo Kiev " * 200 + "Kiev")
    assert len(hits[0].excused) == 99
    assert len(hits[0].counted) == 1


def test_nobody_hides_a_hit_behind_longer_terms_that_are_excepted() -> None:
    policy = parse(rule(terms=["Kiev", "Kiev Kiev"], exceptions=["Dynamo Kiev Kiev"]))
    hits = policy.find("Dynamo Kiev Kiev, " * 60 + "Kiev")
    assert len(hits[0].counted) == 1
    assert policy.find("Dynamo Kiev Kiev, " * 40)[0].counted == ()


@pytest.mark.parametrize(
    ("own", "language", "is_covered"),
    [
        (("sr",), "sr", True),
        (("sr",), "sr-Cyrl", True),
        (("sr",), "SR-cyrl", True),
        (("sr-Cyrl",), "sr", False),
        (("sr-Cyrl",), "sr-Latn", False),
        (("s",), "sr", False),
        (("sl", "en"), "en-GB", True),
        (None, "ka", True),
    ],
)
def test_a_rule_for_a_language_covers_its_variants(
    own: tuple[str, ...] | None, language: str, is_covered: bool
) -> None:
    one = Rule(id="a", effect=Effect.WARN, kind=Kind.BLOCKED_TERM, message="m", languages=own)
    assert one.covers_language(language) is is_covered


@given(
    st.binary(max_size=200)
    | st.text(st.sampled_from('[]{}"=\n#ab1.,rules'), max_size=80).map(str.encode)
)
def test_any_bytes_are_a_policy_or_refused(body: bytes) -> None:
    for tried in (body, HEAD.encode() + body):
        try:
            Policy.parse(tried)
        except PolicyInvalidError as error:
            str(error).encode()
