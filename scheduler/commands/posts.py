"""`chancery post`: write, submit and follow posts, as an officer."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Unpack
from uuid import UUID

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import (
    clean,
    json_option,
    limit_option,
    show_fields,
    show_items,
    show_json,
)
from scheduler.commands.series import show_series
from scheduler.commands.writing import (
    Options,
    accept_option,
    put_images,
    read_accepted,
    read_body,
    read_texts,
    read_when,
    write_segments,
    writing_options,
)
from scheduler.domain.post_flow import PostState

_COLUMNS: Final = {
    "id": "id",
    "state": "state",
    "mission": "mission",
    "author": "author.code",
    "due": "when.due_at",
    "class": "class",
    "title": "title",
}
_FIELDS: Final = {
    "post": "id",
    "state": "state",
    "revision": "revision",
    "mission": "mission",
    "author": "author.name",
    "class": "class",
    "campaign": "campaign",
    "title": "title",
    "local time": "when.local",
    "zone": "when.zone",
    "due": "when.due_at",
    "late by at most": "when.late_minutes",
    "never after": "when.not_after",
    "digest": "digest",
    "series": "series",
}
_DELIVERIES: Final = {
    "id": "id",
    "account": "account",
    "state": "state",
    "due": "due_at",
    "url": "remote_url",
    "reason": "reason",
}
_day = click.DateTime(formats=["%Y-%m-%d"])
post_argument = click.argument("post_id", type=click.UUID, metavar="POST")
revision_option = click.option(
    "--revision", type=int, help="The revision you have read; default: the one that stands now."
)
read_revision_option = click.option(
    "--revision",
    type=int,
    required=True,
    help="The revision you have read, as `post show` prints it: another's later edit is not lost.",
)


@click.group()
def post() -> None:
    """Write posts, submit them for approval, and follow them."""


@post.command()
@click.option("--mission", required=True, help="Whose post it is, such as krv.hq.")
@writing_options
@json_option
@needs_api
def draft(api: Api, *, mission: str, as_json: bool, **options: Unpack[Options]) -> None:
    """Write a new post; it prints the id and the revision.

    Nothing has to be complete yet. Without a time it goes out as soon as it is approved.

    Example: chancery post draft --mission krv.hq --class routine --text "en=Good morning from Lipovec!"
    --file sl=jutro.txt --to hq.mastodon --to hq.bluesky --at 2027-03-28T09:00 --image bridge.jpg:"The new bridge"
    """
    given, varied = read_texts(options)
    texts, variants = write_segments(given, {}), write_segments(varied, {})
    body = {"mission": mission, **read_body(options, None), "texts": texts}
    if (when := read_when(options, None)) is not None:
        body["when"] = when
    put_images(api, mission, options["images"], texts, variants)
    if variants:
        body["variants"] = variants
    _show_written(api.post("/posts", body), as_json=as_json)


@post.command("list")
@click.option("--state", type=click.Choice([each.value for each in PostState]))
@limit_option
@json_option
@needs_api
def list_posts(api: Api, *, state: str | None, limit: int, as_json: bool) -> None:
    """List the posts that you may see, newest first.

    Example: chancery post list --state in_review
    """
    show_items(api.items("/posts", limit=limit, state=state), _COLUMNS, as_json=as_json)


@post.command()
@post_argument
@json_option
@needs_api
def show(api: Api, *, post_id: UUID, as_json: bool) -> None:
    """Show a post whole: texts, lengths, what is wrong with it, and what became of it.

    Example: chancery post show 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    found = api.get(f"/posts/{post_id}")
    show_fields(found, _FIELDS, as_json=as_json)
    if as_json:
        return
    show_threads(found["texts"])
    show_threads(found["variants"])
    for each in found["lengths"]:
        click.echo(
            f"length    {each['account']} #{each['segment'] + 1}: {each['used']}/{each['limit']}"
        )
    show_problems(found["problems"])
    show_findings(found["findings"])
    for each in found["comments"]:
        click.echo(f"{each['kind']:<9} {clean(each['person'])}: {clean(each['text'])}")
    if found["deliveries"]:
        click.echo()
        show_items(found["deliveries"], _DELIVERIES, as_json=False)


@post.command()
@post_argument
@writing_options
@read_revision_option
@json_option
@needs_api
def edit(
    api: Api, *, post_id: UUID, revision: int, as_json: bool, **options: Unpack[Options]
) -> None:
    """Change a post that you have read; what is not given stays, and every approval of it is void.

    It is refused when somebody else changed the post since: look again, with `chancery post show`.

    Example: chancery post edit 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --revision 3
    --text "en=Good evening from Lipovec!"
    """
    found = api.get(f"/posts/{post_id}")
    body = read_body(options, found)
    if (when := read_when(options, found["when"])) is not None:
        body["when"] = when
    given, varied = read_texts(options)
    texts = write_segments(given, found["texts"])
    variants = write_segments(varied, found["variants"])
    put_images(api, found["mission"], options["images"], texts, variants)
    body |= {
        name: new for name, new in (("texts", texts), ("variants", variants)) if new != found[name]
    }
    edited = api.patch(f"/posts/{post_id}", body, revision=revision)
    _show_written(edited, as_json=as_json)


@post.command()
@post_argument
@accept_option
@revision_option
@json_option
@needs_api
def submit(
    api: Api,
    *,
    post_id: UUID,
    accepted: tuple[str, ...],
    revision: int | None,
    as_json: bool,
) -> None:
    """Put a post before those who decide; its content is rendered and gets its digest.

    Of a warning you say why it is right all the same; so you ask for an override, where a rule that blocks names who
    may give it. Who decides reads your reason, and it is part of what they approve.

    Examples: chancery post submit 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    chancery post submit 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --accept "R05=the title of a book"
    """
    body = read_accepted(accepted)
    _act(api, post_id, "submit", body, revision=revision, as_json=as_json)


@post.command()
@post_argument
@revision_option
@json_option
@needs_api
def withdraw(api: Api, *, post_id: UUID, revision: int | None, as_json: bool) -> None:
    """Take a post back to draft before anything of it has left.

    Example: chancery post withdraw 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    _act(api, post_id, "withdraw", revision=revision, as_json=as_json)


@post.command()
@post_argument
@revision_option
@json_option
@needs_api
def schedule(api: Api, *, post_id: UUID, revision: int | None, as_json: bool) -> None:
    """Let an approved post go at its time.

    Example: chancery post schedule 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    _act(api, post_id, "schedule", revision=revision, as_json=as_json)


@post.command()
@post_argument
@revision_option
@json_option
@needs_api
def cancel(api: Api, *, post_id: UUID, revision: int | None, as_json: bool) -> None:
    """End a post; what is public stays public.

    Example: chancery post cancel 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    _act(api, post_id, "cancel", revision=revision, as_json=as_json)


@post.command()
@post_argument
@click.option("--rule", required=True, help="Such as 'weekly MO,TH 09:00'; see docs/recurring.md.")
@click.option("--every", type=click.IntRange(1), default=1, help="Every second, third, … time.")
@click.option("--from", "starts_on", type=_day, help="Default: the day after the post's, or today.")
@click.option("--until", type=_day, help="The last day.")
@click.option("--times", "count", type=click.IntRange(1), help="So many, those left out included.")
@click.option("--except", "exceptions", type=_day, multiple=True, help="A day to leave out.")
@click.option("--zone", help="The zone of the time; default: the post's.")
@click.option(
    "--fold", type=click.Choice(["earlier", "later"]), help="Which one, where a time exists twice."
)
@click.option(
    "--gap", type=click.Choice(["before", "after"]), help="Which minute, where a time is skipped."
)
@json_option
@needs_api
def repeat(
    api: Api,
    /,
    *,
    post_id: UUID,
    exceptions: tuple[datetime, ...],
    as_json: bool,
    **members: Any,  # noqa: ANN401 - click's
) -> None:
    """Draft a copy of a post for each day of a rule; each is submitted, approved and edited on its own.

    Example: chancery post repeat 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --rule "weekly MO 09:00" --until 2027-03-01
    """
    body = {name: _as_sent(value) for name, value in members.items() if value is not None}
    body["exceptions"] = [_as_sent(each) for each in exceptions]
    show_series(api.post(f"/posts/{post_id}/repeat", body), as_json=as_json)


@post.command()
@post_argument
@json_option
@needs_api
def explain(api: Api, *, post_id: UUID, as_json: bool) -> None:
    """Say every rule of the policy with its reason, and what stands between the post and publication.

    Example: chancery post explain 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    found = api.get(f"/posts/{post_id}/explain")
    if as_json:
        show_json(found)
        return
    for each in found["findings"]:
        click.echo(
            f"rule      {each['rule']} ({each['effect']}) {each['outcome']}: {clean(each['why'])}"
        )
    show_problems(found["problems"])
    for each in found["obstacles"]:
        place = each["account"] or "post"
        click.echo(f"obstacle  {place}: {clean(each['message'])} [{each['code']}]")
    if not found["obstacles"] and not any(each["blocks"] for each in found["problems"]):
        click.echo("Nothing stands in its way.")


def _act(
    api: Api,
    post_id: UUID,
    act: str,
    body: Mapping[str, object] | None = None,
    *,
    revision: int | None,
    as_json: bool,
) -> None:
    if revision is None:
        revision = api.get(f"/posts/{post_id}")["revision"]
    _show_written(api.post(f"/posts/{post_id}/{act}", body, revision=revision), as_json=as_json)


def _as_sent(value: object) -> object:
    return value.date().isoformat() if isinstance(value, datetime) else value


def show_threads(threads: dict[str, list[dict[str, Any]]]) -> None:
    """Print texts by language or account, a thread post by post."""
    for key, segments in threads.items():
        for number, segment in enumerate(segments, start=1):
            click.echo(f"\n[{key} {number}/{len(segments)}]\n{clean(segment['text'])}")
            for image in segment["media"]:
                click.echo(f"  picture {image['sha256']}: {clean(image['alt'])}")
    if threads:
        click.echo()


def show_problems(problems: list[dict[str, Any]]) -> None:
    for each in problems:
        kind = "problem" if each["blocks"] else "note"
        place = each["account"] or "post"
        click.echo(f"{kind:<9} {place}: {clean(each['message'])} [{each['code']}]")


def show_findings(findings: list[dict[str, Any]]) -> None:
    for each in findings:
        place = f"{each['language']} {each['field']}"
        click.echo(
            f"finding   {each['effect']} {each['rule']} in {place}: "
            f"{clean(each['message'])} {clean(each['fix'])}"
        )


def _show_written(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    click.echo(f"{found['id']}  revision {found['revision']}  {found['state']}")
    if found["when"]["local"] is None and found["state"] in {"draft", "in_review"}:
        click.echo("time      none: it goes out as soon as it is approved")
    show_problems(found["problems"])
