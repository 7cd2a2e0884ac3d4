"""`chancery policy`: the rules in force, and another file tried before it replaces them."""

import difflib
import sys
from pathlib import Path
from typing import Any, Final

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.files import read_text
from scheduler.commands.posts import show_findings
from scheduler.commands.printing import clean, json_option, show_fields, show_json
from scheduler.commands.refusals import RefusedError

_FIELDS: Final = {"version": "version", "digest": "digest", "since": "activated_at"}
_CHECKED: Final = {"version": "version", "digest": "digest", "rules": "rules"}
_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def policy() -> None:
    """See, try and replace the policy: which terms a post must or must not hold."""


@policy.command()
@json_option
@needs_api
def show(api: Api, *, as_json: bool) -> None:
    """Print the policy in force as it was written, and on stderr which one it is.

    Example: chancery policy show > karvenia.toml
    """
    found = api.get("/policy")
    if as_json:
        show_json(found)
        return
    show_fields(found, _FIELDS, as_json=False, err=True)
    body = found["body"]
    click.echo(clean(body) if sys.stdout.isatty() else body, nl=False)


@policy.command()
@_file
@json_option
@needs_api
def check(api: Api, *, file: Path, as_json: bool) -> None:
    """Read a policy file strictly, without putting it in force.

    Example: chancery policy check karvenia.toml
    """
    found = api.post("/policy/check", {"body": read_text(file)})
    show_fields(found, _CHECKED, as_json=as_json)


@policy.command()
@click.option("--text", required=True, help="The text to be judged.")
@click.option("--language", required=True)
@click.option("--class", "post_class", default="routine", show_default=True)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Try this policy instead of the one in force.",
)
@json_option
@needs_api
def test(
    api: Api, *, text: str, language: str, post_class: str, file: Path | None, as_json: bool
) -> None:
    """Judge a text; a finding that blocks ends with exit status 1.

    Example: chancery policy test --language en --text "Our ambassador in Kiev" --file karvenia.toml
    """
    found = _try(api, text=text, language=language, post_class=post_class, file=file)
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
@click.option("--language", required=True)
@click.option("--class", "post_class", default="routine", show_default=True)
@json_option
@needs_api
def explain(api: Api, *, text: str, language: str, post_class: str, as_json: bool) -> None:
    """Say for every rule in force whether it applies to a text, and why.

    Example: chancery policy explain --language en --text "Good morning from Lipovec!"
    """
    found = _try(api, text=text, language=language, post_class=post_class, file=None)
    if as_json:
        show_json(found)
        return
    for each in found["rules"]:
        click.echo(f"{each['rule']} ({each['effect']}) {each['outcome']}: {clean(each['why'])}")


@policy.command()
@_file
@json_option
@needs_api
def diff(api: Api, *, file: Path, as_json: bool) -> None:
    """Show what a file would change of the policy in force.

    Example: chancery policy diff karvenia.toml
    """
    current, new = api.get("/policy"), read_text(file)
    lines = list(
        difflib.unified_diff(
            current["body"].splitlines(),
            new.splitlines(),
            f"in force (version {current['version']})",
            str(file),
            lineterm="",
        )
    )
    if as_json:
        show_json(lines)
        return
    for line in lines:
        click.echo(clean(line))
    if not lines:
        click.echo("No difference.")


@policy.command()
@_file
@json_option
@needs_api
def activate(api: Api, *, file: Path, as_json: bool) -> None:
    """Put a policy in force; what it forbids of the posts already approved will be held.

    Example: chancery policy activate karvenia.toml
    """
    show_fields(api.post("/policy", {"body": read_text(file)}), _FIELDS, as_json=as_json)


def _try(
    api: Api, *, text: str, language: str, post_class: str, file: Path | None
) -> dict[str, Any]:
    body: dict[str, object] = {"text": text, "language": language, "class": post_class}
    if file is not None:
        body["body"] = read_text(file)
    found: dict[str, Any] = api.post("/policy/test", body)
    return found
