"""`chancery policy diff`: what a proposed policy would change, of the rules and of the posts."""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.files import read_policy
from scheduler.commands.printing import (
    clean,
    json_option,
    limit_option,
    progress,
    show_items,
    show_json,
)

_STRETCH: Final = 500  #: posts judged in one request
_BY_RULE: Final = {
    "rule": "rule",
    "effect": "effect",
    "queued +": "queued_gained",
    "queued -": "queued_lost",
    "closed +": "closed_gained",
    "closed -": "closed_lost",
}
_POSTS: Final = {
    "post": "post",
    "state": "state",
    "now found": "gained",
    "no more": "lost",
    "title": "title",
}


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--files", "only_files", is_flag=True, help="Compare only the files, line by line.")
@limit_option
@json_option
@needs_api
def diff(api: Api, *, folder: Path, only_files: bool, limit: int, as_json: bool) -> None:
    """Judge every post that went out or waits by a new policy, and say on which it differs from the one in force.

    Needs a role at headquarters. A finding that only the new policy makes counts as +, one that it no longer makes
    as -; posts that wait (queued) are told from those that are through (closed).

    Example: chancery policy diff karvenia-policy

    Example: chancery policy diff karvenia-policy --files
    """
    files = read_policy(folder)
    if only_files:
        _compare_files(api.get("/policy")["files"], files, as_json=as_json)
        return
    found, judged = _judge(api, files)
    if as_json:
        show_json({"posts": judged, "rules": _count(found), "differences": found})
        return
    show_items(_count(found), _BY_RULE, as_json=False)
    if found:
        click.echo()
        show_items(map(_tell, found[:limit]), _POSTS, as_json=False)
    click.echo(f"{len(found)} of {judged} posts are judged otherwise.", err=True)


def _judge(api: Api, files: Mapping[str, str]) -> tuple[list[dict[str, Any]], int]:
    found: list[dict[str, Any]] = []
    judged, cursor = 0, None
    first = api.post("/policy/compare", {"files": files, "limit": 1})
    with progress("judging the posts", first["total"]) as advance:
        while True:
            part = api.post(
                "/policy/compare", {"files": files, "limit": _STRETCH, "cursor": cursor}
            )
            found += part["items"]
            judged += part["posts"]
            advance(part["posts"])
            cursor = part["next"]
            if cursor is None:
                return found, judged


def _count(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many posts each rule is newly or no longer found on."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for each in found:
        place = "closed" if each["state"] == "closed" else "queued"
        for way in ("gained", "lost"):
            for finding in each[way]:
                counts[finding["rule"], finding["effect"], f"{place}_{way}"] += 1
    return [
        {
            "rule": rule,
            "effect": effect,
            **{
                name: counts[rule, effect, name]
                for name in ("queued_gained", "queued_lost", "closed_gained", "closed_lost")
            },
        }
        for rule, effect in sorted({(rule, effect) for rule, effect, _ in counts})
    ]


def _tell(found: Mapping[str, Any]) -> dict[str, Any]:
    ways = {
        way: ", ".join(f"{each['rule']} ({each['effect']})" for each in found[way])
        for way in ("gained", "lost")
    }
    return {**found, **ways}


def _compare_files(current: Mapping[str, str], new: Mapping[str, str], *, as_json: bool) -> None:
    lines = [line for name in sorted({*current, *new}) for line in _diff_file(name, current, new)]
    if as_json:
        show_json(lines)
        return
    for line in lines:
        click.echo(clean(line))
    if not lines:
        click.echo("No difference.")


def _diff_file(name: str, current: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    return difflib.unified_diff(
        current.get(name, "").splitlines(),
        new.get(name, "").splitlines(),
        f"in force/{name}",
        f"new/{name}",
        lineterm="",
    )
