"""Logs are events with fields, one JSON object a line on stderr; never texts, tokens or answers."""

import logging
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

#: A frame's local variables may hold a token or a text.
_WITHOUT_LOCALS: Final = ExceptionDictTransformer(show_locals=False)


log = structlog.get_logger()

#: Numbers and closed words. Reasons, texts, addresses and a platform's own words stay in the record.
_TOLD: Final = ("from", "to", "code", "attempt", "part", "fence", "resolution", "not_public")


def log_record(
    members: Mapping[str, Any], *, now: datetime, due: Mapping[str, datetime], took_s: float
) -> None:
    """Tell a committed change, as the audit record says it but without anybody's words.

    `took_ms` is the transaction; `since_due_ms` how long before (negative) or after the delivery's instant it began.
    """
    detail, by, on = members["d"], members["by"], members["on"]
    due_at = due.get(on["id"])
    fields: dict[str, Any] = {
        "record": members["id"],
        str(on["t"]): on["id"],
        **{name: on[name] for name in ("post",) if name in on},
        "by": by.get("p"),
        **{name: detail.get(name) for name in _TOLD},
        "result": None if members["res"] == "ok" else members["res"],
        "took_ms": round(took_s * 1000, 1),
        "since_due_ms": due_at and round((now - due_at).total_seconds() * 1000, 1),
    }
    log.info(members["act"], **{name: value for name, value in fields.items() if value is not None})


def configure_logs(level: str) -> None:
    """Send our events and the libraries' warnings through one pipe.

    Line breaks cannot forge a line, because every line is JSON. Libraries speak from WARNING on: arq's INFO lines would
    show job arguments.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_WITHOUT_LOCALS),
    ]
    renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    libraries = logging.StreamHandler(sys.stderr)
    libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[libraries], force=True)
