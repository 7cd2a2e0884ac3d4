"""`chancery import`: many posts from a list, reported on as a whole before the first is written."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.import_files import Line, read_lines
from scheduler.commands.printing import (
    json_option,
    limit_option,
    progress,
    show_items,
    show_json,
)
from scheduler.commands.refusals import RefusedError

_MOST_ROWS: Final = 50  #: of one request, as the API has it
_MOST_LETTERS: Final = 200_000  #: of the rows of one request, well below what the API reads
#: One row that is not of the API's form makes it refuse all rows of a request.
_MALFORMED: Final = frozenset(
    {"body_invalid", "body_too_large", "field_unknown", "text_control", "text_surrogate"}
)
_COLUMNS: Final = {
    "where": "place",
    "ref": "ref",
    "is": "fate",
    "code": "code",
    "account": "account",
    "message": "message",
}
Item = dict[str, Any]


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--mission", help="Whose posts they are, where a row does not say so.")
@click.option("--ministry", help="Whose posts of a scenario file to take.")
@click.option("--dry-run", is_flag=True, help="Only report; write nothing.")
@click.option("--skip-refused", is_flag=True, help="Draft the other rows all the same.")
@limit_option
@json_option
@needs_api
def import_(
    api: Api,
    /,
    *,
    file: Path,
    dry_run: bool,
    skip_refused: bool,
    limit: int,
    as_json: bool,
    **owner: str | None,
) -> None:
    """Draft the posts of a table (CSV) or of a scenario file (.json); you are their author.

    Every row is checked first, and nothing is written while one is refused, unless you skip those. What a draft still
    lacks, and what the policy says of it, is reported and can be mended later. Run it again after a cut: no row is
    drafted twice.

    Example: chancery import spring.csv --mission krv.hq --dry-run

    Example: chancery import lipovec.json --ministry krv
    """
    lines = read_lines(file, mission=owner["mission"], ministry=owner["ministry"])
    items = _send_all(api, lines, "checking the posts", only_try=True)
    refused = _count(items)["refused"]
    written = not dry_run and (skip_refused or not refused)
    if written:
        items = _send_all(api, lines, "drafting the posts", only_try=False)
        refused = _count(items)["refused"]
    _report(items, written=written, limit=limit, as_json=as_json)
    if refused:
        rest = "the others are drafted" if written else "nothing was written"
        message = f"{refused} of {len(items)} rows are refused; {rest}; mend them and run it again"
        raise RefusedError(message, "rows_refused")


def _send_all(api: Api, lines: Sequence[Line], told: str, *, only_try: bool) -> list[Item]:
    """What becomes of every row, in the file's order."""
    items = []
    with progress(told, len(lines)) as advance:
        for chunk in _cut(lines):
            items += _send(api, chunk, only_try=only_try)
            advance(len(chunk))
    return items


def _cut(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Stretches of rows that fit into one request."""
    chunk: list[Line] = []
    letters = 0
    for line in lines:
        size = len(repr(line.body))
        if chunk and (len(chunk) == _MOST_ROWS or letters + size > _MOST_LETTERS):
            yield chunk
            chunk, letters = [], 0
        chunk.append(line)
        letters += size
    yield chunk


def _send(api: Api, lines: Sequence[Line], *, only_try: bool) -> list[Item]:
    """Send the rows that could be read; where one is malformed, halve them until it is alone."""
    readable = [line for line in lines if line.fault is None]
    if not readable:
        return [_refused(line) for line in lines]
    body = {"posts": [{**line.body, "ref": line.ref} for line in readable], "only_try": only_try}
    try:
        answers = iter(api.post("/imports", body)["items"])
    except RefusedError as exc:
        if exc.code not in _MALFORMED:
            raise
        if len(lines) == 1:
            return [_refused(replace(lines[0], fault=(exc.code, exc.message)))]
        half = len(lines) // 2
        return [
            *_send(api, lines[:half], only_try=only_try),
            *_send(api, lines[half:], only_try=only_try),
        ]
    return [
        {"place": line.place, **next(answers)} if line.fault is None else _refused(line)
        for line in lines
    ]


def _refused(line: Line) -> Item:
    code, message = line.fault or ("", "")
    refusal = {"code": code, "message": message}
    return {
        "place": line.place,
        "ref": line.ref,
        "fate": "refused",
        "post": None,
        "refusal": refusal,
        "problems": [],
        "findings": [],
    }


def _count(items: Sequence[Item]) -> Counter[str]:
    return Counter(item["fate"] for item in items)


def _report(items: Sequence[Item], *, written: bool, limit: int, as_json: bool) -> None:
    counts = _count(items)
    totals = {name: counts[name] for name in ("drafted", "there", "refused")}
    if as_json:
        show_json({"written": written, "rows": len(items), **totals, "items": list(items)})
        return
    told = [row for item in items for row in _tell(item)]
    if told:
        show_items(told[:limit], _COLUMNS, as_json=False)
    if len(told) > limit:
        click.echo(f"… and {len(told) - limit} more; see them with --limit or --json", err=True)
    if not counts["refused"]:  # else the refusal says it
        word = "drafted" if written else "can be drafted"
        rest = f", {counts['there']} were there already" if counts["there"] else ""
        click.echo(f"{len(items)} rows: {counts['drafted']} {word}{rest}.", err=True)


def _tell(item: Item) -> Iterator[Item]:
    """A line for all that a person may want to mend."""
    start = {"place": item["place"], "ref": item["ref"], "fate": item["fate"], "account": None}
    if item["refusal"] is not None:
        yield {**start, **item["refusal"]}
    for problem in item["problems"]:
        yield {**start, **problem}
    for finding in item["findings"]:
        code = f"{finding['rule']} ({finding['effect']})"
        yield {**start, "code": code, "message": finding["message"]}
