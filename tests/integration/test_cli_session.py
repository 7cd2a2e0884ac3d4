"""Logging in and out, whose token is used, and what is refused before anything is asked."""

import json
import stat

import pytest

from tests.integration.cli_fixtures import Karvenia, Machine, free_port, karvenia, machine

__all__ = ["karvenia", "machine"]
pytestmark = pytest.mark.timeout(180)


def test_login_keeps_the_token_for_its_owner_alone(karvenia: Karvenia) -> None:
    officer = karvenia["hocevar"]

    kept = json.loads(officer.login_file.read_text())

    assert stat.S_IMODE(officer.login_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(officer.login_file.parent.stat().st_mode) == 0o700
    login = kept["logins"][officer.url]
    assert (kept["current"], login["person"]) == (officer.url, "hocevar")
    assert login["token"] not in officer.run("whoami").stdout


def test_a_code_works_once(karvenia: Karvenia, machine: Machine) -> None:
    admin = karvenia["bizjak"]
    admin.ask("person", "add", "kos", "--name=Ana Kos")
    code = admin.ask("person", "enrol", "kos")["code"]
    login = ("login", "--url", karvenia.operator.url)

    assert machine.ask(*login, stdin=code)["person"]["code"] == "kos"
    assert machine.refusal(*login, stdin=code) == "enrolment_rejected"
    assert machine.run(*login, stdin="").returncode == 2


def test_after_logout_the_token_opens_nothing_anywhere(
    karvenia: Karvenia, machine: Machine
) -> None:
    admin = karvenia["bizjak"]
    admin.ask("person", "add", "pirc", "--name=Ivo Pirc")
    code = admin.ask("person", "enrol", "pirc")["code"]
    machine.ask("login", "--url", karvenia.operator.url, stdin=code)
    token = json.loads(machine.login_file.read_text())["logins"][karvenia.operator.url]["token"]

    assert machine.run("logout").returncode == 0

    assert machine.refusal("whoami") == "not_logged_in"
    kept = machine.having(CHANCERY_TOKEN=token, CHANCERY_URL=karvenia.operator.url)
    assert kept.refusal("whoami") == "token_rejected"
    assert kept.ask("logout")["logged_out"] is True


def test_a_token_can_be_for_less_than_its_person_may_do(
    karvenia: Karvenia, machine: Machine
) -> None:
    admin = karvenia["bizjak"]
    admin.ask("person", "add", "zupan", "--name=Eva Zupan")
    code = admin.ask("person", "enrol", "zupan")["code"]

    machine.ask("login", "--url", karvenia.operator.url, "--scope=read", stdin=code)

    assert machine.ask("whoami")["scopes"] == ["read"]


def test_the_environments_token_goes_before_the_files(karvenia: Karvenia) -> None:
    officer, supervisor = karvenia["hocevar"], karvenia["zorc"]
    token = json.loads(supervisor.login_file.read_text())["logins"][supervisor.url]["token"]

    both = officer.having(CHANCERY_TOKEN=token)

    assert officer.ask("whoami")["person"]["code"] == "hocevar"
    assert both.ask("whoami")["person"]["code"] == "zorc"


def test_without_a_token_the_refusal_says_how_to_log_in(machine: Machine) -> None:
    done = machine.run("post", "list")

    assert done.returncode == 1
    assert (
        done.stderr == "error: not logged in; run `chancery login --url ADDRESS` [not_logged_in]\n"
    )
    elsewhere = machine.having(CHANCERY_URL="https://chancery.karvenia.example")
    assert elsewhere.refusal("post", "list") == "not_logged_in"


def test_a_server_that_is_away_is_one_line(machine: Machine) -> None:
    away = machine.having(CHANCERY_TOKEN="x", CHANCERY_URL=f"http://127.0.0.1:{free_port()}")

    assert away.refusal("whoami") == "server_unreachable"


def test_a_token_does_not_travel_in_the_clear(machine: Machine) -> None:
    open_road = machine.having(CHANCERY_TOKEN="x", CHANCERY_URL="http://chancery.karvenia.example")

    assert open_road.refusal("whoami") == "address_insecure"
    assert open_road.having(CHANCERY_URL="lipovec").refusal("whoami") == "address_invalid"


def test_somebody_else_at_the_address_is_not_taken_for_chancery(
    karvenia: Karvenia, machine: Machine
) -> None:
    other = machine.having(CHANCERY_TOKEN="x", CHANCERY_URL=karvenia.practice["mastodon"])

    assert other.refusal("whoami") == "answer_unreadable"


def test_a_login_file_open_to_others_is_refused(machine: Machine) -> None:
    machine.login_file.parent.mkdir(parents=True)
    machine.login_file.write_text('{"current": null, "logins": {}}')
    machine.login_file.chmod(0o644)
    assert machine.refusal("whoami") == "login_file_unusable"

    machine.login_file.chmod(0o600)
    assert machine.refusal("whoami") == "not_logged_in"
    machine.login_file.write_text("{")
    assert machine.refusal("whoami") == "login_file_unusable"


def test_acting_as_somebody_exists_in_the_demos_folder_only(
    karvenia: Karvenia, machine: Machine
) -> None:
    officer = karvenia["hocevar"]
    assert machine.run("--as", "hocevar", "whoami").returncode == 2
    token = json.loads(officer.login_file.read_text())["logins"][officer.url]["token"]
    demo = machine.folder / "var" / "demo" / "tokens.json"
    demo.parent.mkdir(parents=True)
    demo.write_text(json.dumps({"url": officer.url, "tokens": {"hocevar": token}}))

    assert machine.refusal("--as", "hocevar", "whoami") == "login_file_unusable"
    demo.chmod(0o600)
    assert machine.ask("--as", "hocevar", "whoami")["person"]["code"] == "hocevar"
    assert machine.refusal("--as", "zorc", "whoami") == "not_logged_in"


def test_a_code_is_typed_without_being_shown(karvenia: Karvenia, machine: Machine) -> None:
    admin = karvenia["bizjak"]
    admin.ask("person", "add", "novak", "--name=Jan Novak")
    code = admin.ask("person", "enrol", "novak")["code"]

    status, shown = machine.on_terminal(
        "login", "--url", karvenia.operator.url, answers=[("Enrolment code", code)]
    )

    assert status == 0
    assert "Logged in" in shown
    assert code not in shown


def test_on_a_terminal_the_supervisor_is_shown_the_post_and_asked(karvenia: Karvenia) -> None:
    post = karvenia["hocevar"].ask(
        "post",
        "draft",
        "--mission=krv.hq",
        "--to=hq.mastodon",
        "--at=2027-05-01T09:00",
        "--text=en=Good morning, Lipovec!",
    )
    karvenia["hocevar"].ask("post", "submit", post["id"])

    status, shown = karvenia["zorc"].on_terminal(
        "approval", "approve", post["id"], answers=[("Approve exactly this?", "n")]
    )
    assert status == 1
    assert "Good morning, Lipovec!" in shown
    assert karvenia["hocevar"].ask("post", "show", post["id"])["state"] == "in_review"

    status, _ = karvenia["zorc"].on_terminal(
        "approval", "approve", post["id"], answers=[("Approve exactly this?", "y")]
    )
    assert status == 0
    assert karvenia["hocevar"].ask("post", "show", post["id"])["state"] == "scheduled"


def test_on_a_terminal_lists_are_tables_without_control_characters(karvenia: Karvenia) -> None:
    _, shown = karvenia["hocevar"].on_terminal("mission", "list")

    assert "Ministry of Foreign Affairs of Karvenia" in shown
    assert "\t" not in shown


def test_init_asks_for_what_is_missing_on_a_terminal(machine: Machine) -> None:
    answers = [
        ("Short name of the first mission", "krv.hq"),
        ("Its name", "Ministry of Foreign Affairs of Karvenia"),
        ("Its time zone", "Europe/Ljubljana"),
        ("Its languages", "sl,en"),
        ("Admin 1: short name", "bizjak"),
        ("Admin 1: name", "Rok Bizjak"),
        ("Admin 2: short name", "oblak"),
        ("Admin 2: name", "Sabina Oblak"),
    ]

    status, shown = machine.on_terminal("init", answers=answers)

    assert status == 0, shown
    assert "Enrolment codes" in shown
