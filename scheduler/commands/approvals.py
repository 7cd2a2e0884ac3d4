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
from scheduler.commands.series import find_posts

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
    "campaign": "campaign",
    "title": "title",
    "local time": "when.local",
    "zone": "when.zone",
    "due": "when.due_at",
    "late by at most": "when.late_minutes",
    "never after": "when.not_after",
}
_DIGESTS: Final = {"local": "when.local", "post": "post", "digest": "digest"}


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
@click.argument("post_id", type=click.UUID, metavar="POST", required=False)
@click.option("--series", "series_id", type=click.UUID, help="Every post of it that awaits you.")
@click.option(
    "--digest",
    "digests",
    multiple=True,
    help="The digest you have read, for a series one for each post; without it you are shown and asked.",
)
@json_option
@needs_api
def approve(
    api: Api,
    *,
    post_id: UUID | None,
    series_id: UUID | None,
    digests: tuple[str, ...],
    as_json: bool,
) -> None:
    """Approve exactly the content with the digest that you have read.

    Each post of a series is approved on its own; one whose digest you do not give is left.

    Example: chancery approval approve 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --digest sha256:9f86…
    """
    if (post_id is None) is (series_id is None):
        raise click.UsageError("name a post, or --series and a series")
    if post_id is not None and len(digests) > 1:
        raise click.UsageError("one post has one digest")
    if not digests and not sys.stdin.isatty():
        raise click.UsageError(
            "nobody can be asked here; give --digest as `approval show` printed it"
        )
    if post_id is None:
        found = _approve_series(api, UUID(str(series_id)), frozenset(digests))
    else:
        found = [
            _approve(api, str(post_id), digests[0] if digests else _ask(api, [str(post_id)])[0])
        ]
    if as_json:
        show_json(found[0] if series_id is None else found)
        return
    for each in found:
        click.echo(f"{each['id']}  revision {each['revision']}  {each['state']}")


def _approve_series(api: Api, series_id: UUID, digests: frozenset[str]) -> list[dict[str, Any]]:
    """Approve the posts of a series whose digests were read, in the order of their days."""
    waiting = find_posts(api, series_id, "in_review")
    if not waiting:
        raise click.UsageError("no post of the series awaits approval")
    if not digests:
        digests = frozenset(_ask(api, [each["id"] for each in waiting]))
    elif unknown := digests - {each["digest"] for each in waiting}:
        raise click.UsageError(f"no post of the series that awaits approval has {min(unknown)}")
    return [
        _approve(api, each["id"], each["digest"]) for each in waiting if each["digest"] in digests
    ]


def _ask(api: Api, post_ids: list[str]) -> list[str]:
    """The digests of the posts, after each was shown and the person has said yes to all of them."""
    reviews = [api.get(f"/approvals/{post_id}") for post_id in post_ids]
    for review in reviews:
        _show_review(review)
    if len(reviews) > 1:
        click.echo()
        show_items(reviews, _DIGESTS, as_json=False)
    click.confirm("Approve exactly this?", abort=True)
    return [review["digest"] for review in reviews]


def _approve(api: Api, post_id: str, digest: str) -> dict[str, Any]:
    approved: dict[str, Any] = api.post(f"/posts/{post_id}/approve", {"digest": digest})
    return approved


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
