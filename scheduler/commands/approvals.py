"""`chancery approval`: what awaits your decision, and the decision that binds a digest."""

import json
import sys
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.posts import post_argument, show_findings
from scheduler.commands.printing import (
    clean,
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
    "yours": "turn",
    "waits for": "waits_for",
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
    "workflow": "workflow",
}
_DIGESTS: Final = {"local": "when.local", "post": "post", "digest": "digest"}


@click.group()
def approval() -> None:
    """Read what awaits you, and clear, approve or return it."""


@approval.command("list")
@limit_option
@json_option
@needs_api
def list_approvals(api: Api, *, limit: int, as_json: bool) -> None:
    """List the posts in review that you neither wrote nor decided, the most urgent first.

    `yours` says what you may do now: clear, approve, or later, when others have decided.

    Example: chancery approval list
    """
    show_items(api.items("/approvals", limit=limit), _COLUMNS, as_json=as_json)


@approval.command()
@post_argument
@json_option
@needs_api
def show(api: Api, *, post_id: UUID, as_json: bool) -> None:
    """Show exactly what will be public on each account, with invisible characters written out, and the digest.

    Of a post in review also whose decisions it needs, and who could give them by when.

    Example: chancery approval show 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    review = api.get(f"/approvals/{post_id}")
    if as_json:
        show_json(review)
    else:
        _show_review(review)


@approval.command()
@post_argument
@click.option("--digest", help="The digest you have read; without it you are shown and asked.")
@json_option
@needs_api
def clear(api: Api, *, post_id: UUID, digest: str | None, as_json: bool) -> None:
    """Say for your office that nothing speaks against exactly this content.

    Example: chancery approval clear 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --digest sha256:9f86…
    """
    digest = digest or _ask(api, [str(post_id)], "Clear")[0]
    _show_decided(api.post(f"/posts/{post_id}/clear", {"digest": digest}), as_json=as_json)


@approval.command()
@click.argument("post_id", type=click.UUID, metavar="POST", required=False)
@click.option("--series", "series_id", type=click.UUID, help="Every post of it that awaits you.")
@click.option(
    "--digest",
    "digests",
    multiple=True,
    help="The digest you have read, for a series one for each post; without it you are shown and asked.",
)
@click.option(
    "--break-glass", metavar="REASON", help="Why it cannot wait for who has not cleared it."
)
@json_option
@needs_api
def approve(
    api: Api,
    *,
    post_id: UUID | None,
    series_id: UUID | None,
    digests: tuple[str, ...],
    break_glass: str | None,
    as_json: bool,
) -> None:
    """Approve exactly the content with the digest that you have read.

    Each post of a series is approved on its own; one whose digest you do not give is left. To break the glass is for
    whom the policy names, so often as it says; it is told to everybody.

    Example: chancery approval approve 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --digest sha256:9f86…
    """
    if (post_id is None) is (series_id is None):
        raise click.UsageError("name a post, or --series and a series")
    if post_id is not None and len(digests) > 1:
        raise click.UsageError("one post has one digest")
    if post_id is not None:
        digest = digests[0] if digests else _ask(api, [str(post_id)])[0]
        _show_decided(_approve(api, str(post_id), digest, break_glass), as_json=as_json)
        return
    if break_glass is not None:
        raise click.UsageError("the glass is broken for one post at a time")
    found = _approve_series(api, UUID(str(series_id)), frozenset(digests))
    if as_json:
        show_json(found)
        return
    for each in found:
        _show_decided(each, as_json=False)


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


def _ask(api: Api, post_ids: list[str], act: str = "Approve") -> list[str]:
    """The digests of the posts, after each was shown and the person has said yes to all of them."""
    if not sys.stdin.isatty():
        raise click.UsageError(
            "nobody can be asked here; give --digest as `approval show` printed it"
        )
    reviews = [api.get(f"/approvals/{post_id}") for post_id in post_ids]
    for review in reviews:
        _show_review(review)
    if len(reviews) > 1:
        click.echo()
        show_items(reviews, _DIGESTS, as_json=False)
    click.confirm(f"{act} exactly this?", abort=True)
    return [review["digest"] for review in reviews]


def _approve(api: Api, post_id: str, digest: str, break_glass: str | None = None) -> dict[str, Any]:
    body: dict[str, object] = {"digest": digest}
    if break_glass is not None:
        body["break_glass"] = break_glass
    approved: dict[str, Any] = api.post(f"/posts/{post_id}/approve", body)
    return approved


def _show_decided(found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
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
    _show_decided(api.post(f"/posts/{post_id}/return", {"comment": comment}), as_json=as_json)


def _show_review(review: Mapping[str, Any]) -> None:
    show_fields(review, _FIELDS, as_json=False)
    for payload in review["payloads"]:
        _show_payload(payload)
    click.echo()
    for each in review["hidden_characters"]:
        click.echo(
            f"hidden    {each['name']} in {each['field']}, characters {each['start']}-{each['end']}"
        )
    show_findings(review["findings"])
    for rule, reason in review["accepted"].items():
        click.echo(f"accepted  {rule}: {mark_hidden(reason)}")
    for each in review["decisions"]:
        why = f": {mark_hidden(each['reason'])}" if each["reason"] else ""
        who = clean(each["person"]["name"])
        click.echo(f"decided   {each['mode']} by {who} at {each['at']}{why}")
    for each in review["steps"]:
        _show_step(each)
    click.echo(f"digest    {review['digest']}")


def _show_payload(payload: Mapping[str, Any]) -> None:
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


def _show_step(step: Mapping[str, Any]) -> None:
    """A step in one line, and below it who could answer it by when on their clock."""
    state = "done" if not step["missing"] else "waits" if step["waits"] else "open"
    state = "late" if step["missing"] and step["is_late"] else state
    offices = " or ".join(step["offices"])
    rule = f", rule {step['rule']}" if step["rule"] else ""
    until = f", by {step['act_by']}" if step["missing"] and step["act_by"] else ""
    click.echo(f"step      {state}: {step['mode']} by {step['quorum']} of {offices}{rule}{until}")
    for each in step["candidates"]:
        local = f", {each['act_by_local']} {each['zone']}" if each["act_by_local"] else ""
        click.echo(f"          {clean(each['name'])}{local}")
    if step["missing"] and not step["candidates"]:
        click.echo(
            "          nobody can now: an admin grants the office, or its author withdraws the post"
        )


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
