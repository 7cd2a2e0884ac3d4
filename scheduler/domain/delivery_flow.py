"""The states of a delivery (one post on one account) and every move between them.

`sending` starts when the intent is committed, before the first byte leaves. What is `unknown` may be
public: it is never sent again before the settle time and a look-up that shows it absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from scheduler.domain.post_flow import IllegalMoveError


class DeliveryState(StrEnum):
    PLANNED = "planned"
    READY = "ready"
    CLAIMED = "claimed"
    PREPARING = "preparing"
    SENDING = "sending"
    SENT = "sent"
    VERIFIED = "verified"
    DRIFTED = "drifted"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    HELD = "held"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class DeliveryMove(StrEnum):
    """Named as the audit record of the move is (`delivery.` in front)."""

    READY = "ready"
    UNREADY = "unready"
    CLAIM = "claim"
    UNCLAIM = "unclaim"
    PREPARE = "prepare"
    INTENT = "intent"
    PART_SENT = "part_sent"
    SENT = "sent"
    RETRY = "retry"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    FOUND = "found"
    PART_FOUND = "part_found"
    ABSENT = "absent"
    VERIFY = "verify"
    DRIFT = "drift"
    HOLD = "hold"
    RELEASE = "release"
    RESOLVE = "resolve"
    EXPIRE = "expire"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Move:
    action: DeliveryMove
    sources: frozenset[DeliveryState]
    target: DeliveryState


def _move(action: DeliveryMove, sources: str, target: DeliveryState) -> Move:
    return Move(action, frozenset(map(DeliveryState, sources.split())), target)


_S = DeliveryState
MOVES: Final = (
    _move(DeliveryMove.READY, "planned", _S.READY),
    _move(DeliveryMove.UNREADY, "ready held", _S.PLANNED),
    _move(DeliveryMove.CLAIM, "ready", _S.CLAIMED),
    _move(DeliveryMove.UNCLAIM, "claimed preparing", _S.READY),
    _move(DeliveryMove.PREPARE, "claimed", _S.PREPARING),
    _move(DeliveryMove.INTENT, "preparing", _S.SENDING),
    _move(DeliveryMove.PART_SENT, "sending", _S.PREPARING),
    _move(DeliveryMove.SENT, "sending", _S.SENT),
    _move(DeliveryMove.RETRY, "preparing sending", _S.READY),
    _move(DeliveryMove.REJECTED, "preparing sending", _S.REJECTED),
    _move(DeliveryMove.UNKNOWN, "sending", _S.UNKNOWN),
    _move(DeliveryMove.FOUND, "unknown", _S.SENT),
    _move(DeliveryMove.PART_FOUND, "unknown", _S.READY),
    _move(DeliveryMove.ABSENT, "unknown", _S.READY),
    _move(DeliveryMove.VERIFY, "sent", _S.VERIFIED),
    _move(DeliveryMove.DRIFT, "sent verified", _S.DRIFTED),
    _move(DeliveryMove.HOLD, "ready claimed preparing unknown", _S.HELD),
    _move(DeliveryMove.RELEASE, "held rejected", _S.READY),
    _move(DeliveryMove.RESOLVE, "held rejected expired", _S.SENT),
    _move(DeliveryMove.EXPIRE, "ready claimed preparing held", _S.EXPIRED),
    _move(DeliveryMove.CANCEL, "planned ready held rejected", _S.CANCELLED),
)
_BY_ACTION: Final[Mapping[DeliveryMove, Move]] = MappingProxyType({m.action: m for m in MOVES})

#: A worker has it in hand: nobody edits the post under it.
IN_HAND: Final = frozenset({_S.CLAIMED, _S.PREPARING, _S.SENDING})
#: Public, as far as anybody can know.
PUBLIC: Final = frozenset({_S.SENT, _S.VERIFIED, _S.DRIFTED})
#: Nothing more can happen: a post whose deliveries are all here is closed.
CLOSING: Final = PUBLIC | {_S.EXPIRED, _S.CANCELLED}


def plan(state: DeliveryState, action: DeliveryMove) -> Move:
    """Return the move, or refuse it; the caller still has to win the race to write it.

    Raises:
        IllegalMoveError: the delivery's state does not allow the move.
    """
    move = _BY_ACTION[action]
    if state not in move.sources:
        allowed = ", ".join(sorted(move.sources))
        raise IllegalMoveError(
            f"cannot {action} a delivery that is {state}; it would have to be {allowed}",
            state=state,
        )
    return move
