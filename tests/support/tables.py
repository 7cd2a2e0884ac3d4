"""The tables in the documents that come from code; `make fix` writes them, and a test compares them."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import metadata
from pathlib import Path
from pkgutil import walk_packages
from typing import Final

import scheduler
from scheduler.commands.advice import FINDINGS
from scheduler.domain import delivery_flow, post_flow
from scheduler.domain.alert_kinds import WORDS
from scheduler.errors import ChanceryError
from scheduler.settings import Settings

ROOT: Final = Path(__file__).parents[2]
DEVELOPERS_LOCK: Final = ROOT / "requirements-dev.lock"


@dataclass(frozen=True, slots=True)
class Table:
    """A table that stands in `file` between `<!-- NAME: … -->` and `<!-- end of NAME -->`."""

    file: str
    name: str
    build: Callable[[], str]

    def place(self) -> tuple[str, str, str]:
        """The document as before, inside and after the markers."""
        pattern = rf"(.*<!-- {self.name}: [^\n]+ -->\n)(.*)(<!-- end of {self.name} -->.*)"
        found = re.fullmatch(pattern, (ROOT / self.file).read_text(), re.DOTALL)
        if found is None:
            raise ValueError(f"{self.file} has no place for the table {self.name}")
        return found[1], found[2], found[3]

    def write(self) -> None:
        before, _, after = self.place()
        (ROOT / self.file).write_text(before + self.build() + after)


def build_settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = f"`{field.default}`" if isinstance(field.default, str) and field.default else ""
        rows.append((f"`CHANCERY_{name.upper()}`", default, field.description or ""))
    return _draw(("variable", "default", "meaning"), rows)


def find_errors() -> list[type[ChanceryError]]:
    """Every refusal of the product, by code; families without a code of their own are left out."""
    for module in walk_packages(scheduler.__path__, "scheduler."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    return sorted(
        (each for each in _subclasses(ChanceryError) if "code" in vars(each)),
        key=lambda each: (each.code, each.__module__),
    )


def build_errors() -> str:
    rows = [(f"`{each.code}`", str(each.status), _meaning(each)) for each in find_errors()]
    return _draw(("code", "status", "meaning"), rows)


def build_post_moves() -> str:
    rows = [
        (move.action, ", ".join(sorted(move.sources)), move.target, move.needs or "the system")
        for move in post_flow.MOVES
    ]
    return _draw(("move", "from", "to", "needs"), rows)


def build_delivery_moves() -> str:
    rows = [
        (move.action, ", ".join(sorted(move.sources)), move.target) for move in delivery_flow.MOVES
    ]
    return _draw(("move", "from", "to"), rows)


def build_findings() -> str:
    """What the doctor can say; a refusal speaks for itself, so its general meaning stands here."""
    meanings = {each.code: _meaning(each) for each in find_errors()}
    rows = [
        (each.check, f"`{each.code}`", each.result, each.says or meanings[each.code], each.do)
        for each in FINDINGS
    ]
    return _draw(("check", "code", "result", "it says", "what to do"), rows)


def build_alert_kinds() -> str:
    rows = [(f"`{kind}`", words.headline, words.what) for kind, words in WORDS.items()]
    return _draw(("kind", "headline", "what it says"), rows)


def build_dependencies() -> str:
    """The release is the lock's, the licence the package's own word; the reason stands in the document already."""
    old = DEPENDENCIES.place()[1]
    reasons = dict(re.findall(r"^\| (\S+) \|.*\| ([^|]+) \|$", old, re.MULTILINE))
    releases = dict(
        re.findall(r"^(\S+?)(?:\[.*\])?==(\S+)", DEVELOPERS_LOCK.read_text(), re.MULTILINE)
    )
    rows = [
        (name, releases[name], _licence(metadata(name).json), reasons.get(name, ""))
        for name in sorted(find_dependencies())
    ]
    return _draw(("name", "release", "licence", "why"), rows)


def find_dependencies() -> set[str]:
    """The names of all direct dependencies, optional and development ones included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *(each for extra in project["project"]["optional-dependencies"].values() for each in extra),
        *(each for group in project["dependency-groups"].values() for each in group),
    ]
    return {re.split(r"[\[<>=~!;]", each)[0] for each in wanted if isinstance(each, str)}


def _subclasses(parent: type[ChanceryError]) -> Iterator[type[ChanceryError]]:
    for child in parent.__subclasses__():
        if child.__module__.startswith("scheduler."):
            yield child
        yield from _subclasses(child)


def _meaning(error: type[ChanceryError]) -> str:
    """The first paragraph of its docstring, else what its code says."""
    doc = vars(error).get("__doc__") or f"{error.code.replace('_', ' ').capitalize()}."
    return " ".join(doc.strip().split("\n\n")[0].split())


def _licence(facts: Mapping[str, str | list[str]]) -> str:
    if expression := facts.get("license_expression"):
        return str(expression)
    classifiers = facts.get("classifier", [])
    named = [each.rsplit(" :: ", 1)[1] for each in classifiers if each.startswith("License ::")]
    return (named or str(facts.get("license", "")).splitlines() or ["not stated"])[0]


def _draw(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = (head, tuple("---" for _ in head), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


DEPENDENCIES: Final = Table("docs/dependencies.md", "dependencies", build_dependencies)
TABLES: Final = (
    Table("README.md", "settings", build_settings),
    Table("docs/errors.md", "errors", build_errors),
    Table("docs/lifecycle.md", "post moves", build_post_moves),
    Table("docs/lifecycle.md", "delivery moves", build_delivery_moves),
    Table("docs/alerts.md", "alert kinds", build_alert_kinds),
    DEPENDENCIES,
    Table("docs/operations.md", "findings", build_findings),
)

if __name__ == "__main__":
    for each in TABLES:
        each.write()
