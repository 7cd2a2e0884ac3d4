"""What must hold after every step, computed from the platforms' logs, the rows and the log, never from the engine."""

import json
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

from scheduler.clock import from_iso, iso
from tests.simulation.loop import OUTSIDE
from tests.simulation.platforms import SECRET, SESSION, Effect
from tests.simulation.store import Change, Facts, Session, Store

if TYPE_CHECKING:
    from tests.simulation.run import Run

_IN_HAND = frozenset({"claimed", "preparing", "sending"})
#: A lease that ends later was given before the clock has jumped back: it binds nobody.
_LONGEST_LEASE = timedelta(minutes=10)
#: After a jump of the clock, times read before it and after it do not compare.
_JUMP_S = 15.0


@dataclass(frozen=True, slots=True)
class Approved:
    """What the people have approved, kept apart from the database that may be changed by hand."""

    post_id: str
    texts: tuple[str, ...]
    due_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Broken:
    rule: str
    what: str


class Invariants:
    def __init__(self, run: "Run") -> None:
        self._run = run
        self.broken: list[Broken] = []
        self.approved: dict[str, Approved] = {}
        self.size = 0
        self._requests: Counter[str] = Counter()
        self._public: Counter[tuple[str, str]] = Counter()
        self._tree = Tree()
        self.unsealed_since_s: float | None = None

    def begin(self, store: Store) -> None:
        for row in store.deliveries.values():
            parts = json.loads(row["payload"])
            self.approved[row["id"]] = Approved(
                row["post_id"],
                tuple(part["request"]["text"] for part in parts),
                from_iso(row["due_at"]),
                from_iso(row["expires_at"]),
            )
        leaves = store.monitor.execute("SELECT hash FROM audit_leaf ORDER BY seq")
        for (leaf,) in leaves:
            self._tree.append(leaf)
        self.size = store.size

    def fail(self, rule: str, what: str) -> None:
        self._run.say(f"BROKEN {rule}: {what}")
        self.broken.append(Broken(rule, what))

    # What arrives at the platform

    def judge_request(self, effect: Effect) -> None:
        if not any(effect.text in each.texts for each in self.approved.values()):
            self.fail("I3", f"nobody approved {effect.text!r}")
        self._requests[effect.key] += 1
        [(intents,)] = self._run.ministry.store.monitor.execute(
            "SELECT count(*) FROM attempt WHERE idempotency_key = ? AND request_sha256 = ?",
            (effect.key, sha256(effect.body).hexdigest()),
        )
        if intents < self._requests[effect.key]:
            self.fail("I2", f"a request without a committed intent of its own: {effect.text!r}")

    def judge_effect(self, effect: Effect) -> None:
        if effect.merged:
            return
        self._public[effect.account, effect.text] += 1
        if self._public[effect.account, effect.text] > 1:
            self.fail("I1", f"{effect.text!r} is public twice on {effect.account}")

    # What is committed

    def judge_commit(self, session: Session, facts: Facts) -> None:
        self._judge_records(facts)
        wall = self._run.wall()
        jumped = self._run.loop.now_s - self._run.jumped_s < _JUMP_S
        for change in facts.changes:
            since = self._run.jumped_s < session.begun_s
            if since and facts.process is not OUTSIDE:
                self._judge_holder(facts, change, wall)
        for change in facts.enters("sending"):
            self._judge_intent(session, change, wall, jumped=jumped)

    def _judge_records(self, facts: Facts) -> None:
        told: dict[str, list[tuple[str, str]]] = {}
        for body in facts.records:
            record = json.loads(body)
            if record["on"]["t"] == "delivery":
                moves = told.setdefault(UUID(record["on"]["id"]).hex, [])
                moves.append((record["d"]["from"], record["d"]["to"]))
        for change in facts.changes:
            state = change.before["state"]
            for source, target in told.pop(change.after["id"], []):
                if source != state:
                    self.fail("I6", f"a record moves from {source}, but the state was {state}")
                state = target
            if state != change.after["state"]:
                self.fail("I6", f"records end at {state}, the row at {change.after['state']}")
        for moves in told.values():
            self.fail("I6", f"a record without its change: {moves}")

    def _judge_holder(self, facts: Facts, change: Change, wall: datetime) -> None:
        """Whoever has a delivery in hand decides alone until the lease is over (R5)."""
        before = change.before
        held = before["state"] in _IN_HAND and iso(wall) < before["lease_until"] < iso(
            wall + _LONGEST_LEASE
        )
        if held and before["worker"] != facts.process.name:
            self.fail(
                "R5",
                f"{facts.process.name} moves {before['state']} of {before['worker']}"
                f" to {change.after['state']}",
            )
        if before["state"] not in _IN_HAND and not change.moves:
            media = [json.loads(row["progress"]).get("media") for row in (before, change.after)]
            if media[0] != media[1]:
                self.fail("R5", f"{facts.process.name} writes into a delivery it has lost")

    def _judge_intent(
        self, session: Session, change: Change, wall: datetime, *, jumped: bool
    ) -> None:
        row, approved = change.after, self.approved[change.after["id"]]
        execute = session.raw.execute
        if execute("SELECT 1 FROM posture WHERE ended_at IS NULL").fetchall():
            self.fail("I5", "an intent was committed under a stop")
        due = max(approved.due_at, from_iso(row["due_at"]))
        slack = timedelta(seconds=1)
        if not jumped and wall < due:
            self.fail("I5", f"an intent {due - wall} too early")
        if not jumped and wall > approved.expires_at + slack:
            self.fail("I5", "an intent after the window")
        if not jumped and wall > from_iso(row["late_at"]) + slack:
            self.fail("I5", "an intent after the time at which it is late")
        texts = tuple(part["request"]["text"] for part in json.loads(row["payload"]))
        if texts != approved.texts:
            self.fail("I3", f"an intent for {texts}, approved was {approved.texts}")
        valid = execute(_APPROVERS, (row["post_id"],)).fetchall()
        if not valid:
            self.fail("I4", "an intent without an approver who may approve and did not write it")

    def judge_log(self, facts: Facts) -> None:
        """I10: the log grows by whole lines, and every head covers exactly what was there before."""
        monitor = self._run.ministry.store.monitor
        if facts.size < self.size:
            self.fail("I10", "the log has shrunk")
        rows = monitor.execute(
            "SELECT seq, line FROM audit_leaf WHERE seq >= ? ORDER BY seq", (self.size,)
        ).fetchall()
        if [row["seq"] for row in rows] != list(range(self.size, facts.size)):
            self.fail("I10", "the log has gaps")
        for row in rows:
            self._tree.append(sha256(b"\0" + row["line"]).digest())
        self.size = facts.size
        note = monitor.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()[
            "note"
        ]
        _, size, root = note.split("\n")[:3]
        if (int(size), root) != (facts.size, b64encode(self._tree.root()).decode()):
            self.fail("I10", "the newest head is not that of the leaves")

    # What time does

    def judge_progress(self, rows: list[Any]) -> None:
        """I6 to I8, whenever every process waits."""
        run = self._run
        now = run.loop.now_s
        healthy = self._healthy_for()
        store = run.ministry.store
        if store.size == store.last_record:
            self.unsealed_since_s = None
        elif self.unsealed_since_s is None:
            self.unsealed_since_s = now
        elif now - self.unsealed_since_s > 2.5 and healthy > 15:
            self.fail("I6", f"a record is not sealed after {now - self.unsealed_since_s:.1f} s")
        if healthy < 70:
            return
        wall = run.wall()
        for row in rows:
            in_hand = row["state"] in _IN_HAND
            at = row["lease_until"] if in_hand else row["wake_at"]
            if at is None or row["state"] in {"held", "verified", "rejected"}:
                continue
            if from_iso(at) < wall - timedelta(seconds=30):
                rule = "I7" if row["state"] == "sending" else "I8"
                self.fail(rule, f"nobody goes on with {row['state']} since {at}")

    def _healthy_for(self) -> float:
        """For how long at least one worker has run undisturbed, with a database."""
        run = self._run
        now = run.loop.now_s
        if not any(w.process.works for w in run.workers):
            return 0.0
        if any(not w.process.runs and not w.process.dead for w in run.workers):
            return 0.0
        bad = max(run.shaken_s, run.jumped_s, run.trouble_until_s, run.full_until_s)
        return now - bad

    # The end

    def end(self) -> None:
        run = self._run
        for row in run.ministry.store.deliveries.values():
            self._judge_end(row)
        dump = run.ministry.store.monitor.serialize()
        told = "\n".join(run.logged).encode() + b"".join(run.bell.seen)
        for canary in (SECRET.encode(), SESSION.encode()):
            if canary in dump or canary in told:
                self.fail(
                    "I9", "a secret stands in the database, the queue or the log of the process"
                )
        if run.bell.forged_run:
            self.fail("I9", "a forged job was run")
        for what in run.crashes:
            lost_a_race = what.endswith("IllegalMoveError")
            if not lost_a_race and (not run.case.ablated or "TypeError" in what):
                self.fail("I8", f"a step has crashed: {what}")
        for what in run.loop.failures:
            self.fail("I8", f"the loop was told of a failure: {what}")

    def _judge_end(self, row: Any) -> None:
        approved = self.approved[row["id"]]
        public = [each for each in self._run.server.public() if each.text in approved.texts]
        state, parts = row["state"], len(approved.texts)
        known = [each for each in public if not each.breaks_promise]
        by_hand = (row["remote_id"] or "").startswith("https://")
        told = [part["id"] for part in json.loads(row["progress"]).get("parts", [])]
        if state in {"sent", "verified", "drifted"} and not by_hand:
            ids = [each.remote_id for each in public]
            if len(public) != parts or sorted(ids) != sorted(told) or row["remote_id"] not in ids:
                self.fail("I2", f"{state} as {told}, but public is {ids}")
        elif state == "drifted":
            self.fail("I2", "the platform is honest, nothing can drift")
        elif state in {"expired", "cancelled", "rejected"} and len(known) > len(told):
            if state != "cancelled":
                self.fail("I2", f"{state}, but {len(known)} parts are public")
        elif state == "held":
            doubtful = row["reason"].startswith(("outcome_unknown", "window_over"))
            if len(known) > len(told) and not doubtful:
                self.fail("I2", f"held ({row['reason'][:40]}), but {len(known)} parts are public")


class Tree:
    """The head of the log by RFC 6962, reckoned apart from the product's own."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        size, node = 1, leaf
        while self._peaks and self._peaks[-1][0] == size:
            _, left = self._peaks.pop()
            node, size = sha256(b"\1" + left + node).digest(), size * 2
        self._peaks.append((size, node))

    def root(self) -> bytes:
        if not self._peaks:
            return sha256(b"").digest()
        node = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            node = sha256(b"\1" + left + node).digest()
        return node


_APPROVERS = """
SELECT 1 FROM approval JOIN post ON post.id = approval.post_id AND post.digest = approval.digest
WHERE post.id = ? AND approval.person_id <> post.author_id
AND approval.person_id NOT IN (SELECT person_id FROM post_editor WHERE post_id = post.id)
AND EXISTS (SELECT 1 FROM "grant" WHERE "grant".person_id = approval.person_id AND revoked_at IS NULL)
"""
