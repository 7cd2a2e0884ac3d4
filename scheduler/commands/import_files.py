"""The lists that posts are imported from, a table (CSV) or a scenario file: each row becomes the body of a draft."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from scheduler.commands.files import read_text
from scheduler.commands.refusals import RefusedError
from scheduler.commands.writing import read_fact, split_thread
from scheduler.policy.facts import AUTHORED
from scheduler.policy.scenario import read_scenario
from scheduler.policy.world import World

Body = dict[str, Any]

_CARD: Final = ("card.uri", "card.title", "card.description")
_COLUMNS: Final = frozenset(
    {
        *("ref", "mission", "class", "title", "to", "campaign", "schedule"),
        *("at", "zone", "choice", "until", "late_minutes"),
        *_CARD,
    }
)
_FAMILIES: Final = ("text", "variant", "language", "fact")
_WORDS: Final = {"yes": True, "true": True, "no": False, "false": False}
#: A spreadsheet cell of this length is a mistake; csv's own limit is lower than what a thread may need.
_MAX_CELL: Final = 1 << 20
_MAX_BYTES: Final = 64 << 20
#: Members of a scenario's post that a draft carries, or that only describe it. A post with others is refused, by name.
_CARRIED: Final = frozenset(
    {
        *("id", "ministry", "targets", "lang", "text", "thread", "schedule", "cls", "title"),
        *("campaign", "fold", "topic", "format", "origin", "mark", "valid_until", "closes"),
        *("incident_minute", "source_ref", "event_public", "corrects", "case", "impact_score"),
        *("line_ref", "alert_fields", "mirror_group", "linked_notice"),
    }
)
_DESCRIBING: Final = frozenset(
    {"author", "workflow", "expect", "sandbox", "lengths", "note", "edge"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of the list: the draft it asks for, or what keeps it from being read."""

    place: str  #: `line 4`, `post P012`
    ref: str
    body: Body
    fault: tuple[str, str] | None = None  #: code and message


class _FaultError(Exception):
    """A row cannot be read; the others can."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_lines(path: Path, *, mission: str | None, ministry: str | None) -> list[Line]:
    """Every row of the file, also those that cannot be read.

    Raises:
        RefusedError: the file as a whole cannot be read; nothing was sent.
        PolicyInvalidError: not of a scenario's form.
    """
    if path.stat().st_size > _MAX_BYTES:
        message = f"{path} is larger than {_MAX_BYTES >> 20} MiB; cut it into several"
        raise RefusedError(message, "file_too_large")
    text = read_text(path)
    if path.suffix.lower() == ".json":
        found = list(_read_posts(read_scenario(path.name, text), ministry))
    else:
        found = list(_read_table(path.name, text, mission))
    if not found:
        raise RefusedError(f"{path} holds no post", "import_empty")
    return list(_mark_repeated(found))


def _mark_repeated(lines: Sequence[Line]) -> Iterator[Line]:
    """Here, because rows that are sent apart do not meet before the first is written."""
    places: dict[tuple[object, str], str] = {}
    for line in lines:
        first = places.setdefault((line.body.get("mission"), line.ref), line.place)
        if line.fault is None and first != line.place:
            fault = ("ref_repeated", f"{first} is called so as well, or says the same")
            yield replace(line, fault=fault)
        else:
            yield line


def _line(place: str, ref: str, read: Callable[[], Body]) -> Line:
    try:
        body = read()
    except _FaultError as exc:
        return Line(place=place, ref=ref, body={}, fault=(exc.code, str(exc)))
    return Line(place=place, ref=ref or _name(body), body=body)


def _name(body: Body) -> str:
    """A row without a name is called after what it says: changed, it is another post."""
    told = json.dumps(body, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return f"row-{hashlib.sha256(told).hexdigest()[:32]}"


def _read_table(name: str, text: str, mission: str | None) -> Iterator[Line]:
    csv.field_size_limit(_MAX_CELL)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _read_columns(name, next(reader, []), has_mission=mission is not None)
        start = reader.line_num + 1
        for cells in reader:
            place, start = f"line {start}", reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            given = {
                column: cell for column, cell in zip(columns, cells, strict=False) if cell.strip()
            }
            ref = given.pop("ref", "").strip()
            yield _line(place, ref, partial(_read_row, given, mission, len(cells) - len(columns)))
    except csv.Error as exc:
        raise RefusedError(f"{name}, line {reader.line_num}: {exc}", "table_unreadable") from exc


def _read_columns(name: str, cells: Sequence[str], *, has_mission: bool) -> list[str]:
    columns = [cell.strip() for cell in cells]
    for column in columns:
        family, _, key = column.partition(".")
        if column not in _COLUMNS and not (family in _FAMILIES and key):
            known = ", ".join([*sorted(_COLUMNS), *(f"{each}.…" for each in _FAMILIES)])
            message = f"{name} has the column {column[:60]!a}; known are {known}"
            raise RefusedError(message, "column_unknown")
        if columns.count(column) > 1:
            raise RefusedError(f"{name} has the column {column} twice", "column_repeated")
    if "mission" not in columns and not has_mission:
        raise RefusedError(
            f"{name} has no column mission; name one with --mission", "column_missing"
        )
    return columns


def _read_row(given: Mapping[str, str], mission: str | None, extra: int) -> Body:
    if extra > 0:
        raise _FaultError("cells_too_many", "it has more cells than the first line has columns")
    plain = {name: cell.strip() for name, cell in given.items()}
    owner = plain.get("mission") or mission
    if owner is None:
        raise _FaultError("cell_missing", "the column mission is empty")
    schedule = plain.get("schedule")
    body: Body = {
        "mission": owner,
        **{name: plain[name] for name in ("class", "title", "campaign") if name in plain},
        "targets": plain.get("to", "").replace(",", " ").replace(";", " ").split(),
        "texts": _threads(given, "text"),
        "variants": _threads(given, "variant"),
        "languages": _family(plain, "language"),
        "facts": {key: read_fact(text) for key, text in _family(plain, "fact").items()},
        "when": _read_when(plain),
        "link_card": {each.partition(".")[2]: plain[each] for each in _CARD if each in plain},
        "schedule_on_approval": None if schedule is None else _read_word(schedule),
    }
    return {name: value for name, value in body.items() if value not in (None, [], {})}


def _threads(given: Mapping[str, str], family: str) -> dict[str, list[Body]]:
    return {key: _segments(split_thread(text)) for key, text in _family(given, family).items()}


def _family(given: Mapping[str, str], family: str) -> dict[str, str]:
    start = f"{family}."
    return {name[len(start) :]: cell for name, cell in given.items() if name.startswith(start)}


def _read_word(word: str) -> bool:
    if word.lower() not in _WORDS:
        raise _FaultError("cell_invalid", f"schedule is yes or no, not {word[:20]!a}")
    return _WORDS[word.lower()]


def _read_when(plain: Mapping[str, str]) -> Body | None:
    names = {"zone": "zone", "choice": "choice", "until": "not_after"}
    when: Body = {to: plain[name] for name, to in names.items() if name in plain}
    if "late_minutes" in plain:
        if not (plain["late_minutes"].isascii() and plain["late_minutes"].isdigit()):
            raise _FaultError("cell_invalid", "late_minutes is a number of minutes")
        when["late_minutes"] = int(plain["late_minutes"][:9])
    if "at" in plain:
        when["local"] = None if plain["at"] == "now" else plain["at"].replace(" ", "T", 1)
    elif when:
        raise _FaultError("cell_missing", "the column at is empty, but others say something of it")
    return when or None


def _segments(texts: Sequence[str]) -> list[Body]:
    return [{"text": text, "media": []} for text in texts]


def _read_posts(world: World, ministry: str | None) -> Iterator[Line]:
    known = sorted({str(post.get("ministry", "")) for post in world.posts})
    if ministry is None and len(known) > 1:
        raise click.UsageError(f"{world.name} has posts of several: --ministry {'|'.join(known)}")
    for number, post in enumerate(world.posts, start=1):
        if ministry is None or post.get("ministry") == ministry:
            ref = str(post.get("id", ""))
            place = f"post {ref or number}"
            yield _line(place, ref, partial(_read_post, world, post))


def _read_post(world: World, post: Mapping[str, Any]) -> Body:
    left = sorted(name for name in post if post[name] and name not in _CARRIED | _DESCRIBING)
    if post.get("sandbox"):
        left.append("sandbox")
    if left:
        names = ", ".join(left)
        raise _FaultError(
            "member_not_imported", f"a draft cannot carry its {names}; write it by hand"
        )
    try:
        return _build_body(world, post)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
        why = f"{type(exc).__name__}: {exc}"
        raise _FaultError("row_unreadable", f"not of a scenario's form ({why[:100]})") from exc


def _build_body(world: World, post: Mapping[str, Any]) -> Body:
    owner = str(world.accounts[post["targets"][0]]["owner"])
    told = world.facts_of(post)
    schedule, fold = post.get("schedule") or {}, post.get("fold")
    body: Body = {
        "mission": owner if owner in world.missions else world.headquarters(str(post["ministry"])),
        "class": post.get("cls", "routine"),
        "title": post.get("title"),
        "campaign": post["campaign"].lower() if post.get("campaign") else None,
        "targets": list(post["targets"]),
        "texts": {post.get("lang", "en"): _segments([post["text"], *post.get("thread", ())])},
        "facts": {name: value for name, value in told.items() if name in AUTHORED},
    }
    if schedule:
        choice = None if fold is None else ("later" if fold else "earlier")
        body["when"] = {"local": schedule["local"], "zone": schedule.get("tz"), "choice": choice}
    return {name: value for name, value in body.items() if value}
