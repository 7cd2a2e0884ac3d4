"""Postures: what may leave while one is in force (a stop, mourning, pre-election, a freeze)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

#: The code of the obstacle, and so the first word of a held delivery's reason.
STOPPED: Final = "stopped"
_CAUGHT: Final = re.compile(rf"{STOPPED}: posture ([0-9a-f-]{{36}}) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """A posture as it is asked: everything that it names must fit, and it forbids all classes but the allowed.

    `starts_at` None means from its commit on, whatever a clock says; `ends_at` None means until a person lifts it.
    """

    id: UUID
    kind: str
    reason: str
    mission_path: str | None = None
    account_id: UUID | None = None
    campaign_id: UUID | None = None
    language: str | None = None
    allowed_classes: frozenset[str] = frozenset()
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def stops_everything(self) -> bool:
        scope = (self.mission_path, self.account_id, self.campaign_id, self.language)
        return not any(scope) and not self.allowed_classes

    def is_in_force(self, at: datetime) -> bool:
        begun = self.starts_at is None or self.starts_at <= at
        return begun and (self.ends_at is None or at < self.ends_at)

    def forbids(self, departure: "Departure") -> bool:
        """A mission's posture holds for its posts, wherever they go, and for its accounts, whoever writes."""
        if departure.post_class in self.allowed_classes or not self.is_in_force(departure.at):
            return False
        mission, account, campaign = self.mission_path, self.account_id, self.campaign_id
        return (
            (mission is None or any(path.startswith(mission) for path in departure.mission_paths))
            and (account is None or account == departure.account_id)
            and (campaign is None or campaign == departure.campaign_id)
            and (self.language is None or _is_within(departure.language, self.language))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """What wants to leave at the instant `at`."""

    post_class: str
    mission_paths: tuple[str, ...]  #: of the post's mission, and of the account's
    account_id: UUID | None
    campaign_id: UUID | None
    language: str
    at: datetime


def find_block(postures: Iterable[Restriction], departure: Departure) -> Restriction | None:
    """The first posture that forbids it; it may leave only if none does."""
    return next((each for each in postures if each.forbids(departure)), None)


def describe(posture: Restriction) -> str:
    """Why a delivery is held; begins so that what this posture caught is found again."""
    return f"{_mark(posture.id)} ({posture.kind}): {posture.reason}"


def caught_by(posture_id: UUID) -> str:
    """How the reason of every delivery begins that this posture has held."""
    return f"{STOPPED}: {_mark(posture_id)} "


def find_catcher(reason: str) -> str | None:
    """The id of the posture that has held a delivery, from the delivery's reason."""
    found = _CAUGHT.match(reason)
    return None if found is None else found[1]


def _mark(posture_id: UUID) -> str:
    return f"posture {posture_id}"


def _is_within(language: str, wider: str) -> bool:
    """`pt` holds for `pt-BR` as well, not the other way round."""
    language, wider = language.lower(), wider.lower()
    return language == wider or language.startswith(f"{wider}-")
