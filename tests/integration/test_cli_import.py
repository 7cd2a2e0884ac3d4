"""`chancery import` against real processes: one report, nothing by halves, nothing twice."""

import json
from pathlib import Path

import pytest

from tests.integration.cli_fixtures import Karvenia, Machine, karvenia

__all__ = ["karvenia"]
pytestmark = pytest.mark.timeout(180)

TABLE = """ref;at;to;text.en;fact.topic;schedule
spring-01;2090-03-28T09:00;hq.mastodon;"Good morning
---
and good night";spring;no
spring-02;now;hq.mastodon;{text};;
;now;hq.mastodon;"Without a name";;
"""


def _write(machine: Machine, name: str, text: str) -> Path:
    path = machine.folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _count(machine: Machine) -> int:
    return len(machine.ask("post", "list"))


def test_a_table_is_checked_drafted_once_and_reported(karvenia: Karvenia) -> None:
    officer = karvenia["hocevar"]
    table = _write(officer, "spring.csv", "\ufeff" + TABLE.format(text="x" * 900))
    before = _count(officer)
    tried = officer.ask("import", table, "--mission=krv.hq", "--dry-run")
    assert (tried["written"], tried["rows"], tried["drafted"]) == (False, 3, 3)
    assert _count(officer) == before
    done = officer.run("import", table, "--mission=krv.hq")
    assert (done.returncode, done.stderr) == (0, "3 rows: 3 drafted.\n")
    [_, problem] = done.stdout.splitlines()
    assert problem.split("\t")[:3] == ["line 5", "spring-02", "drafted"]
    again = officer.ask("import", table, "--mission=krv.hq")
    assert (again["there"], again["drafted"], _count(officer)) == (3, 0, before + 3)
    post = officer.ask("post", "show", again["items"][0]["post"])
    assert [each["text"] for each in post["texts"]["en"]] == ["Good morning", "and good night"]
    assert (post["facts"], post["schedule_on_approval"]) == ({"topic": "spring"}, False)


def test_while_a_row_is_refused_nothing_is_written(karvenia: Karvenia) -> None:
    officer = karvenia["hocevar"]
    before = _count(officer)
    rows = ["at,to,text.en,late_minutes,zone"]
    rows += [f"2090-03-28T09:00,hq.mastodon,Bulletin {number},," for number in range(60)]
    rows[10] = "2090-03-28T09:00,hq.mastodon,one,two,,three"
    rows[20] = "2090-03-28T09:00,hq.mastodon,late,soon,"
    rows[30] = "2090-03-28T09:00,hq.mastodon,malformed,,No zone!"
    rows[40] = ",hq.mastodon,no time,,Europe/Ljubljana"
    rows[41] = rows[59]
    rows[50] = "2020-03-28T09:00,hq.mastodon,over,,"
    table = _write(officer, "faults.csv", "\n".join(rows))
    assert officer.refusal("import", table, "--mission=krv.hq") == "rows_refused"
    told = json.loads(officer.run("import", table, "--mission=krv.hq", "--json").stdout)
    refused = {
        each["place"]: each["refusal"]["code"]
        for each in told["items"]
        if each["fate"] == "refused"
    }
    assert refused == {
        "line 11": "cells_too_many",
        "line 21": "cell_invalid",
        "line 31": "body_invalid",
        "line 41": "cell_missing",
        "line 51": "time_past",
        "line 60": "ref_repeated",
    }
    assert (told["written"], told["drafted"], _count(officer)) == (False, 54, before)


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.csv", "mission,colour\nkrv.hq,red\n", "column_unknown"),
        ("b.csv", "mission,to,to\nkrv.hq,a,b\n", "column_repeated"),
        ("c.csv", "to,text.en\nhq.mastodon,Good morning\n", "column_missing"),
        ("d.csv", "mission,to\n\n", "import_empty"),
        ("e.csv", 'mission,to\n"krv.hq,a\n', "table_unreadable"),
        ("f.json", "[]", "policy_invalid"),
    ],
)
def test_a_file_that_is_no_list_of_posts_is_refused_by_name(
    karvenia: Karvenia, name: str, text: str, code: str
) -> None:
    officer = karvenia["hocevar"]
    assert officer.refusal("import", _write(officer, name, text)) == code


POST = {
    "author": "krv.hocevar",
    "ministry": "krv",
    "targets": ["hq.mastodon"],
    "lang": "en",
    "text": "1/2 Good morning from Lipovec!",
    "thread": ["2/2 And good night."],
    "schedule": {"local": "2090-06-27T09:00", "tz": "Europe/Ljubljana"},
    "cls": "routine",
    "topic": "spring",
    "expect": {"rules": [], "final": "published"},
}
SCENARIO = {
    "ministries": [{"id": "krv"}, {"id": "drd"}],
    "missions": [{"id": "krv.hq", "ministry": "krv"}],
    "accounts": [{"id": "hq.mastodon", "owner": "krv.hq", "platform": "mastodon", "lang": "en"}],
    "posts": [
        {**POST, "id": "S001"},
        {**POST, "id": "S002", "embargo": "E1", "media": [{"file": "bridge.jpg"}]},
        {**POST, "id": "S003", "targets": ["hq.x"]},
        {**POST, "id": "S004", "ministry": "drd"},
    ],
}


def test_a_scenarios_posts_are_imported_and_what_a_draft_cannot_carry_is_named(
    karvenia: Karvenia,
) -> None:
    officer = karvenia["hocevar"]
    path = _write(officer, "town.json", json.dumps(SCENARIO))
    assert officer.run("import", path).returncode == 2  # of which ministry?
    assert officer.refusal("import", path, "--ministry=krv") == "rows_refused"
    told = json.loads(officer.run("import", path, "--ministry=krv", "--json").stdout)["items"]
    assert [each["refusal"] and each["refusal"]["code"] for each in told] == [
        *(None, "member_not_imported", "row_unreadable")
    ]
    assert "embargo, media" in told[1]["refusal"]["message"]
    path.write_text(json.dumps({**SCENARIO, "posts": SCENARIO["posts"][:1]}), encoding="utf-8")
    [made] = officer.ask("import", path)["items"]
    shown = officer.ask("post", "show", made["post"])
    assert (shown["mission"], shown["facts"]) == ("krv.hq", {"topic": "spring"})
    assert [each["text"] for each in shown["texts"]["en"]] == [POST["text"], *POST["thread"]]
    assert shown["when"]["due_at"] == "2090-06-27T07:00:00Z"


def test_with_the_refused_rows_skipped_the_others_are_drafted(karvenia: Karvenia) -> None:
    officer = karvenia["hocevar"]
    before = _count(officer)
    two = _write(officer, "two.csv", "mission,to\nkrv.hq,nothing\nkrv.hq,hq.mastodon\n")
    assert officer.refusal("import", two, "--skip-refused", "--dry-run") == "rows_refused"
    assert _count(officer) == before
    assert officer.refusal("import", two, "--skip-refused") == "rows_refused"
    assert _count(officer) == before + 1


def test_a_file_beyond_all_lists_is_refused_before_it_is_read(karvenia: Karvenia) -> None:
    path = _write(karvenia["hocevar"], "huge.csv", "mission,to\n")
    with path.open("r+b") as file:
        file.truncate(65 << 20)
    assert karvenia["hocevar"].refusal("import", path) == "file_too_large"
