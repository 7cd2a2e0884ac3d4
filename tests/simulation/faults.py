"""The fault grid: 14 points, 16 faults, and the cells that mean nothing, each with its reason."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """What a platform offers against doubles."""

    PLAIN = "plain"  #: no key, no look-up
    LOOKUP = "lookup"  #: what was posted can be found
    IDEMPOTENT = "idempotent"  #: a key makes a second request harmless; a look-up besides


class Point(StrEnum):
    AFTER_CLAIM = "after_claim"
    DURING_UPLOAD = "during_upload"
    AFTER_CONTAINER = "after_container"
    BEFORE_INTENT = "before_intent"
    AFTER_INTENT = "after_intent"
    AFTER_CONNECT = "after_connect"
    AFTER_HEADERS = "after_headers"
    AFTER_BODY = "after_body"
    AFTER_EFFECT = "after_effect"
    BEFORE_RECORD = "before_record"
    BEFORE_SEAL = "before_seal"
    DURING_SEAL = "during_seal"
    DURING_WITNESS = "during_witness"
    DURING_REFRESH = "during_refresh"


class Fault(StrEnum):
    KILL = "kill"
    TERM = "term"
    STOP_60S = "stop_60s"
    BLOCK_30S = "block_30s"
    DB_DROP = "db_drop"
    DB_RESTART = "db_restart"
    DB_FAILOVER = "db_failover"
    DISK_FULL = "disk_full"
    REDIS = "redis"  #: gone, flushed or evil, as the seed says
    DNS = "dns"
    RESET = "reset"
    BLACK_HOLE = "black_hole"
    RATE_LIMITED = "rate_limited"
    ERROR_AFTER_EFFECT = "error_after_effect"
    GARBLED = "garbled"  #: a truncated, doubled or HTML answer with status 200
    CLOCK_JUMP = "clock_jump"  #: the database's clock, by an hour forward or back


PROCESS_FAULTS = frozenset({Fault.KILL, Fault.TERM, Fault.STOP_60S, Fault.BLOCK_30S})
DATABASE_FAULTS = frozenset({Fault.DB_DROP, Fault.DB_RESTART, Fault.DB_FAILOVER, Fault.DISK_FULL})
NETWORK_FAULTS = frozenset(
    {
        Fault.DNS,
        Fault.RESET,
        Fault.BLACK_HOLE,
        Fault.RATE_LIMITED,
        Fault.ERROR_AFTER_EFFECT,
        Fault.GARBLED,
    }
)

_CONNECTED = frozenset({Point.AFTER_CONNECT, Point.AFTER_HEADERS, Point.AFTER_BODY})
_ANSWERED = frozenset({Point.BEFORE_RECORD, Point.BEFORE_SEAL, Point.DURING_SEAL})

#: Cells that cannot be tried, and why; every other cell runs.
MEANINGLESS = (
    ({Point.DURING_WITNESS}, set(Fault), "no witness is called yet"),
    (
        _ANSWERED,
        NETWORK_FAULTS,
        "the answer has arrived: the network of this call is no longer in play",
    ),
    (
        _CONNECTED | {Point.AFTER_EFFECT},
        {Fault.DNS},
        "the name was resolved and the connection stands before this point",
    ),
    (
        {Point.AFTER_EFFECT},
        {Fault.RATE_LIMITED},
        "the effect has happened: this answer would say that it has not",
    ),
    (
        {Point.DURING_UPLOAD, Point.DURING_REFRESH},
        {Fault.ERROR_AFTER_EFFECT},
        "an upload or a renewed session makes nothing public: same as a garbled answer",
    ),
)


def why_meaningless(point: Point, fault: Fault) -> str | None:
    return next(
        (why for points, faults, why in MEANINGLESS if point in points and fault in faults), None
    )


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that hits when a point is reached for the nth time in a run."""

    point: Point
    fault: Fault
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.fault}@{self.point}#{self.nth}"

    @classmethod
    def parse(cls, text: str) -> "Strike":
        fault, _, rest = text.partition("@")
        point, _, nth = rest.partition("#")
        return cls(Point(point), Fault(fault), int(nth or 1))


CELLS = tuple(
    (kind, point, fault)
    for kind in Kind
    for point in Point
    for fault in Fault
    if why_meaningless(point, fault) is None
)


def plan_cell(point: Point, fault: Fault, rng: Random) -> tuple[Strike, ...]:
    """The cell's own fault, and sometimes another one elsewhere."""
    strikes = [Strike(point, fault)]
    if rng.random() < 0.3:
        strikes.append(plan_any(rng))
    return tuple(strikes)


def plan_any(rng: Random) -> Strike:
    while True:
        point, fault = rng.choice(list(Point)), rng.choice(list(Fault))
        if why_meaningless(point, fault) is None:
            return Strike(point, fault, rng.choice((1, 1, 2, 3)))
