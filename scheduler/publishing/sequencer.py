"""The sequencer's loop; each worker has one, and the lease in the database lets one of them work."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from scheduler.audit.keys import LogKeys
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWorkFactory
from scheduler.services import sequencing

log = structlog.get_logger()

_PAUSE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Sequencer:
    open_uow: UnitOfWorkFactory
    keys: LogKeys
    owner: str

    async def run(self, stopping: asyncio.Event) -> None:
        """Seal until `stopping`, and once more after it, so that a shutdown leaves little unsealed."""
        while not stopping.is_set():
            await self._seal_guarded()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_S):
                    await stopping.wait()
        await self._seal_guarded()

    async def seal_all(self) -> None:
        """Seal what waits; without anything waiting nothing is written."""
        sealed: int | None = sequencing.BATCH
        while sealed == sequencing.BATCH:
            async with self.open_uow.read() as uow:
                if not await sequencing.count_unsealed(uow):
                    return
            async with self.open_uow() as uow:
                sealed = await sequencing.seal(uow, self.keys, owner=self.owner)

    async def _seal_guarded(self) -> None:
        try:
            await self.seal_all()
        except DatabaseUnavailableError as exc:
            log.warning("sequencer.waits", why=str(exc))
        except (
            Exception
        ):  # a record that cannot be sealed stops the log, loudly, but not the process
            log.exception("sequencer.failed")
