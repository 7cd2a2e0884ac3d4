"""What is installed is what was written: the wheel's contents, and locks that hold hashes and nothing else."""

import re
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.tables import ROOT, find_dependencies

OURS = {"scheduler", "adapters", "worker.py", "cli.py"}
LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a freshly built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_our_four_names_and_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {name for name in tops if not name.endswith(".dist-info")} == OURS


def test_the_wheel_holds_every_file_of_our_packages(wheel: set[str]) -> None:
    written = {
        path.relative_to(ROOT).as_posix()
        for package in ("scheduler", "adapters")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert written == {name for name in wheel if name.startswith(("scheduler/", "adapters/"))}


def test_no_other_distribution_installs_a_name_of_ours() -> None:
    others = [each for each in distributions() if each.name != "chancery-scheduler"]
    tops = {file.parts[0] for each in others for file in each.files or ()}
    assert tops.isdisjoint(OURS)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_exact_versions_and_hashes_only(lock: str) -> None:
    line = r"[a-z0-9.-]+(\[[a-z0-9,-]+\])?==[^\s;]+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?"
    text = (ROOT / lock).read_text()
    assert [each for each in text.splitlines() if not re.fullmatch(line, each)] == []


def test_the_developers_lock_holds_all_of_the_other_in_the_same_versions() -> None:
    runtime, developers = (_pins(lock) for lock in LOCKS)
    assert runtime.items() <= developers.items()
    assert {_normal(name) for name in find_dependencies()} <= developers.keys()


def test_the_lock_names_the_extras_that_packages_ask_for() -> None:
    """pip does not apply a pin of `name` to `name[extra]`: a newer release would break every new installation."""
    locked = (ROOT / "requirements-dev.lock").read_text()
    asked = {
        f"{_normal(need.name)}[{extra}]"
        for each in distributions()
        for need in map(Requirement, each.requires or ())
        if need.marker is None or need.marker.evaluate({"extra": ""})
        for extra in need.extras
    }
    assert {each for each in asked if f"\n{each}==" not in f"\n{locked}"} == set()


def _pins(lock: str) -> dict[str, str]:
    text = Path(ROOT / lock).read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)(?:\[[^\]]+\])?==(\S+)", text, re.MULTILINE))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
