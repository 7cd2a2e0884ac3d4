"""Group commit: the same step of many deliveries in one transaction, without a delay for one that is alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from scheduler.db.uow import DatabaseUnavailableError, UnitOfWork

Asked = TypeVar("Asked")
Told = TypeVar("Told")

#: Takes what many deliveries ask for; answers in the same order, an exception for one that cannot.
Step = Callable[[UnitOfWork, Sequence[Asked]], Awaitable[Sequence[Told | Exception]]]

#: Larger groups commit hardly faster, and a crash leaves more of them in doubt.
_MOST: Final = 250
#: How long answers of platforms are gathered when there are many.
GATHER_S: Final = 0.015


@dataclass(slots=True)
class _Place(Generic[Asked, Told]):
    asked: Asked
    told: list[Told | Exception] = field(default_factory=list)


@dataclass(slots=True)
class GroupCommit(Generic[Asked, Told]):
    """Whoever comes while a transaction runs waits for the next one, together with all the others.

    The first in line runs the step for everybody who waits by then, so a group is as large as the load makes it. Where
    the many come one by one, as answers of platforms do, `gather_s` lets a group after a large one wait for more.
    """

    open_uow: Callable[[], AbstractAsyncContextManager[UnitOfWork]]
    step: Step[Asked, Told]
    gather_s: float = 0.0
    _is_busy: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _waiting: list[_Place[Asked, Told]] = field(default_factory=list)

    async def __call__(self, asked: Asked) -> Told:
        """The step's answer for `asked`, once its transaction has committed; its exception is raised."""
        place = _Place[Asked, Told](asked)
        self._waiting.append(place)
        async with self._turn:  # fair: whoever has waited longest goes first
            if not place.told:
                # Whoever was woken at the same instant comes along.
                await asyncio.sleep(self.gather_s if self._is_busy else 0)
                await self._lead(place)
        (told,) = place.told
        if isinstance(told, Exception):
            raise told
        return told

    async def _lead(self, leader: _Place[Asked, Told]) -> None:
        group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        self._is_busy = len(group) > 1
        try:
            await self._run(group)
        except BaseException:  # the leader was cancelled: the next in line leads the others
            left = [place for place in group if not place.told and place is not leader]
            self._waiting = left + self._waiting
            raise

    async def _run(self, group: Sequence[_Place[Asked, Told]]) -> None:
        try:
            async with self.open_uow() as uow:
                told = await self.step(uow, [place.asked for place in group])
        except DatabaseUnavailableError as exc:
            told = [DatabaseUnavailableError(str(exc)) for _ in group]
        except Exception as exc:  # noqa: BLE001 - nothing was written; it is raised to whom it belongs
            if len(group) > 1:
                for place in group:  # one that cannot be written must not stop the others
                    await self._run([place])
                return
            told = [exc]
        for place, each in zip(group, told, strict=True):
            place.told.append(each)
