"""What `chancery delivery show` proposes to do next."""

import pytest

from scheduler.commands.deliveries import find_next_steps

ID = "0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f"


def _found(state: str, *outcomes: str | None) -> dict[str, object]:
    return {
        "id": ID,
        "state": state,
        "reason": "late: the machine was off",
        "account_url": "https://social.karvenia.example/@hq",
        "next_look_at": "2027-03-28T07:00:00Z",
        "attempts": [{"outcome": each} for each in outcomes],
    }


def test_what_may_be_public_is_looked_at_before_anything_else() -> None:
    look, there, gone = find_next_steps(_found("held", "not_sent", "unknown"))
    assert look == "look at https://social.karvenia.example/@hq"
    assert f"chancery delivery resolve {ID} --posted --url URL" in there
    assert f"chancery delivery retry {ID} --not-public" in gone
    assert f"chancery delivery resolve {ID} --cancelled" in gone


@pytest.mark.parametrize("state", ["held", "rejected"])
@pytest.mark.parametrize("outcomes", [(), ("unknown", "absent"), ("rejected",)])
def test_what_is_not_public_is_released_posted_by_hand_or_given_up(
    state: str, outcomes: tuple[str, ...]
) -> None:
    release, by_hand, give_up = find_next_steps(_found(state, *outcomes))
    assert f"chancery delivery retry {ID} --reason" in release
    assert "--not-public" not in release
    assert f"chancery delivery resolve {ID} --posted-by-hand URL" in by_hand
    assert f"chancery delivery resolve {ID} --cancelled" in give_up


def test_what_a_posture_has_held_is_released_with_all_the_rest() -> None:
    held = _found("held") | {"reason": f"stopped: posture {ID} (mourning): a flood"}
    release, *_ = find_next_steps(held)
    assert f"chancery delivery release --posture {ID} --spread MINUTES" in release


def test_what_is_unknown_is_waited_for() -> None:
    [wait] = find_next_steps(_found("unknown", "unknown"))
    assert "2027-03-28T07:00:00Z" in wait


@pytest.mark.parametrize("state", ["planned", "ready", "sending", "sent", "verified", "cancelled"])
def test_where_nothing_is_to_be_decided_nothing_is_proposed(state: str) -> None:
    assert find_next_steps(_found(state, "unknown")) == []
