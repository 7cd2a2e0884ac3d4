"""The move tables: every state against every move, against the table of the design written out here."""

import pytest

from scheduler.audit.actions import Action
from scheduler.domain import delivery_flow, post_flow
from scheduler.domain.delivery_flow import (
    CLOSING,
    IN_HAND,
    PUBLIC,
    DeliveryMove,
    DeliveryState,
)
from scheduler.domain.people import Permission
from scheduler.domain.post_flow import TERMINAL, IllegalMoveError, PostMove, PostState

# move: {state before: state after}; what is not here is refused
POSTS = {
    "edit": dict.fromkeys(["draft", "in_review", "approved", "scheduled"], "draft"),
    "submit": {"draft": "in_review"},
    "withdraw": dict.fromkeys(["in_review", "approved", "scheduled"], "draft"),
    "reopen": dict.fromkeys(["in_review", "approved", "scheduled"], "draft"),
    "return": {"in_review": "draft"},
    "approve": {"in_review": "approved"},
    "schedule": {"approved": "scheduled"},
    "cancel": dict.fromkeys(["draft", "in_review", "approved", "scheduled"], "cancelled"),
    "close": {"scheduled": "closed"},
}
DELIVERIES = {
    "ready": {"planned": "ready"},
    "unready": dict.fromkeys(["ready", "held"], "planned"),
    "claim": {"ready": "claimed"},
    "unclaim": dict.fromkeys(["claimed", "preparing"], "ready"),
    "prepare": {"claimed": "preparing"},
    "intent": {"preparing": "sending"},
    "part_sent": {"sending": "preparing"},
    "sent": {"sending": "sent"},
    "retry": dict.fromkeys(["preparing", "sending"], "ready"),
    "rejected": dict.fromkeys(["preparing", "sending"], "rejected"),
    "unknown": {"sending": "unknown"},
    "found": {"unknown": "sent"},
    "part_found": {"unknown": "ready"},
    "absent": {"unknown": "ready"},
    "verify": {"sent": "verified"},
    "drift": dict.fromkeys(["sent", "verified"], "drifted"),
    "hold": dict.fromkeys(["ready", "claimed", "preparing", "unknown"], "held"),
    "release": dict.fromkeys(["held", "rejected"], "ready"),
    "resolve": dict.fromkeys(["held", "rejected", "expired"], "sent"),
    "expire": dict.fromkeys(["ready", "claimed", "preparing", "held"], "expired"),
    "cancel": dict.fromkeys(["planned", "ready", "held", "rejected"], "cancelled"),
}
NEEDS = {
    PostMove.EDIT: Permission.WRITE,
    PostMove.SUBMIT: Permission.WRITE,
    PostMove.WITHDRAW: Permission.WRITE,
    PostMove.REOPEN: None,
    PostMove.RETURN: Permission.CLEAR,
    PostMove.APPROVE: Permission.APPROVE,
    PostMove.SCHEDULE: Permission.WRITE,
    PostMove.CANCEL: Permission.WRITE,
    PostMove.CLOSE: None,
}


@pytest.mark.parametrize("action", PostMove)
@pytest.mark.parametrize("state", PostState)
def test_a_post_makes_exactly_the_moves_of_the_table(state: PostState, action: PostMove) -> None:
    target = POSTS[action].get(state)
    if target is None:
        with pytest.raises(IllegalMoveError) as caught:
            post_flow.plan(state, action)
        assert caught.value.code == "move_not_allowed"
        assert caught.value.status == 409
        assert caught.value.details == {"state": state}
    else:
        move = post_flow.plan(state, action)
        assert (move.action, move.target) == (action, target)


@pytest.mark.parametrize("action", DeliveryMove)
@pytest.mark.parametrize("state", DeliveryState)
def test_a_delivery_makes_exactly_the_moves_of_the_table(
    state: DeliveryState, action: DeliveryMove
) -> None:
    target = DELIVERIES[action].get(state)
    if target is None:
        with pytest.raises(IllegalMoveError) as caught:
            delivery_flow.plan(state, action)
        assert caught.value.code == "move_not_allowed"
        assert caught.value.details == {"state": state}
    else:
        move = delivery_flow.plan(state, action)
        assert (move.action, move.target) == (action, target)


def test_a_refused_move_says_from_where_it_would_be_allowed() -> None:
    with pytest.raises(IllegalMoveError, match=r"cannot withdraw a post that is draft; .*approved"):
        post_flow.plan(PostState.DRAFT, PostMove.WITHDRAW)
    with pytest.raises(IllegalMoveError, match=r"cannot sent a delivery that is held; .*sending"):
        delivery_flow.plan(DeliveryState.HELD, DeliveryMove.SENT)


@pytest.mark.parametrize("move", post_flow.MOVES, ids=lambda move: move.action)
def test_each_move_of_a_post_needs_its_permission(move: post_flow.Move) -> None:
    assert move.needs is NEEDS[move.action]


def test_every_move_has_an_audit_record_of_its_name() -> None:
    assert {f"post.{move}" for move in PostMove} <= set(Action)
    assert {f"delivery.{move}" for move in DeliveryMove} <= set(Action)


def test_nothing_leads_out_of_a_closed_or_cancelled_post() -> None:
    assert {PostState.CLOSED, PostState.CANCELLED} == TERMINAL


def test_what_is_in_a_workers_hands_is_never_cancelled_or_taken_back() -> None:
    assert {"claimed", "preparing", "sending"} == IN_HAND
    for state in IN_HAND | {DeliveryState.UNKNOWN}:
        for action in (DeliveryMove.CANCEL, DeliveryMove.UNREADY, DeliveryMove.RELEASE):
            with pytest.raises(IllegalMoveError):
                delivery_flow.plan(state, action)


def test_what_may_be_public_is_never_made_ready_but_by_a_look_or_a_person() -> None:
    leaving = {
        move.action
        for move in delivery_flow.MOVES
        if DeliveryState.UNKNOWN in move.sources and move.target == DeliveryState.READY
    }
    assert leaving == {DeliveryMove.ABSENT, DeliveryMove.PART_FOUND}


def test_a_post_closes_over_public_expired_and_cancelled_deliveries_only() -> None:
    assert {"sent", "verified", "drifted"} == PUBLIC
    assert {"sent", "verified", "drifted", "expired", "cancelled"} == CLOSING
    for move in delivery_flow.MOVES:  # and from there a delivery only ever becomes public
        assert not move.sources & CLOSING or move.target in PUBLIC
