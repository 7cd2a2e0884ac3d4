"""From the options of `post draft` and `post edit` to the API's form of a post."""

import mimetypes
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

import click

from scheduler.commands.client import Api
from scheduler.commands.printing import progress

F = TypeVar("F", bound=Callable[..., object])
Segment = dict[str, Any]  #: `{"text": …, "media": [{"sha256": …, "alt": …}]}`

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
    images: tuple["ImageOption", ...]
    at: str | None
    now: bool
    zone: str | None
    choice: str | None
    late_minutes: int | None
    until: str | None
    on_approval: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOption:
    """A picture for the first post of one text (by language or account), or of all."""

    key: str | None
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
    """`PATH:ALT`, or `LANG=PATH:ALT` for one text only."""

    name = "[LANG=]PATH:ALT"

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
            return ImageOption(key=None, path=Path(place), alt=alt)
        return ImageOption(key=key, path=Path(path), alt=alt)


def writing_options(command: F) -> F:
    """Add the options that write a post."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_body(options: Options) -> dict[str, Any]:
    """The members that the options give, without texts and pictures."""
    body: dict[str, Any] = {}
    if options["title"] is not None:
        body["title"] = options["title"]
    if options["post_class"] is not None:
        body["class"] = options["post_class"]
    if options["targets"]:
        body["targets"] = list(options["targets"])
    if options["on_approval"] is not None:
        body["schedule_on_approval"] = options["on_approval"]
    return body


def read_when(options: Options, current: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The time that the options give, over the current one; None when they say nothing of it.

    Raises:
        click.UsageError: both --at and --now.
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
    if options["at"] or options["now"]:
        kept.pop("choice", None)  # it was made for another time
        given["local"] = options["at"]
    return {"local": None, **kept, **given} if given else None


def read_texts(options: Options) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The posts of each thread: by language, and by account."""
    texts = dict(options["texts"])
    for language, path in options["files"]:
        texts[language] = Path(path).read_text(encoding="utf-8")
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
    """Upload the pictures and put them into the first post of their texts, in place of others.

    Raises:
        click.UsageError: a picture for a text that the post does not have.
    """
    placed: dict[str, list[dict[str, str]]] = {}
    threads = {**texts, **variants}
    for image in images:
        if image.key is not None and image.key not in threads:
            raise click.UsageError(f"--image {image.key}=…: the post has no such text")
        stored = upload(api, mission, image.path)
        for key in threads if image.key is None else (image.key,):
            line = {"sha256": stored["sha256"], "alt": image.alt}
            placed.setdefault(key, []).append(line)
    for key, media in placed.items():
        threads[key][0]["media"] = media


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
    return {key: [part.strip("\n") for part in _CUT.split(text)] for key, text in texts.items()}


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
        help="A picture and what it shows, for the first post of every text (or of one).",
    ),
    click.option("--at", help="Wall time, such as 2027-03-28T09:00."),
    click.option("--now", is_flag=True, help="As soon as it is approved."),
    click.option("--zone", help="The zone of --at; default: the mission's."),
    click.option(
        "--choice",
        type=click.Choice(["earlier", "later"]),
        help="Which one, for a time that exists twice.",
    ),
    click.option("--late-minutes", type=click.IntRange(0), help="Publish at most so late."),
    click.option("--until", help="Never after this instant, such as 2027-03-28T12:00+02:00."),
    click.option(
        "--schedule/--no-schedule",
        "on_approval",
        default=None,
        help="Whether approval also schedules it (as it does by default).",
    ),
)
