"""The states of a post and every move between them; the database repeats the states by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from scheduler.domain.people import Permission
from scheduler.errors import ConflictError


class PostState(StrEnum):
    DRAFT = "draft"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class PostMove(StrEnum):
    """Named as the audit record of the move is (`post.` in front)."""

    EDIT = "edit"
    SUBMIT = "submit"
    WITHDRAW = "withdraw"
    REOPEN = "reopen"  #: what it rests on has changed
    RETURN = "return"
    APPROVE = "approve"
    SCHEDULE = "schedule"
    CANCEL = "cancel"
    CLOSE = "close"


class IllegalMoveError(ConflictError):
    """The state does not allow the move; the details name the state."""

    code = "move_not_allowed"


@dataclass(frozen=True, slots=True)
class Move:
    action: PostMove
    sources: frozenset[PostState]
    target: PostState
    needs: Permission | None  #: None: only the system makes it


def _move(action: PostMove, sources: str, target: PostState, needs: Permission | None) -> Move:
    return Move(action, frozenset(map(PostState, sources.split())), target, needs)


MOVES: Final = (
    _move(PostMove.EDIT, "draft in_review approved scheduled", PostState.DRAFT, Permission.WRITE),
    _move(PostMove.SUBMIT, "draft", PostState.IN_REVIEW, Permission.WRITE),
    _move(PostMove.WITHDRAW, "in_review approved scheduled", PostState.DRAFT, Permission.WRITE),
    _move(PostMove.REOPEN, "in_review approved scheduled", PostState.DRAFT, None),
    _move(PostMove.RETURN, "in_review", PostState.DRAFT, Permission.CLEAR),
    _move(PostMove.APPROVE, "in_review", PostState.APPROVED, Permission.APPROVE),
    _move(PostMove.SCHEDULE, "approved", PostState.SCHEDULED, Permission.WRITE),
    _move(
        PostMove.CANCEL,
        "draft in_review approved scheduled",
        PostState.CANCELLED,
        Permission.WRITE,
    ),
    _move(PostMove.CLOSE, "scheduled", PostState.CLOSED, None),
)
_BY_ACTION: Final[Mapping[PostMove, Move]] = MappingProxyType({move.action: move for move in MOVES})
TERMINAL: Final = frozenset(PostState).difference(*(move.sources for move in MOVES))


def plan(state: PostState, action: PostMove) -> Move:
    """Return the move, or refuse it; the caller still has to win the race to write it.

    Raises:
        IllegalMoveError: the post's state does not allow the move.
    """
    move = _BY_ACTION[action]
    if state not in move.sources:
        allowed = ", ".join(sorted(move.sources))
        raise IllegalMoveError(
            f"cannot {action} a post that is {state}; it would have to be {allowed}", state=state
        )
    return move
