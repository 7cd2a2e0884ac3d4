"""What may leave under which posture, as a table."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from scheduler.domain.posture import (
    Departure,
    Restriction,
    caught_by,
    describe,
    find_block,
    find_catcher,
)

NOON = datetime(2027, 4, 1, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HQ, KYI, CONSULATE, TYO = "/a1/", "/a1/b2/", "/a1/b2/c3/", "/a1/d4/"
HQ_ACCOUNT, KYI_ACCOUNT = UUID(int=1), UUID(int=2)
BRIDGE, CABLES = UUID(int=3), UUID(int=4)


def _posture(number: int = 7, **fields: object) -> Restriction:
    return Restriction(**{"id": UUID(int=number), "kind": "stop", "reason": "why", **fields})  # type: ignore[arg-type]


def _departure(**fields: object) -> Departure:
    """A routine post of the embassy in Kyiv, in Ukrainian, on its own account, at noon."""
    defaults: dict[str, object] = {
        "post_class": "routine",
        "mission_paths": (KYI, KYI),
        "account_id": KYI_ACCOUNT,
        "campaign_id": BRIDGE,
        "language": "uk",
        "at": NOON,
    }
    return Departure(**{**defaults, **fields})  # type: ignore[arg-type]


ALERT = {"post_class": "consular_alert"}
FOREIGN = {"mission_paths": (HQ, KYI)}  # headquarters writes on the embassy's account
GUEST = {"mission_paths": (KYI, HQ), "account_id": HQ_ACCOUNT}  # and the other way round


@pytest.mark.parametrize(
    ("posture", "departure", "forbidden"),
    [
        # a stop of everything
        ({}, {}, True),
        ({}, ALERT, True),
        # all but named classes
        ({"allowed_classes": {"consular_alert"}}, {}, True),
        ({"allowed_classes": {"consular_alert"}}, ALERT, False),
        ({"allowed_classes": {"consular"}}, ALERT, True),
        # a campaign
        ({"campaign_id": BRIDGE}, {}, True),
        ({"campaign_id": CABLES}, {}, False),
        ({"campaign_id": BRIDGE}, {"campaign_id": None}, False),
        ({"campaign_id": BRIDGE, "language": "en"}, {}, False),
        # a mission, what is below it, its posts elsewhere and its accounts
        ({"mission_path": KYI}, {}, True),
        ({"mission_path": HQ}, {}, True),
        ({"mission_path": KYI}, {"mission_paths": (CONSULATE, CONSULATE)}, True),
        ({"mission_path": CONSULATE}, {}, False),
        ({"mission_path": TYO}, {}, False),
        ({"mission_path": KYI}, FOREIGN, True),
        ({"mission_path": KYI}, GUEST, True),
        ({"mission_path": KYI}, {"mission_paths": (HQ, HQ)}, False),
        # an account
        ({"account_id": KYI_ACCOUNT}, {}, True),
        ({"account_id": HQ_ACCOUNT}, {}, False),
        ({"account_id": HQ_ACCOUNT}, {"account_id": None}, False),
        # a language and its regions
        ({"language": "uk"}, {}, True),
        ({"language": "en"}, {}, False),
        ({"language": "pt"}, {"language": "pt-BR"}, True),
        ({"language": "PT"}, {"language": "pt-br"}, True),
        ({"language": "pt-BR"}, {"language": "pt"}, False),
        ({"language": "sl"}, {"language": "sla"}, False),
        # everything that is named must fit
        ({"mission_path": KYI, "language": "uk"}, {}, True),
        ({"mission_path": KYI, "language": "en"}, {}, False),
        ({"mission_path": TYO, "account_id": KYI_ACCOUNT}, {}, False),
        ({"mission_path": KYI, "allowed_classes": {"routine"}}, {}, False),
        # by time: from its first instant until before its last
        ({"starts_at": NOON}, {}, True),
        ({"starts_at": NOON + TICK}, {}, False),
        ({"ends_at": NOON + TICK}, {}, True),
        ({"ends_at": NOON}, {}, False),
        ({"starts_at": NOON - TICK, "ends_at": NOON + TICK}, {}, True),
        # one that took effect with its commit holds for any clock
        ({}, {"at": datetime(1970, 1, 1, tzinfo=UTC)}, True),
    ],
)
def test_a_posture_forbids_exactly_what_it_names(
    posture: dict[str, object], departure: dict[str, object], forbidden: bool
) -> None:
    found = find_block([_posture(**posture)], _departure(**departure))
    assert (found is not None) == forbidden


def test_a_delivery_leaves_only_if_no_posture_forbids_it() -> None:
    alerts_pass = _posture(1, kind="mourning", allowed_classes=frozenset({"consular_alert"}))
    nothing_from_kyiv = _posture(2, kind="freeze", mission_path=KYI)
    both = [alerts_pass, nothing_from_kyiv]
    assert find_block([], _departure()) is None
    assert find_block(both, _departure()) is alerts_pass
    assert find_block(both, _departure(**ALERT)) is nothing_from_kyiv
    assert find_block(both, _departure(**ALERT, mission_paths=(HQ, HQ))) is None


@pytest.mark.parametrize(
    ("fields", "everything"),
    [
        ({}, True),
        ({"kind": "freeze", "ends_at": NOON}, True),
        ({"mission_path": HQ}, False),
        ({"account_id": HQ_ACCOUNT}, False),
        ({"campaign_id": BRIDGE}, False),
        ({"language": "en"}, False),
        ({"allowed_classes": frozenset({"statement"})}, False),
    ],
)
def test_only_a_posture_without_scope_and_classes_stops_everything(
    fields: dict[str, object], everything: bool
) -> None:
    assert _posture(**fields).stops_everything is everything


def test_a_held_delivery_names_the_posture_that_held_it_before_any_persons_words() -> None:
    posture = _posture(kind="mourning", reason=f"posture {UUID(int=8)} (x)")
    reason = f"stopped: {describe(posture)}"
    assert reason.startswith(caught_by(posture.id))
    assert find_catcher(reason) == str(posture.id)
    assert find_catcher(f"late: {reason}") is None
    assert not reason.startswith(caught_by(UUID(int=8)))
    assert reason.endswith(f"(mourning): {posture.reason}")
