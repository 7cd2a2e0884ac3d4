"""The alert that a record is: written by the unit of work, in the record's own transaction."""

from datetime import datetime
from uuid import UUID

from scheduler.canonical import JsonObject, JsonValue
from scheduler.db.tables import OutboundEvent
from scheduler.domain.alert_kinds import kind_of
from scheduler.domain.alerts import keep_detail


def build_event(members: JsonObject, now: datetime) -> OutboundEvent | None:
    """The event to write beside a record with these members, if it is one to tell people about."""
    on, detail = members["on"], members["d"]
    if members["res"] != "ok" or not isinstance(on, dict) or not isinstance(detail, dict):
        return None
    kind = kind_of(str(members["act"]), detail)
    if kind is None:
        return None
    return OutboundEvent(
        kind=kind.value,
        subject=str(on["t"]),
        subject_id=_id(on["id"]) or UUID(str(members["id"])),
        post_id=_id(on["id"] if on["t"] == "post" else on.get("post")),
        detail=keep_detail(detail),
        situation=f"record:{members['id']}",
        created_at=now,
    )


def _id(value: JsonValue) -> UUID | None:
    """An alert must never break the change that it tells of, so what is no id is none."""
    try:
        return UUID(str(value))
    except ValueError:
        return None
