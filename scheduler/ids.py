"""UUIDv7 (RFC 9562 §5.7): ids that sort by the millisecond they were made."""

import os
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from scheduler.clock import utc_now

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: Where the random bytes of ids come from; the simulation draws them from its seed. Secrets never do.
ID_BYTES: Final[ContextVar[Callable[[int], bytes]]] = ContextVar("id_bytes", default=os.urandom)


def new_id() -> UUID:
    milliseconds = (utc_now() - _EPOCH) // timedelta(milliseconds=1)
    random = int.from_bytes(ID_BYTES.get()(10))
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)
