"""`init`, `db`, `doctor`, and what a machine without an installation answers."""

import json
import sqlite3
import stat

import pytest

from tests.integration.cli_fixtures import (
    INIT,
    Machine,
    free_port,
    installation,
    installed,
    machine,
)
from tests.support.postgres import TestPostgres

__all__ = ["installation", "installed", "machine"]


def test_init_makes_an_installation_and_prints_what_must_be_kept(machine: Machine) -> None:
    made = machine.ask(*INIT)

    assert made["mission"] == "krv.hq"
    assert [each["person"] for each in made["enrolments"]] == ["bizjak", "oblak"]
    assert made["key_file"] == str(machine.key_file)
    assert [line.split()[0] for line in made["trust"]] == ["log", "log", "instance"]
    assert stat.S_IMODE(machine.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(machine.key_file.stat().st_mode) == 0o600


def test_a_second_init_changes_nothing_and_shows_no_code_again(machine: Machine) -> None:
    first = machine.run(*INIT)
    assert "approves nothing in the first 24 hours" in first.stdout
    keys = machine.key_file.read_bytes()

    second = machine.run(*INIT)

    assert second.returncode == 0
    assert "nothing was changed" in second.stdout
    codes = [
        line.split()[1]
        for line in first.stdout.splitlines()
        if line.startswith(("  bizjak", "  oblak"))
    ]
    assert len(codes) == 2
    assert not any(code in second.stdout for code in codes)
    assert machine.key_file.read_bytes() == keys


def test_admins_who_never_enrolled_get_new_codes_from_the_operator(installed: Machine) -> None:
    renewed = installed.ask("init", "--new-codes")

    assert [each["person"] for each in renewed["enrolments"]] == ["bizjak", "oblak"]


def test_init_without_a_terminal_says_which_answers_are_missing(machine: Machine) -> None:
    done = machine.run("init", "--mission-code=krv.hq", "--zone=Europe/Ljubljana")

    assert done.returncode == 2
    assert "--mission-name, --language, --admin" in done.stderr
    assert not machine.key_file.exists()


def test_one_admin_alone_makes_no_installation_and_two_still_can(machine: Machine) -> None:
    alone = [word for word in INIT if "oblak" not in word]

    assert machine.refusal(*alone) == "two_admins_needed"
    assert machine.ask(*INIT)["made"] is True


@pytest.mark.parametrize("command", ["web", "worker", "up"])
def test_nothing_runs_and_nothing_is_made_where_nothing_is_installed(
    machine: Machine, command: str
) -> None:
    assert machine.refusal(command) == "installation_missing"
    assert not machine.data.exists()


def test_keys_inside_the_data_folder_are_refused(machine: Machine) -> None:
    inside = machine.having(CHANCERY_KEY_FILE=str(machine.data / "keys.json"))

    assert inside.refusal(*INIT) == "key_file_inside_data"
    assert not inside.key_file.exists()


def test_an_installation_that_lost_its_keys_gets_no_new_ones(installed: Machine) -> None:
    installed.key_file.rename(installed.folder / "elsewhere.json")

    assert installed.refusal("web") == "key_file_missing"
    assert installed.run(*INIT).returncode == 0
    assert not installed.key_file.exists()


@pytest.mark.parametrize("command", ["web", "worker"])
def test_a_process_refuses_a_database_of_another_revision(installed: Machine, command: str) -> None:
    with sqlite3.connect(installed.data / "chancery.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    database.close()

    assert installed.refusal(command) == "database_outdated"
    assert installed.refusal("db", "check") == "database_outdated"


def test_an_operator_seals_rows_again_that_were_repaired_by_hand(installed: Machine) -> None:
    with sqlite3.connect(installed.data / "chancery.db") as database:
        database.execute("UPDATE person SET seal = ''")
    database.close()

    assert installed.ask("db", "upgrade")["reconnect"] == []  # it believes an installation once
    names = installed.ask("db", "reseal", "--yes")["sealed"]
    assert len(names) == 2
    assert {each.split(":")[0] for each in names} == {"person"}
    assert installed.ask("db", "reseal", "--yes")["sealed"] == []


def test_the_database_can_be_made_and_checked_before_anything_is_installed(
    machine: Machine,
) -> None:
    assert machine.refusal("db", "check") == "installation_missing"

    upgraded = machine.ask("db", "upgrade")

    assert upgraded["before"] is None
    assert machine.ask("db", "check")["current"] == upgraded["after"]
    assert machine.ask("db", "upgrade")["before"] == upgraded["after"]


def test_the_doctor_names_every_failed_check_and_ends_with_status_1(installed: Machine) -> None:
    installed.data.chmod(0o755)
    installed.key_file.chmod(0o644)

    done = installed.run("doctor", "--json")

    assert done.returncode == 1
    results = {each["name"]: (each["result"], each["code"]) for each in json.loads(done.stdout)}
    assert results["data folder"][0] == "fail"
    assert results["key file"] == ("fail", "key_file_permissions")
    assert results["database"] == ("ok", "")
    assert done.stderr.strip().endswith("[unhealthy]")


def test_the_doctor_refuses_keys_inside_the_data_folder(installed: Machine) -> None:
    inside = installed.having(CHANCERY_KEY_FILE=str(installed.data / "keys.json"))
    installed.key_file.rename(inside.key_file)

    done = inside.run("doctor")

    assert done.returncode == 1
    assert "[key_file_inside_data]" in done.stdout


UNUSABLE = {
    ("CHANCERY_DATABASE_URL", "mysql://x"): ("db", "check"),
    ("CHANCERY_REDIS_URL", "junk"): ("worker",),
    ("CHANCERY_LISTEN", "nowhere"): ("web",),
    ("CHANCERY_LOG_LEVEL", "chatty"): ("up",),
    ("CHANCERY_BASE_URL", "chancery.karvenia.example"): ("web",),
    ("CHANCERY_KEY_FILE", "/etc"): ("doctor",),
    ("CHANCERY_EGRESS_ALLOW", "10.0.0.1"): ("worker",),
    ("CHANCERY_METRICS_LISTEN", "nowhere"): ("worker",),
}


def test_a_setting_that_cannot_be_used_is_named(machine: Machine) -> None:
    for (name, value), command in UNUSABLE.items():
        done = machine.having(**{name: value}).run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert name in done.stderr
        assert done.stderr.endswith("[settings_invalid]\n")


def test_bad_usage_ends_with_status_2(machine: Machine) -> None:
    assert machine.run("nonsense").returncode == 2
    assert machine.run("db", "upgrade", "--nonsense").returncode == 2


def test_an_installation_on_postgresql_is_made_run_and_looked_at_in_the_same_way(
    machine: Machine, postgres: TestPostgres
) -> None:
    url = postgres.create_database()
    there = machine.having(CHANCERY_DATABASE_URL=url)
    try:
        assert there.refusal("db", "check") == "installation_missing"
        assert there.ask(*INIT)["made"] is True
        with there.up():
            results = {each["name"]: each["message"] for each in _doctor(there)}
        assert results["database"].startswith("PostgreSQL")
        assert not (there.data / "chancery.db").exists()
    finally:
        postgres.drop_database(url)
    away = machine.having(CHANCERY_DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    assert away.refusal("db", "check") == "database_unavailable"


def _doctor(machine: Machine) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(machine.run("doctor", "--json").stdout)
    return found
