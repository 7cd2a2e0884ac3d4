"""The main job from the command line: real processes, a real worker, the practice network as the platform."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.integration.cli_fixtures import ACCOUNT, Karvenia, karvenia, wait_for

__all__ = ["karvenia"]
pytestmark = pytest.mark.timeout(180)

DRAFT = ("post", "draft", "--mission=krv.hq", "--to=hq.mastodon")


def test_an_officers_post_becomes_public_after_a_supervisor_approved_its_digest(
    karvenia: Karvenia, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "bridge.png")
    thread = tmp_path / "thread.txt"
    thread.write_text("The new bridge is open.\n---\nIt carries 4,000 people a day.\n")
    drafted = karvenia["hocevar"].ask(
        *DRAFT,
        "--now",
        "--class=routine",
        f"--file=en={thread}",
        f"--image={tmp_path}/bridge.png:The new bridge: teal, from the river",
    )
    submitted = karvenia["hocevar"].ask("post", "submit", drafted["id"])
    awaiting = [each["id"] for each in karvenia["zorc"].ask("approval", "list")]
    review = karvenia["zorc"].run("approval", "show", drafted["id"]).stdout

    assert drafted["id"] in awaiting
    assert "The new bridge is open." in review
    assert "shows: The new bridge: teal, from the river" in review
    assert f"digest    {submitted['digest']}" in review
    approved = karvenia["zorc"].run(
        "approval", "approve", drafted["id"], "--digest", submitted["digest"]
    )
    assert approved.returncode == 0, approved.stderr

    wait_for(lambda: _delivery(karvenia, drafted["id"])["state"] == "verified")
    thread_texts = ["The new bridge is open.", "It carries 4,000 people a day."]
    public = [each["text"] for each in karvenia.public_posts() if each["text"] in thread_texts]
    assert public == thread_texts
    shown = karvenia["hocevar"].run("post", "show", drafted["id"]).stdout
    assert "verified" in shown


def test_the_digest_must_be_given_where_nobody_can_be_asked_and_must_be_the_one_that_stands(
    karvenia: Karvenia,
) -> None:
    post = _submitted(karvenia, "A quiet day in Lipovec.")

    assert karvenia["zorc"].run("approval", "approve", post["id"]).returncode == 2
    wrong = ("approval", "approve", post["id"], "--digest", "sha256:" + "0" * 64)
    assert karvenia["zorc"].refusal(*wrong) == "content_changed"
    own = ("approval", "approve", post["id"], "--digest", post["digest"])
    assert karvenia["hocevar"].refusal(*own) == "permission_denied"


def test_characters_that_nobody_sees_are_written_out_for_the_supervisor(karvenia: Karvenia) -> None:
    post = _submitted(karvenia, "Wel\u200bcome to Lipovec!")

    review = karvenia["zorc"].run("approval", "show", post["id"]).stdout

    assert "Wel⟨ZERO WIDTH SPACE⟩come to Lipovec!" in review
    assert "hidden    ZERO WIDTH SPACE in texts.en[0].text" in review


def test_a_returned_post_is_edited_and_submitted_again(karvenia: Karvenia) -> None:
    post = _submitted(karvenia, "Good morning!")
    returned = karvenia["zorc"].ask(
        "approval", "return", post["id"], "--comment", "Say where, please."
    )
    assert returned["state"] == "draft"

    edited = karvenia["hocevar"].ask(
        *("post", "edit", post["id"], "--revision", returned["revision"]),
        *("--text=en=Good morning from Lipovec!", "--title=Morning"),
    )
    again = karvenia["hocevar"].ask("post", "submit", post["id"])

    assert edited["texts"]["en"][0]["text"] == "Good morning from Lipovec!"
    assert edited["revision"] > post["revision"]
    assert again["digest"] != post["digest"]
    assert "Say where, please." in karvenia["hocevar"].run("post", "show", post["id"]).stdout


def test_a_stop_holds_what_is_due_until_a_person_releases_or_resolves_it(
    karvenia: Karvenia,
) -> None:
    officer, supervisor = karvenia["hocevar"], karvenia["zorc"]
    assert supervisor.run("stop", "--reason", "state mourning").returncode == 0
    assert supervisor.refusal("stop", "--reason", "again") == "already_stopped"
    assert officer.ask("posture")["reason"] == "state mourning"
    posts = _approved(karvenia, "Not today.", "Posted by hand.")
    explained = officer.ask("post", "explain", posts[0]["id"])
    assert "stopped" in {each["code"] for each in explained["obstacles"]}
    released, by_hand = _held(karvenia, posts)
    assert officer.run("resume", "--reason", "it is over").returncode == 0

    supervisor.ask("delivery", "retry", released, "--reason", "mourning is over")
    resolve = ("delivery", "resolve", by_hand, "--reason=by hand")
    url = "https://social.karvenia.example/1"
    assert supervisor.run(*resolve).returncode == 2
    assert supervisor.run(*resolve, "--posted-by-hand", url, "--cancelled").returncode == 2
    assert supervisor.refusal(*resolve, "--posted") == "address_missing"
    done = supervisor.ask(*resolve, "--posted-by-hand", url)

    assert done["remote_url"] == url
    assert "Petra Zorc" in done["reason"]
    wait_for(lambda: _delivery(karvenia, posts[0]["id"])["state"] == "verified")
    shown = supervisor.run("delivery", "show", released, "--body").stdout
    assert "outcome        sent" in shown
    assert '"status":"Not today."' in shown
    assert "next: " not in shown


def test_what_a_stop_has_held_is_released_when_another_person_has_lifted_it(
    karvenia: Karvenia,
) -> None:
    officer, supervisor = karvenia["hocevar"], karvenia["zorc"]
    stopped = supervisor.run("stop", "--reason", "a flood")
    assert "Caught; will be held when due: " in stopped.stdout
    [post] = _approved(karvenia, "Later.")
    [held] = _held(karvenia, [post])
    proposed = supervisor.run("resume", "--reason", "it is over")
    assert "until another person runs" in proposed.stdout
    assert supervisor.refusal("resume", "--reason", "it is over") == "second_person_needed"
    assert "Petra Zorc" in officer.run("posture").stdout
    lifted = officer.run("resume", "--reason", "it is over")
    assert "is lifted." in lifted.stdout
    shown = supervisor.run("delivery", "show", held).stdout
    [words] = [line for line in shown.splitlines() if "--posture" in line]
    release = ("delivery", "release", "--posture", words.split("--posture ")[1].split()[0])
    assert " ".join(release[2:]) in lifted.stdout
    assert supervisor.run(*release, "--reason=over").returncode == 2
    receipt = supervisor.run(*release, "--reason=over", "--spread=1").stdout

    assert "Released: 1" in receipt
    assert "Still held: 0" in receipt
    wait_for(lambda: _delivery(karvenia, post["id"])["state"] == "verified")


def test_a_posture_names_what_it_stops_and_what_may_leave_all_the_same(
    karvenia: Karvenia,
) -> None:
    post = karvenia["hocevar"].ask(
        *DRAFT, "--at=2090-03-28T09:00", "--text=en=Far off", "--title=Far off"
    )
    post = karvenia["hocevar"].ask("post", "submit", post["id"])
    karvenia["zorc"].ask("approval", "approve", post["id"], "--digest", post["digest"])
    words = ("stop", "--kind=mourning", "--mission=krv.hq", "--account=hq.mastodon")
    words += ("--language=en", "--except-class=consular_alert", "--except-class=condolence")
    assert karvenia["zorc"].run(*words, "--reason=x", "--until=tomorrow").returncode == 1

    stopped = karvenia["zorc"].run(*words, "--reason=flood", "--until=2091-01-01T00:00+01:00")

    [row] = [line.split("\t") for line in stopped.stdout.splitlines() if "Far off" in line]
    assert row[1:3] == ["ready", "hq.mastodon"]
    shown = karvenia["hocevar"].run("posture").stdout
    assert "condolence, consular_alert" in shown
    assert "2090-12-31T23:00:00Z" in shown
    both = karvenia["hocevar"].run("resume", "--reason=over", "--release")
    assert both.returncode == 2
    officer = ("resume", "--reason=over", "--release", "--spread-minutes=5")
    assert karvenia["hocevar"].refusal(*officer) == "permission_denied"
    assert karvenia["hocevar"].run("resume", "--reason=over").returncode == 0
    assert karvenia["hocevar"].ask("posture")["postures"] == []


def test_the_log_is_exported_and_verified_offline_and_a_changed_record_is_named(
    karvenia: Karvenia, tmp_path: Path
) -> None:
    auditor, folder = karvenia["mlakar"], tmp_path / "export"
    wait_for(lambda: auditor.run("audit", "checkpoint").returncode == 0)
    head = auditor.ask("audit", "checkpoint")
    assert head["checkpoint"].splitlines()[1] == str(head["records"])
    exported = auditor.ask("audit", "export", folder, "--reason=quarterly review")
    trust = folder / "trust"

    verified = auditor.ask("audit", "verify", folder, "--trust", trust)
    assert (verified["ok"], verified["records"]) == (True, exported["records"])
    assert auditor.ask("audit", "verify")["ok"] is True
    assert auditor.refusal("audit", "export", folder) == "folder_in_use"
    [newest, *_] = auditor.ask("audit", "list", "--limit=1")
    assert (
        json.loads(auditor.ask("audit", "show", newest["seq"])["line"])["rec"] == newest["record"]
    )

    entries = folder / "entries.jsonl"
    lines = entries.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"res":"ok"', b'"res":"no"')
    entries.write_bytes(b"".join(lines))
    done = auditor.run("audit", "verify", folder, "--trust", trust)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("the first bad record is 3 [record_invalid]")


def test_a_secret_is_never_an_argument(karvenia: Karvenia) -> None:
    refused = karvenia["bizjak"].run(*ACCOUNT[:-1], "--url=https://x.example", "--secret=hunter2")

    assert refused.returncode == 2
    assert not any(karvenia.secret in words for words in karvenia.operator.processes().values())


def test_accounts_are_checked_paused_and_resumed_by_their_short_name(karvenia: Karvenia) -> None:
    admin = karvenia["bizjak"]

    assert admin.ask("account", "check", "hq.mastodon")["state"] == "active"
    paused = admin.ask("account", "pause", "hq.mastodon", "--reason=moving")
    assert (paused["state"], paused["state_reason"]) == ("paused", "moving")
    assert admin.ask("account", "resume", "hq.mastodon", "--reason=moved")["state"] == "active"
    assert admin.refusal("account", "check", "nobody.mastodon") == "not_found"
    assert karvenia["hocevar"].refusal("account", "check", "hq.mastodon") == "permission_denied"


def test_a_policy_is_tried_and_activated_by_an_admin(karvenia: Karvenia, tmp_path: Path) -> None:
    admin, officer, file = karvenia["bizjak"], karvenia["hocevar"], tmp_path / "policy.yaml"
    current = officer.ask("policy", "show")["files"]["policy.yaml"]
    rule = (
        "rules:\n  - id: kyiv\n    title: The city is Kyiv\n    effect: block\n    when: {text: {has: [Kiev]}}\n"
        "    message: The city is Kyiv in English.\n    fix: Write Kyiv.\n"
        "  - {id: pier, title: Pier, effect: require, approver: harbour, when: {text: {has: [pier]}},\n"
        "     message: The pier is mentioned., fix: Ask the harbour.}\n"
    )
    file.write_text(current.replace("2027.01.2", "2027.02.1").replace("rules:\n", rule))
    text = ("policy", "try", "--language=en", "--text=Our ambassador in Kiev")

    assert officer.run(*text).returncode == 0
    assert officer.refusal(*text, "--policy", file) == "policy_blocked"
    assert "+  - id: kyiv" in officer.ask("policy", "diff", file, "--files")
    assert officer.refusal("policy", "activate", file) == "permission_denied"
    proposing = admin.run("policy", "activate", file)
    assert proposing.returncode == 0
    assert "Nobody is harbour, whom rule pier asks" in proposing.stderr
    assert admin.refusal("policy", "activate", file) == "second_admin_needed"
    [waiting] = karvenia["oblak"].ask("policy", "proposals")
    proposed = tmp_path / "proposed"
    karvenia["oblak"].ask("policy", "show", "--proposal", waiting["id"])
    assert (
        karvenia["oblak"]
        .run("policy", "show", "--proposal", waiting["id"], "--to", proposed)
        .returncode
        == 0
    )
    assert karvenia["oblak"].ask("policy", "activate", proposed)["state"] == "active"
    assert officer.ask("policy", "show")["version"] == "2027.02.1"
    outcomes = officer.ask("policy", "explain", *text[2:])["rules"]
    assert "kyiv" in {each["rule"] for each in outcomes}
    assert officer.refusal(*DRAFT[:2], "--mission=nowhere", "--now") == "not_found"


def test_people_get_roles_from_two_admins_and_their_token_from_nobody(karvenia: Karvenia) -> None:
    one, two = karvenia["bizjak"], karvenia["oblak"]
    one.ask(
        "mission",
        "add",
        "krv.kyi",
        "--name=Embassy in Kyiv",
        "--parent=krv.hq",
        "--zone=Europe/Kyiv",
        "--language=uk",
    )
    one.ask("person", "add", "olena", "--name=Olena Marchuk", "--language=uk")
    grant = one.ask("grant", "add", "olena", "officer", "krv.kyi")
    code = one.ask("person", "enrol", "olena")["code"]
    olena = one.having(XDG_CONFIG_HOME=str(one.folder / "people" / "olena"))
    assert olena.run("login", "--url", one.url, stdin=code).returncode == 0

    assert grant["state"] == "proposed"
    assert olena.ask("whoami")["grants"] == []
    assert one.refusal("grant", "confirm", grant["id"]) == "second_admin_needed"
    assert two.ask("grant", "confirm", grant["id"])["state"] == "in_force"
    assert olena.ask("whoami")["grants"] == [
        {"role": "officer", "office": "", "mission": "krv.kyi", "approves_from": None}
    ]

    young = one.ask("grant", "add", "olena", "supervisor", "krv.kyi")["id"]
    confirmed = two.run("grant", "confirm", young).stdout
    [since] = [line.split()[-1] for line in confirmed.splitlines() if "approves from" in line]
    assert f"supervisor at krv.kyi (approves from {since})" in olena.run("whoami").stdout
    two.ask("grant", "revoke", young)

    two.ask("grant", "revoke", grant["id"])
    assert olena.ask("whoami")["grants"] == []
    two.ask("person", "deactivate", "olena")
    assert olena.refusal("whoami") == "token_rejected"


def test_lists_are_plain_lines_where_no_terminal_is(karvenia: Karvenia) -> None:
    done = karvenia["hocevar"].run("mission", "list")

    lines = done.stdout.splitlines()
    assert lines[0].split("\t")[:2] == ["CODE", "NAME"]
    assert lines[1].split("\t")[:2] == ["krv.hq", "Ministry of Foreign Affairs of Karvenia"]


def _submitted(karvenia: Karvenia, text: str) -> dict[str, Any]:
    post = karvenia["hocevar"].ask(*DRAFT, "--now", f"--text=en={text}")
    submitted: dict[str, Any] = karvenia["hocevar"].ask("post", "submit", post["id"])
    return submitted


def _delivery(karvenia: Karvenia, post_id: str) -> dict[str, Any]:
    [delivery] = karvenia["hocevar"].ask("post", "show", post_id)["deliveries"]
    found: dict[str, Any] = delivery
    return found


def _approved(karvenia: Karvenia, *said: str) -> list[dict[str, Any]]:
    """Posts to go at once, which a supervisor has approved."""
    posts = [_submitted(karvenia, text) for text in said]
    for post in posts:
        karvenia["zorc"].ask("approval", "approve", post["id"], "--digest", post["digest"])
    return posts


def _held(karvenia: Karvenia, posts: list[dict[str, Any]]) -> list[str]:
    """Their deliveries, once they are held."""
    for post in posts:
        wait_for(lambda post=post: _delivery(karvenia, post["id"])["state"] == "held")
    return [_delivery(karvenia, post["id"])["id"] for post in posts]
