"""`chancery policy`: the rules in force, and others tried before they replace them."""

import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypedDict, Unpack

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.files import read_text
from scheduler.commands.posts import show_findings
from scheduler.commands.printing import (
    clean,
    json_option,
    progress,
    show_fields,
    show_items,
    show_json,
)
from scheduler.commands.refusals import RefusedError
from scheduler.commands.writing import PairType, read_fact
from scheduler.policy.examples import Trial, find_untried, try_examples
from scheduler.policy.rules import Policy
from scheduler.policy.scenario import Verdict, play, read_scenario
from scheduler.policy.shipped import REGISTRIES, read_shipped

_FIELDS: Final = {"version": "version", "digest": "digest", "since": "activated_at"}
_CHECKED: Final = {
    "version": "version",
    "digest": "digest",
    "rules": "rules",
    "examples": "examples",
}
_WRONG: Final = {"rule": "rule", "place": "place", "should": "should", "text": "text", "why": "why"}
_path = click.Path(exists=True, path_type=Path)
_folder = click.argument("folder", type=_path)
_tried = (
    click.option("--language", default="en", show_default=True),
    click.option("--class", "post_class", default="routine", show_default=True),
    click.option(
        "--fact", "facts", type=PairType("NAME=VALUE"), multiple=True, help="Such as topic=rail."
    ),
)


class Asked(TypedDict):
    """What the text that is tried is, and what is declared of it."""

    text: str
    language: str
    post_class: str
    facts: tuple[tuple[str, str], ...]


@click.group()
def policy() -> None:
    """See, try and replace the policy: what a post may say, when, where, and who has to clear it.

    A policy is a folder of YAML files, or one such file.
    """


@policy.command()
@click.option("--to", type=click.Path(path_type=Path), help="Write its files into this folder.")
@json_option
@needs_api
def show(api: Api, *, to: Path | None, as_json: bool) -> None:
    """Say which policy is in force, and print its files or write them to a folder.

    Example: chancery policy show --to karvenia-policy
    """
    found = api.get("/policy")
    if as_json:
        show_json(found)
        return
    show_fields(found, _FIELDS, as_json=False, err=True)
    if to is not None:
        _write_folder(to, found["files"])
        return
    for name, text in sorted(found["files"].items()):
        if len(found["files"]) > 1:
            click.echo(f"# ---- {name}")
        click.echo(clean(text) if sys.stdout.isatty() else text, nl=False)


@policy.command()
@click.argument("folder", type=click.Path(path_type=Path))
def template(folder: Path) -> None:
    """Write a ministry's policy into a new folder, to begin with: 52 rules, word lists, and a registry to fill in.

    Example: chancery policy template karvenia-policy
    """
    _write_folder(folder, read_shipped("ministry"))


@policy.command()
@_folder
@json_option
@needs_api
def check(api: Api, *, folder: Path, as_json: bool) -> None:
    """Read a policy strictly, without putting it in force; a fault is named with its file and line.

    Example: chancery policy check karvenia-policy
    """
    found = api.post("/policy/check", {"files": _read_folder(folder)})
    show_fields(found, _CHECKED, as_json=as_json)


@policy.command()
@click.argument("folder", type=_path, required=False)
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Play the posts of a scenario file, and compare the findings with those it expects.",
)
@json_option
def test(*, folder: Path | None, scenario: Path | None, as_json: bool) -> None:
    """Try a policy's own examples, or the posts of a scenario file; without a folder, the policy that we ship.

    It needs no installation. What is not as it should be is listed, and ends with exit status 1.

    Example: chancery policy test karvenia-policy

    Example: chancery policy test --scenario lipovec.json --json
    """
    files = read_shipped("ministry") if folder is None else _read_folder(folder)
    if scenario is None:
        _test_examples(Policy.load(files), as_json=as_json)
    else:
        _test_scenario(files, scenario, as_json=as_json)


def _test_examples(loaded: Policy, *, as_json: bool) -> None:
    with progress("trying the examples"):
        trials = list(try_examples(loaded))
    wrong = [each for each in trials if not each.is_right]
    untried = [rule.id for rule in find_untried(loaded)]
    if as_json:
        told = [_describe_trial(each) for each in wrong]
        show_json(
            {
                "version": loaded.version,
                "rules": len(loaded.rules),
                "examples": len(trials),
                "wrong": told,
                "untried": untried,
            }
        )
    else:
        if wrong:
            show_items((_describe_trial(each) for each in wrong), _WRONG, as_json=False)
        for rule in untried:
            click.echo(f"{rule} has no example on which it passes, or none to which it applies.")
        click.echo(
            f"{len(trials) - len(wrong)} of {len(trials)} examples of {len(loaded.rules)} rules are right."
        )
    if wrong:
        raise RefusedError(f"{len(wrong)} examples are not as they should be", "policy_test_failed")


def _describe_trial(trial: Trial) -> dict[str, str]:
    return {
        "rule": trial.rule,
        "place": f"{trial.file}:{trial.line}",
        "should": "apply" if trial.violates else "pass",
        "text": trial.text[:80],
        "why": trial.why,
    }


def _test_scenario(files: Mapping[str, str], path: Path, *, as_json: bool) -> None:
    world = read_scenario(path.name, read_text(path))
    rules = {name: text for name, text in files.items() if name != REGISTRIES}
    with progress(f"playing {len(world.posts)} posts"):
        verdicts = list(play(rules, world))
    wrong = [each for each in verdicts if not each.is_exact]
    if as_json:
        show_json(
            {
                "posts": len(verdicts),
                "exact": len(verdicts) - len(wrong),
                "differences": [_describe_verdict(each) for each in wrong],
                "states": [
                    {"post": each.post, "expected": each.expected_state, "found": each.state}
                    for each in verdicts
                    if each.state != each.expected_state
                ],
            }
        )
    else:
        for each in wrong:
            click.echo(_tell_difference(each))
        click.echo(
            f"The findings on {len(verdicts) - len(wrong)} of {len(verdicts)} posts are exact."
        )
    if wrong:
        raise RefusedError(f"{len(wrong)} posts have other findings", "policy_test_failed")


def _describe_verdict(verdict: Verdict) -> dict[str, Any]:
    def told(pairs: frozenset[tuple[str, str]]) -> list[dict[str, str]]:
        return [{"rule": rule, "effect": effect} for rule, effect in sorted(pairs)]

    return {
        "post": verdict.post,
        "ministry": verdict.ministry,
        "missing": told(verdict.expected - verdict.found),
        "unexpected": told(verdict.found - verdict.expected),
    }


def _tell_difference(verdict: Verdict) -> str:
    def told(pairs: frozenset[tuple[str, str]]) -> str:
        return ", ".join(f"{rule} ({effect})" for rule, effect in sorted(pairs)) or "none"

    return (
        f"{clean(verdict.post)}: missing {told(verdict.expected - verdict.found)}; "
        f"unexpected {told(verdict.found - verdict.expected)}"
    )


@policy.command("try")
@click.option("--text", required=True, help="The text to be judged.")
@_tried[0]
@_tried[1]
@_tried[2]
@click.option("--policy", "folder", type=_path, help="Try this policy instead of the one in force.")
@json_option
@needs_api
def try_text(api: Api, *, as_json: bool, folder: Path | None, **asked: Unpack[Asked]) -> None:
    """Judge a text; a finding that blocks ends with exit status 1.

    Example: chancery policy try --language en --text "Our ambassador in Kiev" --policy karvenia-policy
    """
    found = _try(api, folder=folder, **asked)
    if as_json:
        show_json(found)
    else:
        show_findings(found["findings"])
    blocking = [each["rule"] for each in found["findings"] if each["effect"] != "warn"]
    if blocking:
        raise RefusedError(f"the policy stops this text: {', '.join(blocking)}", "policy_blocked")
    if not as_json:
        click.echo(f"Policy {found['version']} lets it pass.")


@policy.command()
@click.option("--text", required=True, help="The text to be judged.")
@_tried[0]
@_tried[1]
@_tried[2]
@json_option
@needs_api
def explain(api: Api, *, as_json: bool, **asked: Unpack[Asked]) -> None:
    """Say for every rule in force whether it applies to a text, and why.

    Example: chancery policy explain --language en --text "Good morning from Lipovec!"
    """
    found = _try(api, folder=None, **asked)
    if as_json:
        show_json(found)
        return
    for each in found["rules"]:
        click.echo(f"{each['rule']} ({each['effect']}) {each['outcome']}: {clean(each['why'])}")


@policy.command()
@_folder
@json_option
@needs_api
def diff(api: Api, *, folder: Path, as_json: bool) -> None:
    """Show what a policy would change of the one in force.

    Example: chancery policy diff karvenia-policy
    """
    current, new = api.get("/policy")["files"], _read_folder(folder)
    lines = [line for name in sorted({*current, *new}) for line in _diff_file(name, current, new)]
    if as_json:
        show_json(lines)
        return
    for line in lines:
        click.echo(clean(line))
    if not lines:
        click.echo("No difference.")


@policy.command()
@_folder
@json_option
@needs_api
def activate(api: Api, *, folder: Path, as_json: bool) -> None:
    """Put a policy in force; what it forbids of the posts already approved will be held.

    Example: chancery policy activate karvenia-policy
    """
    found = api.post("/policy", {"files": _read_folder(folder)})
    if as_json:
        found.pop("files")
    show_fields(found, _FIELDS, as_json=as_json)


def _diff_file(name: str, current: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    return difflib.unified_diff(
        current.get(name, "").splitlines(),
        new.get(name, "").splitlines(),
        f"in force/{name}",
        f"new/{name}",
        lineterm="",
    )


def _read_folder(path: Path) -> dict[str, str]:
    """The policy's files by their names inside the folder; a single file is a policy of its own."""
    if path.is_file():
        return {path.name: read_text(path)}
    found = sorted(each for pattern in ("*.yaml", "*.yml") for each in path.rglob(pattern))
    if not found:
        raise RefusedError(f"{path} holds no .yaml file", "policy_empty")
    return {each.relative_to(path).as_posix(): read_text(each) for each in found}


def _write_folder(path: Path, files: Mapping[str, str]) -> None:
    if path.exists() and any(path.iterdir()):
        raise RefusedError(f"{path} is not empty; name a new folder", "folder_not_empty")
    for name, text in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    click.echo(f"{len(files)} files are in {path}.")


def _try(api: Api, *, folder: Path | None, **asked: Unpack[Asked]) -> dict[str, Any]:
    body: dict[str, object] = {
        "text": asked["text"],
        "language": asked["language"],
        "class": asked["post_class"],
        "facts": {name: read_fact(value) for name, value in asked["facts"]},
    }
    if folder is not None:
        body["files"] = _read_folder(folder)
    found: dict[str, Any] = api.post("/policy/test", body)
    return found
