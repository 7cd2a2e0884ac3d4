"""Skips the empty looks: a worker that would find nothing in the database is not asked to look.

This is a schedule that a real host may have: timers fire late when a machine is slow. Time goes no further than the
next instant at which a row, a platform, a fault or a person wants something.
"""

from sqlite3 import Row
from typing import TYPE_CHECKING

from scheduler.clock import from_iso
from tests.simulation.loop import OUTSIDE, Process, Wish

if TYPE_CHECKING:
    from tests.simulation.run import Run

_ENDED = frozenset({"verified", "drifted", "rejected", "held", "expired", "cancelled"})
_IN_HAND = frozenset({"claimed", "preparing", "sending"})
_AHEAD_S = 3.0
_HORIZON_S = 6 * 3600.0
_SWEEP_S, _SEAL_S = 1.0, 0.25
#: How late a look may come while something is due.
_LATEST_SWEEP_S, _LATEST_SEAL_S = 1.5, 1.5


class Leaper:
    def __init__(self, run: "Run") -> None:
        self._run = run
        self._store = run.ministry.store
        self._drawn: dict[float, float] = {}  #: by the wait of the timers that are to fire

    def wanted(self) -> Wish | None:
        """The next look at the database; None when only timers are left, or nothing at all."""
        run = self._run
        now = run.loop.now_s
        rows = list(self._store.deliveries.values())
        run.invariants.judge_progress(rows)
        if now - run.begins_s > _HORIZON_S:
            run.invariants.fail("I8", "not ended after six hours")
        sealed = self._store.size == self._store.last_record
        calling = any(call.process.works for call in run.server.calls)
        waits = calling or run.loop.next_timer(OUTSIDE) is not None
        if sealed and not waits and all(map(_is_over, rows)):
            run.done = True
            return None
        sweep_s, seal_s = self._next_sweep(rows), None if sealed else self._next_seal()
        if sealed:
            self._drawn.pop(_SEAL_S, None)
        if seal_s is not None and (sweep_s is None or seal_s < sweep_s):
            return self._wish(seal_s, _SEAL_S, self._whoever_seals())
        if sweep_s is None:
            return None
        return self._wish(sweep_s, _SWEEP_S, self._whoever_sweeps())

    def _wish(self, at_s: float, wait_s: float, who: list[Process]) -> Wish:
        when = self._run.loop.next_timer()
        if when is None or at_s < when:  # it will be taken: the next one is drawn anew
            self._drawn.pop(wait_s, None)
        return Wish(at_s, lambda process, delay: process in who and delay == wait_s)

    def _draw(self, wait_s: float, latest_s: float) -> float:
        """When the next look comes that has to come; once drawn it stays, whatever happens before."""
        now = self._run.loop.now_s
        if wait_s not in self._drawn:
            self._drawn[wait_s] = now + self._run.rng.uniform(0.05, latest_s)
        return max(now, self._drawn[wait_s])

    def _whoever_seals(self) -> list[Process]:
        """Mostly the one with the lease, sometimes all of them at once."""
        able = [each.process for each in self._run.workers if each.process.works]
        owner = [each for each in able if each.name == self._sealer()]
        return owner if owner and self._run.rng.random() < 0.8 else able

    def _sealer(self) -> str:
        [(name,)] = self._store.monitor.execute("SELECT owner FROM audit_head")
        return str(name)

    def _whoever_sweeps(self) -> list[Process]:
        """One of the workers, or each: the seed says."""
        rng = self._run.rng
        able = [each.process for each in self._run.workers if each.process.works]
        if len(able) < 2 or rng.random() < 0.35:
            return able
        return [rng.choice(able)]

    def _next_seal(self) -> float:
        """Soon; but until the lease of a dead sequencer ends nobody can."""
        run = self._run
        [(owner, until)] = self._store.monitor.execute("SELECT owner, lease_until FROM audit_head")
        if any(each.process.name == owner and each.process.works for each in run.workers):
            return self._draw(_SEAL_S, _LATEST_SEAL_S)
        return max(self._draw(_SEAL_S, _LATEST_SEAL_S), self._at(until))

    def _next_sweep(self, rows: list[Row]) -> float | None:
        now = self._run.loop.now_s
        wanted = [at for row in rows for at in self._wishes(row)]
        if not wanted:
            return None
        future = [at for at in wanted if at > now]
        if len(future) < len(wanted):
            future.append(self._draw(_SWEEP_S, _LATEST_SWEEP_S))
        return min(future)

    def _wishes(self, row: Row) -> list[float]:
        state = row["state"]
        if state == "ready":
            return [self._at(row["wake_at"]) - _AHEAD_S]
        if state in _IN_HAND:
            return [self._at(row["lease_until"])]
        if state in {"unknown", "sent"} and row["wake_at"] is not None:
            return [self._at(row["wake_at"])]
        return []

    def _at(self, text: str) -> float:
        """The loop's time of an instant in the database."""
        run = self._run
        return run.loop.now_s + (from_iso(text) - run.wall()).total_seconds() + 1e-6


def _is_over(row: Row) -> bool:
    return row["state"] in _ENDED or (row["state"] == "sent" and row["wake_at"] is None)
