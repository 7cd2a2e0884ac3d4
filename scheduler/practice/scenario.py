"""The fictional ministry of the demo, read from its scenario file: missions, people, accounts and posts.

Which ministry is played is the file's first one; nothing here knows its name.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scheduler.policy.facts import AUTHORED
from scheduler.policy.world import World

#: The file of the practice installation; another scenario file of the same form will do.
DEFAULT_FILE: Final = Path(__file__).with_name("lipovec.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioMission:
    code: str
    name: str
    kind: str
    parent: str | None
    city: str
    country: str
    zone: str
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioPerson:
    code: str
    name: str
    languages: tuple[str, ...]
    roles: tuple[tuple[str, str], ...]  #: (role as the file names it, code of the mission)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioAccount:
    code: str
    mission: str
    platform: str
    name: str
    language: str
    is_exercise: bool  #: for drills, in which everybody who writes takes part


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioImage:
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioPost:
    code: str
    author: str
    targets: tuple[str, ...]
    language: str
    texts: tuple[str, ...]  #: more than one: a thread
    post_class: str
    at: str  #: UTC, of the scenario's own fortnight
    zone: str
    images: tuple[ScenarioImage, ...]
    facts: dict[str, Any]  #: that its author declares for the policy's rules
    final: str  #: what becomes of it: published, blocked, held, …


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    missions: tuple[ScenarioMission, ...]  #: parents first
    people: tuple[ScenarioPerson, ...]
    accounts: tuple[ScenarioAccount, ...]
    posts: tuple[ScenarioPost, ...]

    @property
    def root(self) -> ScenarioMission:
        return self.missions[0]

    @property
    def exercise_missions(self) -> tuple[str, ...]:
        """The missions all of whose accounts are for exercises."""
        real = {each.mission for each in self.accounts if not each.is_exercise}
        drills = {each.mission for each in self.accounts if each.is_exercise}
        return tuple(sorted(drills - real))


def read_scenario(path: Path = DEFAULT_FILE) -> Scenario:
    """Read the first ministry of a scenario file.

    Raises:
        OSError, ValueError, KeyError: no such file, or not of this form.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    ministry = data["ministries"][0]
    world = World(path.name, data)
    own = [each for each in data["accounts"] if _is_of(ministry, each["owner"])]
    missions = (_root(ministry), *_missions(data, ministry, own))
    return Scenario(
        missions=missions,
        people=tuple(_people(data, ministry, {each.code for each in missions})),
        accounts=tuple(_account(each) for each in own),
        posts=tuple(
            _post(world, each)
            for each in sorted(data["posts"], key=lambda post: str(post["schedule"]["utc"]))
            if each["ministry"] == ministry["id"]
        ),
    )


def _is_of(ministry: dict[str, Any], code: str) -> bool:
    return code.partition(".")[0] == str(ministry["id"])


def _root_code(ministry: dict[str, Any]) -> str:
    return f"{ministry['id']}.hq"


def _root(ministry: dict[str, Any]) -> ScenarioMission:
    return ScenarioMission(
        code=_root_code(ministry),
        name=ministry["name"]["en"],
        kind="headquarters",
        parent=None,
        city=ministry["capital"],
        country="",
        zone=ministry["tz"],
        languages=(*ministry["official_languages"], *ministry["mirror_languages"]),
    )


def _missions(
    data: dict[str, Any], ministry: dict[str, Any], own: list[dict[str, Any]]
) -> Iterator[ScenarioMission]:
    """The missions abroad, and the offices at headquarters that own accounts of their own."""
    root = _root_code(ministry)
    known = {root}
    for each in data["missions"]:
        if each["ministry"] == ministry["id"]:
            known.add(each["id"])
            yield ScenarioMission(
                code=each["id"],
                name=f"{each['kind'].replace('_', ' ')}, {each['city']}",
                kind=each["kind"],
                parent=root,
                city=each["city"],
                country=each["host"],
                zone=each["tz"],
                languages=tuple(each["languages"]),
            )
    for code in sorted({each["owner"] for each in own} - known):
        yield ScenarioMission(
            code=code,
            name=f"office {code.rpartition('.')[2]}",
            kind="office",
            parent=root,
            city=ministry["capital"],
            country="",
            zone=ministry["tz"],
            languages=tuple(ministry["official_languages"]),
        )


def _people(
    data: dict[str, Any], ministry: dict[str, Any], missions: set[str]
) -> Iterator[ScenarioPerson]:
    for each in data["people"]:
        if _is_of(ministry, each["id"]):
            yield ScenarioPerson(
                code=each["id"],
                name=each["name"],
                languages=tuple(each["languages"]),
                roles=tuple(_role(role, ministry, missions) for role in each["roles"]),
            )


def _role(text: str, ministry: dict[str, Any], missions: set[str]) -> tuple[str, str]:
    """`press_supervisor@x.hq` → role and mission; the ministry as a whole is its headquarters."""
    role, _, place = text.partition("@")
    return role.partition(".")[0], place if place in missions else _root_code(ministry)


def _account(each: dict[str, Any]) -> ScenarioAccount:
    return ScenarioAccount(
        code=each["id"],
        mission=each["owner"],
        platform=each["platform"],
        name=each["handle"],
        language=each["lang"],
        is_exercise=bool(each.get("sandbox")),
    )


def _post(world: World, each: dict[str, Any]) -> ScenarioPost:
    facts = world.facts_of(each)
    return ScenarioPost(
        code=each["id"],
        author=each["author"],
        targets=tuple(each["targets"]),
        language=each["lang"],
        texts=(each["text"], *(_thread_text(part) for part in each.get("thread", ()))),
        post_class=each["cls"],
        at=each["schedule"]["utc"],
        zone=each["schedule"]["tz"],
        images=tuple(
            ScenarioImage(alt=media["alt"])
            for media in each.get("media", ())
            if media["kind"] == "image" and media.get("alt")
        ),
        facts={name: value for name, value in facts.items() if name in AUTHORED},
        final=each["expect"]["final"],
    )


def _thread_text(part: Any) -> str:  # noqa: ANN401 - a text, or an object with one
    return part if isinstance(part, str) else str(part["text"])
