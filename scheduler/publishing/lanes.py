"""Background calls to platforms: a few at a time over all, fewer at one server, so that a dead one holds up nobody."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Lanes:
    """Whoever waits for a slow server takes no place of the others."""

    def __init__(self, *, per_server: int, total: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._servers: defaultdict[Hashable, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(per_server)
        )

    @asynccontextmanager
    async def enter(self, server: Hashable) -> AsyncIterator[None]:
        async with self._servers[server], self._total:
            yield
