"""`chancery policy` where it needs no installation: a template, its examples, and scenario files."""

import json
import subprocess
import sys
from pathlib import Path

from scheduler.practice.scenario import DEFAULT_FILE

ROOT = Path(__file__).parents[2]


def chancery(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", "policy", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_template_is_written_changed_and_tried(tmp_path: Path) -> None:
    folder = tmp_path / "karvenia"
    assert chancery("template", folder).returncode == 0
    tried = chancery("test", folder)
    assert (tried.returncode, tried.stdout.splitlines()[-1]) == (
        0,
        "156 of 156 examples of 52 rules are right.",
    )
    again = chancery("template", folder)
    assert (again.returncode, again.stderr.split()[-1]) == (1, "[folder_not_empty]")

    terms = folder / "rules_terms.yaml"
    terms.write_text(
        terms.read_text().replace("The delegation arrives in Kiev", "We arrive in Kyiv")
    )
    wrong = chancery("test", folder, "--json")
    assert (wrong.returncode, wrong.stderr.split()[-1]) == (1, "[policy_test_failed]")
    [told] = json.loads(wrong.stdout)["wrong"]
    assert (told["rule"], told["should"]) == ("R01", "apply")
    assert told["place"].startswith("rules_terms.yaml:")

    terms.write_text(terms.read_text().replace("effect: block", "effect: burn", 1))
    refused = chancery("test", folder)
    assert refused.returncode == 1
    assert "rules_terms.yaml:7: rules[0].effect: must be one of" in refused.stderr


def test_an_empty_folder_is_no_policy(tmp_path: Path) -> None:
    refused = chancery("test", tmp_path)
    assert (refused.returncode, refused.stderr.split()[-1]) == (1, "[policy_empty]")


def test_a_scenario_is_compared_post_by_post(tmp_path: Path) -> None:
    exact = chancery("test", "--scenario", DEFAULT_FILE)
    told = "The findings on 122 of 122 posts are exact; 122 end as expected.\n"
    assert (exact.returncode, exact.stdout) == (0, told)
    content = json.loads(DEFAULT_FILE.read_text())
    content["posts"][0]["expect"]["rules"] = [{"id": "R05", "effect": "require"}]
    changed = tmp_path / "other.json"
    changed.write_text(json.dumps(content))
    differs = chancery("test", "--scenario", changed, "--json")
    assert (differs.returncode, differs.stderr.split()[-1]) == (1, "[policy_test_failed]")
    told = json.loads(differs.stdout)
    assert (told["posts"], told["exact"]) == (122, 121)
    [difference] = told["differences"]
    assert difference["post"] == content["posts"][0]["id"]
    assert difference["missing"] == [{"rule": "R05", "effect": "require"}]
    assert difference["unexpected"] == []
