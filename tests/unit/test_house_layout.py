"""The house keeps its shape: sizes, places, and nothing in it that belongs to one machine."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("adapters", "scheduler", "tests", "bench", "cli.py", "worker.py")
#: Not ours to look at: what set-up, tools and installations leave in the folder.
LEFT_BEHIND = {"var", "dist", "__pycache__"}

MOST_MODULE_LINES = 400
MOST_FUNCTION_LINES = 40
#: What is larger, by how many lines. A name is never added and a number never raised.
TOO_LONG = {
    "scheduler/app.py::application": 41,
    "tests/integration/test_api_json.py::test_a_body_that_not_every_reader_understands_alike_is_refused": 51,
    "tests/integration/test_api_posts.py": 414,
    "tests/integration/test_practice_bluesky.py": 999,
    "tests/integration/test_practice_mastodon.py": 616,
    "tests/integration/test_services_evidence.py": 435,
    "tests/integration/test_services_posts.py": 471,
}


def test_modules_and_functions_stay_small() -> None:
    found = {}
    for path in _code_files():
        name, text = str(path.relative_to(ROOT)), path.read_text()
        if (lines := len(text.splitlines())) > MOST_MODULE_LINES:
            found[name] = lines
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_FUNCTION_LINES:
                    found[f"{name}::{node.name}"] = length
    assert found == TOO_LONG


def test_the_folder_of_migrations_is_not_a_package() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()  # it would hide the library


def test_no_file_holds_the_address_of_a_package_index() -> None:
    index = re.compile(
        r"py[p]i\.org|python[h]osted|--(extra-)?index-url|--find[-]links", re.IGNORECASE
    )
    assert _holding(index) == []


def test_no_file_holds_a_path_of_the_machine_it_was_made_on() -> None:
    here = re.escape(str(ROOT))
    pattern = rf"(?<![\w.]){here}(?=[/\s'\"])|/(?:home|Users)/[a-z]+/|/root/\."
    assert _holding(re.compile(pattern)) == []


def _holding(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in _our_files():
        text = path.read_bytes().decode(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {each[0]}" for each in pattern.finditer(text)]
    return found


def _our_files() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in LEFT_BEHIND and (name == ".ci" or not name.startswith("."))
        ]
        yield from (Path(folder, name) for name in files if name != ".coverage")


def _code_files() -> Iterator[Path]:
    for name in CODE:
        path = ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]
