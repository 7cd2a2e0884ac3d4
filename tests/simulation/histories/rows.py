"""Rows changed by hand, as somebody could who has the database and nothing else.

Each takes the constraints and triggers as they are: what these refuse did not happen.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_FORGED: Final = "Note 0 forged"
_SEGMENTS: Final = json.dumps([{"text": _FORGED, "media": []}])
_PAYLOAD: Final = json.dumps([{"media": [], "request": {"media": [], "text": _FORGED}}])
_DUE: Final = "wake_at = :now, due_at = :now, late_at = :later, expires_at = :later"
_OPEN: Final = "lease_until = NULL, fence = fence + 1"
_UNSENT: Final = "progress = '{}', next_part = 0, remote_id = NULL, remote_url = NULL"
_PUSH: Final = (
    "UPDATE post SET state = 'scheduled' WHERE id = :post",
    f"UPDATE delivery SET state = 'ready', {_DUE}, {_OPEN} WHERE post_id = :post AND attempts = 0",
)


@dataclass(frozen=True, slots=True)
class Tampering:
    """Statements that somebody runs one after the other; `:post` and `:person` are chosen, `:now` is the time."""

    name: str
    statements: tuple[str, ...]


def _on(table: str, **kinds: str) -> tuple[Tampering, ...]:
    key = "id" if table == "post" else "post_id"
    return tuple(
        Tampering(f"{table}.{name}", (f"UPDATE {table} SET {change} WHERE {key} = :post",))
        for name, change in kinds.items()
    )


def _on_grant(**kinds: str) -> tuple[Tampering, ...]:
    return tuple(
        Tampering(f"grant.{name}", (f'UPDATE "grant" SET {change} WHERE person_id = :person',))
        for name, change in kinds.items()
    )


#: What a statement may name.
PLACES: Final = ("post", "person", "admin", "account", "policy", "now", "later", "then")
#: What the product says it withstands.
TAMPERINGS: Final = (
    Tampering("push", _PUSH),
    Tampering(
        "again",
        (
            "UPDATE post SET state = 'scheduled' WHERE id = :post",
            f"UPDATE delivery SET state = 'ready', {_DUE}, {_OPEN}, {_UNSENT} WHERE post_id = :post",
        ),
    ),
    *_on(
        "post",
        state_back="state = 'draft'",
        state_review="state = 'in_review'",
        digest="digest = 'sha256:00'",
        due="due_at = :now",
        late="late_minutes = 9999",
        post_class="post_class = 'consular_alert'",
        window="not_after = :later",
        revision="revision = revision + 1",
        revision_back="revision = revision - 1",
        policy="policy = :policy",
        author="author_id = :person",
        card='link_card = \'{"uri": "https://evil.example", "title": "Note 0 forged", "description": ""}\'',
    ),
    *_on("post_text", forged=f"segments = '{_SEGMENTS}'", language="language = 'sl'"),
    *_on("variant", forged=f"segments = '{_SEGMENTS}'"),
    *_on(
        "delivery",
        payload=f"payload = CAST('{_PAYLOAD}' AS BLOB)",
        early=_DUE,
        account="account_id = :account",
        window="expires_at = :later, late_at = :later",
        tries="attempts = attempts + 1",
        parts="next_part = 1",
        fence="fence = fence + 1",
    ),
    *_on(
        "approval",
        digest="digest = 'sha256:00'",
        revision="revision = revision + 1",
        moved="decided_at = :now",
        policy="policy = :policy",
    ),
    Tampering("approval.gone", ("DELETE FROM approval WHERE post_id = :post",)),
    *_on_grant(
        setup="bootstrap = 1, not_before = :then",
        confirmed="confirmed_at = :then, confirmed_by = :admin, not_before = :then",
        role="role = 'supervisor'",
        back="revoked_at = NULL",
        endless="not_after = NULL",
        everywhere="mission_id = (SELECT id FROM mission WHERE parent_id IS NULL)",
    ),
    Tampering(
        "grant.taken",
        (
            (
                'UPDATE "grant" SET person_id = :person'
                " WHERE id = (SELECT min(id) FROM \"grant\" WHERE role = 'supervisor')"
            ),
        ),
    ),
    Tampering(
        "person.ripe",
        ("UPDATE person SET approvals_suspended_until = NULL WHERE id = :person",),
    ),
    Tampering("person.back", ("UPDATE person SET active = 1 WHERE id = :person",)),
    Tampering(
        "posture.over",
        ("UPDATE posture SET ended_at = :now, ended_by = :person WHERE started_by <> :person",),
    ),
    Tampering(
        "policy.body",
        (
            (
                "UPDATE policy_version SET body = (SELECT body FROM policy_version ORDER BY id LIMIT 1)"
                " WHERE id = (SELECT max(id) FROM policy_version)"
            ),
        ),
    ),
    Tampering(
        "approval.carried_over",
        (
            (
                "UPDATE approval SET (revision, digest, policy) ="
                " (SELECT revision, digest, policy FROM post WHERE post.id = approval.post_id)"
                " WHERE post_id = :post"
            ),
            *_PUSH,
        ),
    ),
    Tampering(
        "delivery.language",
        ("UPDATE delivery SET language = 'sl' WHERE post_id = :post",),
    ),
    Tampering(
        "post_editor.gone",
        (
            "DELETE FROM post_editor WHERE post_id = :post",
            "UPDATE post SET author_id = :admin WHERE id = :post",
        ),
    ),
)
BY_NAME: Final[Mapping[str, Tampering]] = {each.name: each for each in TAMPERINGS}


def tamper(raw: sqlite3.Connection, what: Tampering, values: Mapping[str, str]) -> int:
    """Run it in one transaction; how many rows it has changed, none when the database refuses it."""
    raw.execute("BEGIN IMMEDIATE")
    changed = 0
    try:
        for statement in what.statements:
            changed += raw.execute(statement, values).rowcount
    except sqlite3.IntegrityError:
        raw.execute("ROLLBACK")
        return 0
    raw.execute("COMMIT")
    return changed
