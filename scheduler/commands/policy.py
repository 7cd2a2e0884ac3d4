"""`chancery policy`: the rules in force, and others tried before they replace them."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypedDict, Unpack

import click

from adapters.capabilities import fits
from scheduler.commands.client import Api, needs_api
from scheduler.commands.files import read_policy, read_text, write_policy
from scheduler.commands.policy_diff import diff
from scheduler.commands.posts import show_findings
from scheduler.commands.printing import (
    DEFAULT_LIMIT,
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
_PROPOSED: Final = {"version": "version", "digest": "digest"}
_ACTIVATED: Final = {
    "state": "state",
    "version": "version",
    "digest": "digest",
    "since": "since",
    "drafts again": "reopened",
}
_PROPOSALS: Final = {
    "id": "id",
    "version": "version",
    "by": "proposed_by",
    "at": "proposed_at",
    "until": "until",
    "digest": "digest",
}
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
@click.option("--proposal", help="Show this proposed policy instead of the one in force.")
@json_option
@needs_api
def show(api: Api, *, to: Path | None, proposal: str | None, as_json: bool) -> None:
    """Say which policy is in force, and print its files or write them to a folder.

    Example: chancery policy show --to karvenia-policy

    Example: chancery policy show --proposal 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --to proposed-policy
    """
    found = api.get("/policy" if proposal is None else f"/policy/proposals/{proposal}")
    if as_json:
        show_json(found)
        return
    fields = _FIELDS if proposal is None else _PROPOSED
    show_fields(found, fields, as_json=False, err=True)
    if to is not None:
        write_policy(to, found["files"])
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
    write_policy(folder, read_shipped("ministry"))


@policy.command()
@_folder
@json_option
@needs_api
def check(api: Api, *, folder: Path, as_json: bool) -> None:
    """Read a policy strictly, without putting it in force; a fault is named with its file and line.

    Example: chancery policy check karvenia-policy
    """
    found = api.post("/policy/check", {"files": read_policy(folder)})
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

    It needs no installation. What is not as it should be is listed; a wrong finding ends with exit status 1.

    Example: chancery policy test karvenia-policy

    Example: chancery policy test --scenario lipovec.json --json
    """
    files = read_shipped("ministry") if folder is None else read_policy(folder)
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
        verdicts = list(play(rules, world, fits))
    wrong = [each for each in verdicts if not each.is_exact]
    astray = [each for each in verdicts if each.state != each.expected_state]
    if as_json:
        show_json(
            {
                "posts": len(verdicts),
                "exact": len(verdicts) - len(wrong),
                "differences": [_describe_verdict(each) for each in wrong],
                "states": [
                    {"post": each.post, "expected": each.expected_state, "found": each.state}
                    for each in astray
                ],
            }
        )
    else:
        for each in wrong:
            click.echo(_tell_difference(each))
        for each in astray:
            click.echo(
                f"{clean(each.post)}: ends {each.state}, and not {clean(each.expected_state)}"
            )
        click.echo(
            f"The findings on {len(verdicts) - len(wrong)} of {len(verdicts)} posts are exact; "
            f"{len(verdicts) - len(astray)} end as expected."
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
def activate(api: Api, *, folder: Path, as_json: bool) -> None:
    """Propose a policy, or put in force what another admin has proposed: both run this with the same files.

    What it forbids of the posts already approved will be held. Posts that cite a line-to-take which has changed are
    drafts again.

    Example: chancery policy activate karvenia-policy
    """
    found = api.post("/policy", {"files": read_policy(folder)})
    show_fields(found, _ACTIVATED, as_json=as_json)
    if as_json:
        return
    for each in found["vacancies"]:
        offices = " or ".join(each["offices"])
        click.echo(
            f"Nobody is {offices}, whom {each['asked_by']} asks: such posts will wait. "
            "An admin fills an office with `chancery grant add --office`.",
            err=True,
        )
    if found["state"] == "proposed":
        click.echo(
            "It is not in force yet: another admin has to run the same command within a week. "
            "They find it with `chancery policy proposals`.",
            err=True,
        )


@policy.command()
@json_option
@needs_api
def proposals(api: Api, *, as_json: bool) -> None:
    """List the policies that wait for a second admin.

    Example: chancery policy proposals
    """
    found = api.items("/policy/proposals", limit=DEFAULT_LIMIT)
    show_items(found, _PROPOSALS, as_json=as_json)


def _try(api: Api, *, folder: Path | None, **asked: Unpack[Asked]) -> dict[str, Any]:
    body: dict[str, object] = {
        "text": asked["text"],
        "language": asked["language"],
        "class": asked["post_class"],
        "facts": {name: read_fact(value) for name, value in asked["facts"]},
    }
    if folder is not None:
        body["files"] = read_policy(folder)
    found: dict[str, Any] = api.post("/policy/test", body)
    return found


policy.add_command(diff)
