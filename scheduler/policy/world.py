"""What a scenario file says, in the words of a policy: registries of a ministry, and the facts of its posts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from scheduler.policy.source import Node, node_of

_HEADQUARTERS: Final = "hq"
_DUTY_CLASSES: Final = frozenset({"consular", "consular_alert", "election_information"})
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOUR: Final = timedelta(hours=1)

Row = Mapping[str, Any]


def instant(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


@dataclass(slots=True)
class World:
    """A scenario with its parts by id."""

    name: str
    content: Row
    posts: Sequence[Row] = field(init=False)
    accounts: dict[str, Row] = field(init=False)
    people: dict[str, Row] = field(init=False)
    ministries: dict[str, Row] = field(init=False)
    missions: frozenset[str] = field(init=False)
    _by_id: dict[str, Row] = field(init=False)
    _by_account: dict[str, list[datetime]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.posts = self.content["posts"]
        self.accounts = {each["id"]: each for each in self.section("accounts")}
        self.people = {each["id"]: each for each in self.section("people")}
        self.ministries = {each["id"]: each for each in self.section("ministries")}
        self.missions = frozenset(str(each["id"]) for each in self.section("missions"))
        self._by_id = {each["id"]: each for each in self.posts}
        for post in self.posts:
            at = publish_at(post)
            for account in post.get("targets", ()) if at else ():
                self._by_account.setdefault(account, []).append(at)  # type: ignore[arg-type]

    def section(self, name: str) -> Sequence[Row]:
        found = self.content.get(name)
        return found if isinstance(found, list) else ()

    def headquarters(self, ministry: str) -> str:
        return f"{ministry}.{_HEADQUARTERS}"

    def facts_of(self, post: Row) -> dict[str, Any]:
        """The facts of a post as `declaring.read_facts` reads them."""
        at = publish_at(post)
        ministry = self.ministries.get(str(post.get("ministry")), {})
        facts: dict[str, Any] = {
            "text": post["text"],
            "class": post.get("cls", "routine"),
            "language": post.get("lang", "en"),
            "publish_at": at.isoformat() if at else None,
            "official_languages": list(ministry.get("official_languages", ())) or None,
            "media": [_medium(each) for each in post.get("media", ())],
            "accounts": [self._account(post, each, at) for each in post.get("targets", ())],
            "postures": [self._posture(each) for each in self._postures(post, at)],
        }
        facts |= _plain_facts(post)
        facts |= self._mirror(post)
        facts |= self._relations(post)
        facts |= self._joint(post, at)
        facts |= self._rate(post, at)
        return {key: value for key, value in facts.items() if value not in (None, [])}

    def _account(self, post: Row, account_id: str, at: datetime | None) -> dict[str, Any]:
        account = self.accounts.get(account_id)
        if account is None:
            return {"id": account_id, "registered": False}
        return {
            "id": account_id,
            "platform": account["platform"],
            "language": account["lang"],
            "text_language": post.get("lang", "en"),
            "role": account.get("role", "institution"),
            "sandbox": bool(account.get("sandbox")),
            "headquarters": str(account["owner"]).partition(".")[2] == _HEADQUARTERS,
            "mission": account["owner"],
            "registered": True,
            "granted": self._may_post(post, account, at),
        }

    def _may_post(self, post: Row, account: Row, at: datetime | None) -> bool:
        """Whether the author holds a role for the account then; who is not in the file is not asked."""
        person = self.people.get(str(post.get("author")))
        if person is None:
            return True
        since, until = instant(person.get("valid_from")), instant(person.get("valid_until"))
        if at is not None and ((since and at < since) or (until and until <= at)):
            return False
        return any(
            self._covers(role, account, str(post.get("cls"))) for role in person.get("roles", ())
        )

    def _covers(self, role: str, account: Row, post_class: str) -> bool:
        """`role@org` acts on the accounts of that org; headquarters on every account that is of no mission.

        Exercise accounts are open to everybody of the ministry; consular duty covers what it answers for everywhere.
        """
        name, _, org = role.partition("@")
        owner = str(account["owner"])
        ministry, _, unit = org.partition(".")
        if ministry != owner.partition(".")[0]:
            return False
        if owner == org or not unit or account.get("sandbox"):
            return True
        if unit == _HEADQUARTERS and owner not in self.missions:
            return True
        return name == "consular_duty" and post_class in _DUTY_CLASSES

    def _postures(self, post: Row, at: datetime | None) -> Iterable[Row]:
        owners = {str(self.accounts.get(each, {}).get("owner")) for each in post.get("targets", ())}
        for each in self.section("postures"):
            if each.get("ministry") != post.get("ministry") or at is None:
                continue
            since, until = instant(each.get("from_utc")), instant(each.get("to_utc"))
            if (since and at < since) or (until and until <= at):
                continue
            scope = str(each.get("scope", ""))
            if scope in owners or scope.startswith("all ") or scope in post.get("targets", ()):
                yield each

    @staticmethod
    def _posture(posture: Row) -> dict[str, Any]:
        return {
            "id": posture["id"],
            "kind": posture["kind"],
            "allows": list(posture.get("allow_classes", ())),
        }

    def _mirror(self, post: Row) -> dict[str, Any]:
        group = post.get("mirror_group")
        own = (
            [post]
            if group is None
            else [
                each
                for each in self.posts
                if each.get("mirror_group") == group
                and each.get("ministry") == post.get("ministry")
            ]
        )
        languages = sorted({str(each.get("lang")) for each in own})
        return {"mirror.group": group, "mirror.languages": languages}

    def _relations(self, post: Row) -> dict[str, Any]:
        quoted = self._by_id.get(str(post.get("quote_of")))
        found: dict[str, Any] = {}
        if quoted is not None:
            owners = [
                self.accounts.get(each, {}).get("owner") for each in quoted.get("targets", ())
            ]
            is_own = quoted.get("ministry") == post.get("ministry")
            found["quotes.headquarters"] = is_own and any(
                str(owner).partition(".")[2] == _HEADQUARTERS for owner in owners
            )
            found["target.trusted"] = True
        if "target_trusted" in post:
            found["target.trusted"] = bool(post["target_trusted"])
        return found

    def _joint(self, post: Row, at: datetime | None) -> dict[str, Any]:
        if post.get("cls") != "joint_statement":
            return {}
        agreed = self.content.get("joint_texts") or {}
        campaign = next(
            (each for each in self.section("campaigns") if each["id"] == post.get("campaign")), {}
        )
        found: dict[str, Any] = {"joint.text": agreed.get(post.get("lang"))}
        if campaign.get("all_or_hold") and at is not None:
            partners = {campaign.get("lead"), *campaign.get("partners", ())}
            agreeing = self._consents(str(campaign["id"]), agreed.get("version"), at)
            found["joint.missing"] = sorted(map(str, partners - agreeing))
        return found

    def _consents(self, campaign: str, version: object, at: datetime) -> set[object]:
        agreeing: set[object] = set()
        for each in self.section("consents"):
            said = instant(each.get("at_utc"))
            if each.get("campaign") != campaign or each.get("text_version") != version:
                continue
            if said is not None and said <= at:
                agreeing.discard(each["ministry"])
                if each.get("kind") != "objection":
                    agreeing.add(each["ministry"])
        return agreeing

    def _rate(self, post: Row, at: datetime | None) -> dict[str, Any]:
        """How close the posts of the same accounts follow each other, this one with those before it."""
        if at is None:
            return {}
        earlier = [
            at - other
            for account in post.get("targets", ())
            for other in self._by_account.get(account, ())
            if timedelta(0) < at - other
        ]
        together = max(
            (
                sum(
                    timedelta(0) <= at - other < _HOUR
                    for other in self._by_account.get(account, ())
                )
                for account in post.get("targets", ())
            ),
            default=1,
        )
        gap = min(earlier, default=None)
        return {
            "rate.gap_minutes": None if gap is None else gap.total_seconds() / 60,
            "rate.last_hour": together,
        }


def publish_at(post: Row) -> datetime | None:
    return instant((post.get("schedule") or {}).get("utc"))


def has_no_instant(post: Row) -> bool:
    """Whether the local time that was chosen does not exist."""
    schedule = post.get("schedule") or {}
    return bool(schedule.get("local")) and schedule.get("utc") is None


def _plain_facts(post: Row) -> dict[str, Any]:
    """Facts that the file gives as a rule asks them, under another name."""
    line, similar = post.get("line_ref") or {}, post.get("similar_to") or {}
    fields = post.get("alert_fields")
    facts = {
        "title": post.get("title"),
        "thread": post.get("thread"),
        "action": post.get("action"),
        "topic": post.get("topic"),
        "format": post.get("format"),
        "origin": post.get("origin"),
        "mark": post.get("mark"),
        "exercise": bool(post.get("exercise")),
        "valid_until": post.get("valid_until"),
        "incident_minute": post.get("incident_minute"),
        "source_ref": post.get("source_ref"),
        "event_public": post.get("event_public"),
        "closes": post.get("closes"),
        "corrects": post.get("corrects"),
        "supersedes": post.get("supersedes"),
        "case.id": post.get("case"),
        "case.impact": post.get("impact_score"),
        "clearances": post.get("clearances"),
        "line.id": line.get("id"),
        "line.version": line.get("version"),
        "similar.score": similar.get("similarity"),
        "similar.days": _age(similar.get("id"), publish_at(post)),
        "review.done": bool(post.get("reviewed_by")) or None,
        "notice.id": post.get("linked_notice"),
        "notice.minutes": post.get("minutes_after_notice"),
        "alert.fields": [name for name, is_there in fields.items() if is_there] if fields else None,
        "drift": _drift(post),
    }
    if fields is not None and not facts["alert.fields"]:
        facts["alert.known"] = 0
    return facts


def _drift(post: Row) -> list[str] | None:
    """The facts that differ from those of the source."""
    own, source = post.get("facts"), post.get("source_facts")
    if not isinstance(own, Mapping) or not isinstance(source, Mapping):
        return None
    names = {*own, *source}
    return sorted(str(name) for name in names if own.get(name) != source.get(name)) or None


def _age(name: object, at: datetime | None) -> float | None:
    """How many days before the post the similar one was, where its name holds a date."""
    found = _DATE.search(str(name or ""))
    if found is None or at is None:
        return None
    return float((at.date() - datetime.fromisoformat(found[0]).date()).days)


def _medium(medium: Row) -> dict[str, Any]:
    names = {
        "kind": "kind", "alt": "alt", "name": "file", "credit": "credit", "licence": "licence",
        "licence_until": "licence_until", "faces": "faces", "consent": "consent",
        "contains": "contains", "clearance": "clearance", "speech": "has_speech", "live": "live",
        "captions": "captions", "synthetic": "synthetic", "labelled": "label",
        "text_words": "text_words",
    }  # fmt: skip
    found = {fact: medium.get(key) for fact, key in names.items()}
    return {fact: value for fact, value in found.items() if value not in (None, [], "")}


def build_registries(world: World, ministry: str) -> Node:
    """The sections of `registries.yaml`, from the file's own lists, for one ministry."""
    own = world.ministries.get(ministry, {})
    content = world.content
    value: dict[str, Any] = {
        "settings": {str(key): str(each) for key, each in (own.get("settings") or {}).items()},
        "lists": {
            "link_hosts": list(content.get("link_allowlist", ())),
            "hashtags": list(content.get("hashtag_registry", ())),
            "denied_hashtags": list(content.get("hashtag_denylist", ())),
            "hotlines": list(content.get("hotlines", ())),
            "host_parties": list(content.get("host_parties", ())),
            "host_party_handles": list(content.get("host_party_handles", ())),
            "disputed_territories": {
                "inflected": True,
                "terms": list(content.get("disputed_terms", ())),
            },
        },
        "glossary": [_glossary_entry(each) for each in world.section("glossary")],
        "officials": [_official(each) for each in world.people.values()],
        "states": _states(world),
        "lines": [_line(each) for each in world.section("lines")],
        "embargoes": [
            {
                "id": each["id"],
                "lift": each["lift_utc"],
                "protected_terms": list(each.get("protected_terms", ())),
            }
            for each in world.section("embargoes")
            if ministry in each.get("groups", (ministry,))
        ],
        "handles": _handles(world),
        "calendar": [
            {"date": each["date"], "kind": each["kind"]} for each in world.section("calendar")
        ],
    }
    return node_of(value, world.name)


def _glossary_entry(entry: Row) -> dict[str, Any]:
    found = {
        "term": entry["term"],
        "rule": entry["rule"],
        "deny": list(entry.get("deny", ())),
        "languages": entry.get("lang"),
        "exceptions": list(entry.get("exceptions", ())) or None,
        "valid_from": entry.get("valid_from"),
        "valid_until": entry.get("valid_until") or entry.get("valid_to"),
        "footnote": entry.get("footnote"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _official(person: Row) -> dict[str, Any]:
    found = {key: person.get(key) for key in ("name", "gender", "valid_from", "valid_until")}
    return {key: value for key, value in found.items() if value is not None}


def _states(world: World) -> list[list[str]]:
    """The names of the states, in the alphabetical order of their English names."""
    names = sorted(str(each.get("short", each["id"])) for each in world.ministries.values())
    return [[name] for name in names]


def _line(line: Row) -> dict[str, Any]:
    """A line's topic is what its id says after the first dash, where the file names none."""
    found = {
        "id": line["id"],
        "version": line["version"],
        "status": line.get("status"),
        "kind": line.get("kind"),
        "valid_from": line.get("valid_from"),
        "valid_until": line.get("valid_to") or line.get("valid_until"),
        "topic": line.get("topic") or (None if line.get("kind") else _topic(str(line["id"]))),
        "text": dict(line.get("text", {})),
    }
    return {key: value for key, value in found.items() if value is not None}


def _topic(line_id: str) -> str:
    return line_id.rpartition("-")[2].lower()


def _handles(world: World) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in world.accounts.values():
        handle = str(each.get("handle", "")).split(" ")[0]
        if handle:
            found.setdefault(str(each["platform"]), []).append(handle)
    return {platform: sorted(set(handles)) for platform, handles in found.items()}
