"""From the options of `post draft` and `post edit` to the API's form of a post."""

import mimetypes
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

import click

from scheduler.commands.client import Api
from scheduler.commands.files import read_text
from scheduler.commands.printing import progress
from scheduler.domain.lateness import MOST_LATE_MINUTES

F = TypeVar("F", bound=Callable[..., object])
Segment = dict[str, Any]  #: `{"text": …, "media": [{"sha256": …, "alt": …}]}`

_NUMBER: Final = re.compile(r"-?\d{1,9}")
#: A line `---` alone separates the posts of a thread.
_CUT: Final = re.compile(r"^---[ \t]*$\n?", re.MULTILINE)


class Options(TypedDict):
    """What `writing_options` adds to a command."""

    title: str | None
    post_class: str | None
    texts: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]
    variants: tuple[tuple[str, str], ...]
    targets: tuple[str, ...]
    languages: tuple[tuple[str, str], ...]
    card_url: str | None
    card_title: str | None
    card_description: str | None
    no_card: bool
    images: tuple["ImageOption", ...]
    at: str | None
    now: bool
    zone: str | None
    choice: str | None
    late_minutes: int | None
    until: str | None
    on_approval: bool | None
    campaign: str | None
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOption:
    """A picture for one post of one text (by language or account), or of all."""

    key: str | None
    part: int  #: of a thread, from 1
    path: Path
    alt: str


class PairType(click.ParamType[tuple[str, str]]):
    """`KEY=VALUE`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        key, found, text = str(value).partition("=")
        if not (key and found):
            self.fail(f"write {self.name}", param, ctx)
        return key, text


class ImageType(click.ParamType[ImageOption]):
    """`PATH:ALT`, or `LANG=PATH:ALT` for one text only, or `LANG#2=PATH:ALT` for its second post."""

    name = "[LANG][#PART]=PATH:ALT"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> ImageOption:
        place, found, alt = str(value).partition(":")
        if not (place and found):
            self.fail("write PATH:ALT, such as bridge.jpg:'The new bridge'", param, ctx)
        key, keyed, path = place.partition("=")
        if not keyed:
            return ImageOption(key=None, part=1, path=Path(place), alt=alt)
        key, numbered, part = key.partition("#")
        if numbered and not (part.isascii() and part.isdigit() and int(part)):
            self.fail("the post of a thread is a number from 1, such as en#2", param, ctx)
        return ImageOption(key=key or None, part=int(part or 1), path=Path(path), alt=alt)


accept_option = click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="RULE=REASON",
    help="Why you go on in spite of this rule's finding; may be given again.",
)


def read_accepted(given: Sequence[str]) -> dict[str, object]:
    """The body of a submission."""
    accepted = {}
    for each in given:
        rule, _, reason = each.partition("=")
        if not (rule.strip() and reason.strip()):
            raise click.UsageError('write --accept "RULE=REASON"')
        accepted[rule.strip()] = reason.strip()
    return {"accept": accepted}


def writing_options(command: F) -> F:
    """Add the options that write a post."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_body(options: Options, current: Mapping[str, Any] | None) -> dict[str, Any]:
    """The members that the options give, over the current ones, without texts and pictures."""
    body: dict[str, Any] = _read_card(options, current)
    if options["title"] is not None:
        body["title"] = options["title"]
    if options["post_class"] is not None:
        body["class"] = options["post_class"]
    if options["targets"]:
        body["targets"] = list(options["targets"])
    if options["languages"]:
        deliveries = current["deliveries"] if current else ()
        targets = set(body.get("targets") or (each["account"] for each in deliveries))
        kept = {each["account"]: each["language"] for each in deliveries if each["language"]}
        chosen = {account: tag for account, tag in kept.items() if account in targets}
        body["languages"] = {**chosen, **dict(options["languages"])}
    if options["campaign"] is not None:
        body["campaign"] = options["campaign"] or None
    if options["facts"]:
        kept = (current["facts"] if current else None) or {}
        body["facts"] = {**kept, **{name: read_fact(value) for name, value in options["facts"]}}
        body["facts"] = {name: value for name, value in body["facts"].items() if value != ""}
    if options["on_approval"] is not None:
        body["schedule_on_approval"] = options["on_approval"]
    return body


def read_fact(text: str) -> object:
    """A fact's value: a number, true or false, a list in brackets, or a text."""
    if text.startswith("[") and text.endswith("]"):
        return [each.strip() for each in text[1:-1].split(",") if each.strip()]
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if _NUMBER.fullmatch(text) else text


def _read_card(options: Options, current: Mapping[str, Any] | None) -> dict[str, Any]:
    given = {
        "uri": options["card_url"],
        "title": options["card_title"],
        "description": options["card_description"],
    }
    changed = {name: value for name, value in given.items() if value is not None}
    if options["no_card"]:
        if changed:
            raise click.UsageError("--no-card and the other --card options exclude each other")
        return {"link_card": None}
    if not changed:
        return {}
    card = {**((current and current["link_card"]) or {}), **changed}
    if not {"uri", "title"} <= card.keys():
        raise click.UsageError("a link card needs --card-url and --card-title")
    return {"link_card": card}


def read_when(options: Options, current: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The time that the options give, over the current one; None when they say nothing of it.

    Raises:
        click.UsageError: both --at and --now, or no time for what is said of it.
    """
    if options["now"] and options["at"]:
        raise click.UsageError("--at and --now exclude each other")
    known = ("local", "zone", "choice", "late_minutes", "not_after")
    kept = {name: current[name] for name in known if current[name] is not None} if current else {}
    changed: dict[str, Any] = {
        "zone": options["zone"],
        "choice": options["choice"],
        "late_minutes": options["late_minutes"],
        "not_after": options["until"],
    }
    given = {name: value for name, value in changed.items() if value is not None}
    if given and current is None and not (options["at"] or options["now"]):
        raise click.UsageError("say when as well: --at 2027-03-28T09:00, or --now")
    if options["at"] or options["now"]:
        kept.pop("choice", None)  # it was made for another time
        given["local"] = options["at"]
    return {"local": None, **kept, **given} if given else None


def read_texts(options: Options) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The posts of each thread: by language, and by account."""
    texts = dict(options["texts"])
    for language, path in options["files"]:
        texts[language] = read_text(Path(path))
    return _split_all(texts), _split_all(dict(options["variants"]))


def write_segments(
    given: Mapping[str, Sequence[str]], current: Mapping[str, Sequence[Segment]]
) -> dict[str, list[Segment]]:
    """The current texts with the given ones in their place; a new text keeps its pictures."""
    written = {key: [dict(each) for each in segments] for key, segments in current.items()}
    for key, texts in given.items():
        kept = [segment["media"] for segment in current.get(key, ())]
        kept += [[] for _ in texts]
        written[key] = [
            {"text": text, "media": media} for text, media in zip(texts, kept, strict=False)
        ]
    return written


def put_images(
    api: Api,
    mission: str,
    images: Iterable[ImageOption],
    texts: Mapping[str, list[Segment]],
    variants: Mapping[str, list[Segment]],
) -> None:
    """Upload the pictures and put them into their posts, in place of others.

    Raises:
        click.UsageError: a picture for a text or a post of a thread that is not there; nothing was uploaded.
    """
    threads = {**texts, **variants}
    wanted = [(image, _find_segments(image, threads)) for image in images]
    placed: dict[int, list[dict[str, str]]] = {}
    for image, segments in wanted:
        stored = upload(api, mission, image.path)
        for segment in segments:
            media = placed.setdefault(id(segment), [])
            media.append({"sha256": stored["sha256"], "alt": image.alt})
            segment["media"] = media


def _find_segments(image: ImageOption, threads: Mapping[str, list[Segment]]) -> list[Segment]:
    if image.key is not None and image.key not in threads:
        raise click.UsageError(f"--image {image.key}=…: the post has no such text")
    found = []
    for key in threads if image.key is None else (image.key,):
        if image.part > len(threads[key]):
            raise click.UsageError(
                f"--image {key}#{image.part}=…: the thread has {len(threads[key])} posts"
            )
        found.append(threads[key][image.part - 1])
    return found


def upload(api: Api, mission: str, path: Path) -> dict[str, Any]:
    """Send a picture as it is; answers what was stored of it."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    with progress(f"sending {path.name}"):
        stored: dict[str, Any] = api.call(
            "POST",
            "/media",
            path.read_bytes(),
            query={"mission": mission},
            headers={"Content-Type": kind},
        )
    return stored


def _split_all(texts: Mapping[str, str]) -> dict[str, list[str]]:
    return {key: split_thread(text) for key, text in texts.items()}


def split_thread(text: str) -> list[str]:
    """The posts of a thread, which lines with nothing but --- separate."""
    return [part.strip("\n") for part in _CUT.split(text)]


_OPTIONS: Final = (
    click.option("--title", help="A working title; it is not published."),
    click.option("--class", "post_class", help="routine, statement, consular_alert, …"),
    click.option(
        "--text", "texts", type=PairType("LANG=TEXT"), multiple=True, help="The text in a language."
    ),
    click.option(
        "--file",
        "files",
        type=PairType("LANG=PATH"),
        multiple=True,
        help="The same from a file; a line --- alone separates the posts of a thread.",
    ),
    click.option(
        "--variant",
        "variants",
        type=PairType("ACCOUNT=TEXT"),
        multiple=True,
        help="Another text for one account.",
    ),
    click.option("--to", "targets", multiple=True, metavar="ACCOUNT", help="Where it goes."),
    click.option(
        "--image",
        "images",
        type=ImageType(),
        multiple=True,
        help="A picture and what it shows, for the first post of every text; en=… for one, en#2=… for its second post.",
    ),
    click.option(
        "--language",
        "languages",
        type=PairType("ACCOUNT=LANG"),
        multiple=True,
        help="The text that an account gets; default: the account's own language.",
    ),
    click.option(
        "--fact",
        "facts",
        type=PairType("NAME=VALUE"),
        multiple=True,
        help="What the policy asks of a post, such as topic=rail or alert.fields=[place,phone]; NAME= takes it back.",
    ),
    click.option("--campaign", help="The campaign it is part of; '' for none."),
    click.option("--card-url", help="A link card: the address it leads to."),
    click.option("--card-title", help="What it is called."),
    click.option("--card-description", help="A sentence about it."),
    click.option("--no-card", is_flag=True, help="Without a link card."),
    click.option("--at", help="Wall time, such as 2027-03-28T09:00."),
    click.option("--now", is_flag=True, help="As soon as it is approved."),
    click.option("--zone", help="The zone of --at; default: the mission's."),
    click.option(
        "--choice",
        type=click.Choice(["earlier", "later"]),
        help="Which one, for a time that exists twice.",
    ),
    click.option(
        "--late-minutes",
        type=click.IntRange(1, MOST_LATE_MINUTES),
        help="Publish at most so late.",
    ),
    click.option("--until", help="Never after this instant, such as 2027-03-28T12:00+02:00."),
    click.option(
        "--schedule/--no-schedule",
        "on_approval",
        default=None,
        help="Whether approval also schedules it (as it does by default).",
    ),
)
