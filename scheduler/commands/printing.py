"""What the terminal shows: tables, plain lines elsewhere, JSON when asked; never a control character or a secret."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from scheduler.domain.text import hidden_characters

DEFAULT_LIMIT: Final = 100
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

json_option = click.option("--json", "as_json", is_flag=True, help="Print the API's own JSON.")
limit_option = click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Show at most so many.",
)


def show_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def show_items(
    items: Iterable[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool
) -> None:
    """Print a list; `columns` names the member (`when.due_at`) that each title shows."""
    found = list(items)
    if as_json:
        show_json(found)
        return
    rows = [[_cell(item, path) for path in columns.values()] for item in found]
    if sys.stdout.isatty():
        _print_table(list(columns), rows)
        return
    for row in ([title.upper() for title in columns], *rows):
        click.echo("\t".join(row))


def show_fields(
    item: Mapping[str, Any], fields: Mapping[str, str], *, as_json: bool, err: bool = False
) -> None:
    """Print one thing: all of it as JSON, else the named members, a line each, without empty ones."""
    if as_json:
        show_json(item)
        return
    width = max(map(len, fields))
    for title, path in fields.items():
        if cell := _cell(item, path):
            click.echo(f"{title:<{width}}  {cell}", err=err)


def clean(text: str) -> str:
    """Without what could move the cursor or turn the reading order around."""
    return _CONTROL.sub("\ufffd", text)


def mark_hidden(text: str) -> str:
    """With every character that nobody sees written out as ⟨ITS NAME⟩."""
    marked, end = [], 0
    for span in hidden_characters(text):
        length = span.end - span.start
        times = f" x{length}" if length > 1 else ""
        marked += [text[end : span.start], f"⟨{span.name}{times}⟩"]
        end = span.end
    return "".join([*marked, text[end:]])


def read_secret(name: str) -> str:
    """Ask for it without showing it, or take the first line of stdin; never an argument."""
    if sys.stdin.isatty():
        secret: str = click.prompt(name, hide_input=True)
    else:
        secret = sys.stdin.readline()
    if not secret.strip():
        raise click.UsageError(f"{name.lower()}: nothing was given")
    return secret.strip()


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while long work goes on, on a terminal only; call it with what was done."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.advance(task, done)


def _print_table(titles: list[str], rows: list[list[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title == "id")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _cell(item: Mapping[str, Any], path: str) -> str:
    value: Any = item
    for name in path.split("."):
        value = None if value is None else value[name]
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(str, value))
        case _:
            return " ".join(clean(str(value)).split())
