"""What the documents say about the code is true."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from scheduler.commands.root import chancery
from scheduler.settings import Settings
from tests.support.tables import DEPENDENCIES, ROOT, TABLES, Table, find_dependencies, find_errors

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: Read by the command or the tests, not by the processes of an installation.
OTHER_VARIABLES = {"CHANCERY_TOKEN", "CHANCERY_URL", "CHANCERY_TEST_DATABASE_URL"}


def each_document() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_generated_table_is_what_the_code_says_now(table: Table) -> None:
    assert table.place()[1] == table.build(), "run `make fix`"


def test_every_dependency_has_its_line_of_reason() -> None:
    rows = re.findall(r"^\| (\S+) \|.*\| ([^|]*) \|$", DEPENDENCIES.place()[1], re.MULTILINE)
    reasons = {name: reason.strip() for name, reason in rows[1:]}
    assert reasons.keys() - {"---"} == find_dependencies()
    assert all(reasons.values())


def test_every_refusal_has_a_code_of_its_own() -> None:
    codes: dict[str, list[str]] = {}
    for error in find_errors():
        codes.setdefault(error.code, []).append(error.__name__)
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", error.code)
    assert {code: names for code, names in codes.items() if len(names) > 1} == {}


@each_document()
def test_every_command_that_a_document_names_exists(path: Path) -> None:
    named = re.findall(
        r"(?:^|[`(]|bin/)chancery ([a-z]+)(?: ([a-z]+))?", path.read_text(), re.MULTILINE
    )
    known = dict(_commands())
    for command, sub in named:
        assert command in known
        if sub and known[command]:
            assert sub in known[command], f"chancery {command} {sub}"


@each_document()
def test_every_make_target_that_a_document_names_exists(path: Path) -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)", path.read_text())) <= set(targets)


@each_document()
def test_every_setting_that_a_document_names_exists(path: Path) -> None:
    known = {f"CHANCERY_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    assert set(re.findall(r"CHANCERY_[A-Z_]+[A-Z]", path.read_text())) <= known


@each_document()
def test_every_link_of_a_document_leads_to_a_file(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (path.parent / link).exists()] == []


@each_document()
def test_every_test_that_a_document_names_exists(path: Path) -> None:
    for file, name in re.findall(r"`(tests/\S+\.py)::(test_\w+)`", path.read_text()):
        tree = ast.parse((ROOT / file).read_text())
        names = {each.name for each in ast.walk(tree) if isinstance(each, _FUNCTIONS)}
        assert name in names


def test_every_rule_of_publishing_names_the_test_that_proves_it_or_says_that_there_is_none() -> (
    None
):
    text = (ROOT / "docs/publishing.md").read_text()
    rows = dict(re.findall(r"^\| (R\d+) \|(.*)$", text, re.MULTILINE))
    assert list(rows) == [f"R{number}" for number in range(1, 11)]
    assert all("::test_" in row for row in rows.values())


def test_a_decision_record_fits_on_one_page() -> None:
    records = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert [path.name[:4] for path in records] == [f"{n:04}" for n in range(1, len(records) + 1)]
    assert {path.name for path in records if len(path.read_text().splitlines()) > 40} == set()


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _commands() -> Iterator[tuple[str, frozenset[str]]]:
    context = click.Context(chancery)
    for name in chancery.list_commands(context):
        command = chancery.get_command(context, name)
        yield name, frozenset(command.commands) if isinstance(command, click.Group) else frozenset()
