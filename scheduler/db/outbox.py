"""The alert that a record is: written by the unit of work, in the record's own transaction."""

from datetime import datetime
from uuid import UUID

from scheduler.canonical import JsonObject
from scheduler.db.tables import OutboundEvent
from scheduler.domain.alerts import keep_detail, kind_of


def build_event(members: JsonObject, now: datetime) -> OutboundEvent | None:
    """The event to write beside a record with these members, if it is one to tell people about."""
    on, detail = members["on"], members["d"]
    if members["res"] != "ok" or not isinstance(on, dict) or not isinstance(detail, dict):
        return None
    kind = kind_of(str(members["act"]), detail)
    if kind is None:
        return None
    post = on["id"] if on["t"] == "post" else on.get("post")
    return OutboundEvent(
        kind=kind.value,
        subject=str(on["t"]),
        subject_id=UUID(str(on["id"])),
        post_id=None if post is None else UUID(str(post)),
        detail=keep_detail(detail),
        situation=f"record:{members['id']}",
        created_at=now,
    )
