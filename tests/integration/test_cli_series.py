"""Recurring posts and what is checked ahead, from the command line against real processes."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from scheduler.clock import utc_now
from tests.integration.cli_fixtures import Karvenia, ask_practice, connect, karvenia, wait_for

__all__ = ["karvenia"]
pytestmark = pytest.mark.timeout(180)

DRAFT = (
    "post",
    "draft",
    "--mission=krv.hq",
    "--to=hq.mastodon",
    "--now",
    "--text=en=The week ahead",
)
RULE = ("--rule=weekly MO 09:00", "--from=2090-06-01", "--times=3")


def test_a_series_is_drafted_submitted_approved_edited_and_ended(karvenia: Karvenia) -> None:
    officer, supervisor = karvenia["hocevar"], karvenia["zorc"]
    post = officer.ask(*DRAFT)
    made = officer.ask("post", "repeat", post["id"], *RULE, "--except=2090-06-19")
    assert [each["day"] for each in made["posts"]] == ["2090-06-05", "2090-06-12"]
    assert made["id"] in {each["id"] for each in officer.ask("series", "list")}
    submitted = officer.ask("series", "submit", made["id"])
    first, second = (each["post"] for each in submitted["posts"])
    approve = ("approval", "approve", "--series", made["id"])

    assert supervisor.run(*approve).returncode == 2  # nobody can be asked here
    wrong = supervisor.run(*approve, "--digest", "sha256:" + "0" * 64)
    assert wrong.returncode == 2
    [approved] = supervisor.ask(*approve, "--digest", first["digest"])
    assert (approved["id"], approved["state"]) == (first["id"], "scheduled")
    status, shown = supervisor.on_terminal(*approve, answers=[("Approve exactly this?", "y")])
    assert (status, second["digest"] in shown) == (0, True)
    assert "The week ahead" in shown
    assert supervisor.run(*approve).returncode == 2  # nothing is left

    edited = officer.ask(
        *("post", "edit", second["id"], "--revision", second["revision"]),
        "--text=en=Only this week",
    )
    assert (edited["state"], edited["series"]) == ("draft", made["id"])
    assert officer.ask("post", "show", first["id"])["state"] == "scheduled"
    assert made["id"] in officer.run("post", "show", first["id"]).stdout
    assert "2090-06-05" in officer.run("series", "show", made["id"]).stdout
    ended = officer.run("series", "end", made["id"], "--reason", "the forum is over")
    assert ended.stdout.startswith("2 posts are cancelled.")
    assert officer.ask("series", "show", made["id"])["states"] == {"cancelled": 2}


def test_what_a_rule_cannot_mean_is_one_line(karvenia: Karvenia) -> None:
    officer = karvenia["hocevar"]
    post = officer.ask(*DRAFT)
    repeat = ("post", "repeat", post["id"])
    assert officer.refusal(*repeat, "--rule=monthly 31 09:00", "--times=2") == "rule_invalid"
    assert officer.refusal(*repeat, "--rule=daily 09:00") == "series_unbounded"
    odd = ("--rule=daily 02:30", "--from=2027-03-20", "--until=2027-04-01")
    done = officer.run(*repeat, *odd)
    assert "2027-03-28 before (01:59+01:00) or after (03:00+02:00)" in done.stderr
    chosen = officer.ask(*repeat, *odd, "--gap=after", "--fold=later", "--every=2")
    locals_ = [each["post"]["when"]["local"] for each in chosen["posts"]]
    assert (len(locals_), "2027-03-28T03:00" in locals_) == (7, True)


@pytest.mark.parametrize(
    "words", [(), ("POST", "--series=POST"), ("POST", "--digest=a", "--digest=b")]
)
def test_an_approval_names_one_post_or_one_series(
    karvenia: Karvenia, words: tuple[str, ...]
) -> None:
    some_id = "0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f"
    given = [word.replace("POST", some_id) for word in words]
    assert karvenia["zorc"].run("approval", "approve", *given).returncode == 2


def test_the_running_worker_checks_ahead_and_everybody_sees_what_is_wrong(
    karvenia: Karvenia,
) -> None:
    officer, supervisor = karvenia["hocevar"], karvenia["zorc"]
    opened = {"handle": "vie", "display_name": "Wien"}
    profile = ask_practice(karvenia.practice, "POST", "/practice/accounts", opened)
    connect(karvenia, "vie.mastodon", profile["token"])
    at = (utc_now() + timedelta(minutes=6)).astimezone(ZoneInfo("Europe/Ljubljana"))
    post = officer.ask(
        "post", "draft", "--mission=krv.hq", "--to=hq.mastodon", "--to=vie.mastodon",
        f"--at={at:%Y-%m-%dT%H:%M}", "--zone=Europe/Ljubljana", "--text=en=Soon in Lipovec",
    )  # fmt: skip
    ask_practice(karvenia.practice, "POST", "/practice/knobs", {"revoke": "vie"})
    digest = officer.ask("post", "submit", post["id"])["digest"]
    supervisor.ask("approval", "approve", post["id"], "--digest", digest)

    def checks() -> dict[str, dict[str, object] | None]:
        found = officer.ask("delivery", "list")
        return {each["account"]: each["preflight"] for each in found if each["post"] == post["id"]}

    wait_for(lambda: all(checks().values()))
    assert {code: check["ok"] for code, check in checks().items() if check} == {
        "hq.mastodon": True,
        "vie.mastodon": False,
    }
    [failed] = [
        each["id"] for each in officer.ask("delivery", "list") if each["account"] == "vie.mastodon"
    ]
    shown = officer.run("delivery", "show", failed).stdout
    assert "[sign_in_refused]" in shown
    assert "next: chancery account check vie.mastodon" in shown
    span = (f"--from={at - timedelta(days=1):%Y-%m-%d}", f"--to={at + timedelta(days=1):%Y-%m-%d}")
    [line] = [each for each in officer.ask("calendar", *span) if each["post"]["id"] == post["id"]]
    assert line["preflight"] == "failed"
    doctor = {each["name"]: each for each in karvenia.operator.ask("doctor")}
    assert doctor["pre-flight"]["result"] == "warn"
    assert "vie.mastodon: sign_in_refused" in doctor["pre-flight"]["message"]


def test_an_admin_tells_when_a_token_ends(karvenia: Karvenia) -> None:
    admin, expiry = karvenia["bizjak"], ("account", "expiry", "hq.mastodon")
    told = admin.ask(*expiry, "--ends=2090-05-01T00:00+02:00")
    assert datetime.fromisoformat(told["sign_in_ends_at"]) == datetime.fromisoformat(
        "2090-04-30T22:00+00:00"
    )
    assert admin.run(*expiry).returncode == 2
    assert admin.run(*expiry, "--never", "--ends=2090-05-01T00:00+02:00").returncode == 2
    assert admin.ask(*expiry, "--never")["sign_in_ends_at"] is None
