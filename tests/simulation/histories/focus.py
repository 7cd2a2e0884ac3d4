"""Where a missing rule shows soonest: what happens there more often than in the histories of the control."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Focus:
    weights: Mapping[str, float] = field(default_factory=dict)
    tamperings: tuple[str, ...] = ()
    rule: str = ""


ANYWHERE: Final = Focus()
_RIPENING: Final = {"propose": 12, "confirm": 12, "wait": 14, "change_rows": 0}
#: Something can come between the approval and the platform.
_SLOW: Final = {"carry_on": 30, "push_through": 4, "dispatch": 2, "change_rows": 0}
_GRANTS: Final = ("grant.setup", "grant.role", "grant.back", "grant.everywhere")
_BY_RULE: Final = {
    "duties": Focus({"approve": 12, "change_rows": 0}),
    # without codes, which would suspend their persons longer than the young role does
    "cooldown": Focus(
        {**_RIPENING, "propose": 16, "confirm": 20, "push_through": 16, "wait": 2, "enrol": 0}
    ),
    "suspension": Focus({"enrol": 20, "wait": 3, "change_rows": 0}),
    "second_admin": Focus(
        {**_RIPENING, "confirm": 0, "wait": 18, "enrol": 0.2, "draft": 0, "dispatch": 2}
    ),
    "roles": Focus({"revoke": 30, "wait": 3, **_SLOW}),
    "policy": Focus({"activate": 16, **_SLOW}),
    "digest": Focus(
        {"change_rows": 16}, ("post_text.forged", "delivery.payload", "variant.forged")
    ),
    "posture": Focus({"stop": 10, "change_rows": 0}),
    "instant": Focus({"change_rows": 16}, ("delivery.early",)),
    "receipts": Focus({"change_rows": 16}, ("again",)),
    "seals": Focus({"change_rows": 16}, _GRANTS),
}
FOCUS: Final[Mapping[str, Focus]] = {
    rule: replace(focus, rule=rule) for rule, focus in _BY_RULE.items()
}
