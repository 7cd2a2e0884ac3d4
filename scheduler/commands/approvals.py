"""`chancery approval`: what awaits a supervisor, and the decision that binds a digest."""

import json
import sys
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.posts import post_argument, show_findings
from scheduler.commands.printing import (
    json_option,
    limit_option,
    mark_hidden,
    show_fields,
    show_items,
    show_json,
)

_COLUMNS: Final = {
    "post": "id",
    "mission": "mission",
    "author": "author.name",
    "due": "when.due_at",
    "class": "class",
    "title": "title",
}
_FIELDS: Final = {
    "post": "post",
    "revision": "revision",
    "mission": "mission",
    "author": "author.name",
    "title": "title",
    "local time": "when.local",
    "zone": "when.zone",
    "due": "when.due_at",
    "late by at most": "when.late_minutes",
    "never after": "when.not_after",
}


@click.group()
def approval() -> None:
    """Read what awaits you, and approve or return it."""


@approval.command("list")
@limit_option
@json_option
@needs_api
def list_approvals(api: Api, *, limit: int, as_json: bool) -> None:
    """List the posts that await you, the most urgent first.

    Example: chancery approval list
    """
    show_items(api.items("/approvals", limit=limit), _COLUMNS, as_json=as_json)


@approval.command()
@post_argument
@json_option
@needs_api
def show(api: Api, *, post_id: UUID, as_json: bool) -> None:
    """Show exactly what will be public on each account, with invisible characters written out, and the digest.

    Example: chancery approval show 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    review = api.get(f"/approvals/{post_id}")
    if as_json:
        show_json(review)
    else:
        _show_review(review)


@approval.command()
@post_argument
@click.option(
    "--digest", help="The digest you have read; without it the post is shown and you are asked."
)
@json_option
@needs_api
def approve(api: Api, *, post_id: UUID, digest: str | None, as_json: bool) -> None:
    """Approve exactly the content with the digest that you have read.

    Example: chancery approval approve 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --digest sha256:9f86…
    """
    if digest is None:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "nobody can be asked here; give --digest as `approval show` printed it"
            )
        review = api.get(f"/approvals/{post_id}")
        _show_review(review)
        click.confirm("Approve exactly this?", abort=True)
        digest = review["digest"]
    found = api.post(f"/posts/{post_id}/approve", {"digest": digest})
    if as_json:
        show_json(found)
    else:
        click.echo(f"{found['id']}  revision {found['revision']}  {found['state']}")


@approval.command("return")
@post_argument
@click.option("--comment", required=True, help="What has to change; the author sees it.")
@json_option
@needs_api
def return_post(api: Api, *, post_id: UUID, comment: str, as_json: bool) -> None:
    """Send a post back to its author.

    Example: chancery approval return 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --comment "Please name the bridge."
    """
    found = api.post(f"/posts/{post_id}/return", {"comment": comment})
    if as_json:
        show_json(found)
    else:
        click.echo(f"{found['id']}  revision {found['revision']}  {found['state']}")


def _show_review(review: Mapping[str, Any]) -> None:
    show_fields(review, _FIELDS, as_json=False)
    for payload in review["payloads"]:
        parts = payload["parts"]
        for number, part in enumerate(parts, start=1):
            place = f"{payload['account']} ({payload['platform']}, {payload['language']})"
            click.echo(f"\n=== {place} {number}/{len(parts)}")
            for name, value in part["request"].items():
                _show_member(name, value)
            for image in part["media"]:
                click.echo(f"picture {image['sha256']}")
                click.echo(f"  shows: {mark_hidden(image['alt'])}")
                name = f"{image['sha256'][:8]}.{image['mime'].partition('/')[2]}"
                click.echo(f"  look:  chancery media show {image['sha256']} --output {name}")
    click.echo()
    for each in review["hidden_characters"]:
        click.echo(
            f"hidden    {each['name']} in {each['field']}, characters {each['start']}-{each['end']}"
        )
    show_findings(review["findings"])
    click.echo(f"digest    {review['digest']}")


def _show_member(name: str, value: object, indent: str = "") -> None:
    """One member of a request: texts as they read, everything else as it is sent."""
    if isinstance(value, str):
        text = mark_hidden(value).replace("\n", f"\n{indent}  ")
        click.echo(f"{indent}{name}: {text}")
    elif isinstance(value, Mapping):
        click.echo(f"{indent}{name}:")
        for inner, each in value.items():
            _show_member(inner, each, indent + "  ")
    else:
        click.echo(f"{indent}{name}: {mark_hidden(json.dumps(value, ensure_ascii=False))}")
