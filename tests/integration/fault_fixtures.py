"""Fixtures of the tests with real processes, and what they ask of every run."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import col, select

from scheduler.audit.export import ExportRequest
from scheduler.clock import utc_now
from scheduler.db import attempts
from scheduler.db.tables import Attempt, Delivery, Post
from scheduler.practice.model import Kind, Platform
from scheduler.services import evidence
from scheduler.services.writing import When
from scheduler.settings import Settings
from tests.support.processes import PracticeProcess, WorkerProcess
from tests.support.world import World, connect

_ZONE = "Europe/Ljubljana"


@pytest.fixture
def practice(tmp_path: Path) -> Iterator[PracticeProcess]:
    """In place of the network that lives in the test's own process."""
    with PracticeProcess(tmp_path / "practice") as network:
        yield network


@dataclass(slots=True)
class Yard:
    """Where faults are tried: the small Karvenia, the platforms in their process, and any number of workers."""

    world: World
    practice: PracticeProcess
    settings: Settings
    folder: Path
    expected: dict[UUID, str] = field(default_factory=dict)  #: text by post

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    def worker(self, **options: object) -> WorkerProcess:
        return WorkerProcess(self.settings, self.log, **options)  # type: ignore[arg-type]

    async def open_lanes(self, count: int) -> tuple[str, ...]:
        """So many more accounts on each platform; their codes."""
        codes: list[str] = []
        for lane in range(count):
            codes += await connect(self.world, f"lane{lane}", "krv.hq", "en")
        return tuple(codes)

    async def schedule(
        self, text: str, *targets: str, in_s: float | None = None, **fields: object
    ) -> Post:
        """An approved post with this text, at once or some seconds from now."""
        targets = targets or ("hq.mastodon",)
        language = "uk" if targets[0].startswith("kyi.") else "en"
        post = await self.world.scheduled(
            texts={language: [{"text": text, "media": []}]},
            targets=targets,
            when=When(local=None) if in_s is None else local_in(in_s),
            **fields,
        )
        self.expected[post.id] = text
        return post

    async def deliveries(self) -> list[Delivery]:
        async with self.world.app.open_uow.read() as uow:
            return list(await uow.session.scalars(select(Delivery).order_by(col(Delivery.id))))

    async def states(self) -> list[str]:
        return [each.state for each in await self.deliveries()]

    async def the(self, post: Post) -> Delivery:
        """The one delivery of the post."""
        [delivery] = await self.world.deliveries(post)
        return delivery

    async def attempts(self, post: Post) -> list[Attempt]:
        delivery = await self.the(post)
        async with self.world.app.open_uow.read() as uow:
            return (await attempts.find(uow, [delivery.id]))[delivery.id]

    async def until_state(self, post: Post, *states: str) -> Delivery:
        await until(lambda: self._is_in(post, states), f"{states}")
        return await self.the(post)

    async def until_done(self, *, count: int, worker: WorkerProcess | None = None) -> None:
        """Until so many deliveries are verified; the states are shown when they are not."""

        async def enough() -> bool:
            assert worker is None or worker.lives, "the worker ended by itself"
            return (await self.states()).count("verified") >= count

        await until(enough, f"{count} verified", describe=self.states)

    async def until_public(self, text: str) -> None:
        """Until the post took effect on a platform."""

        async def seen() -> bool:
            return any(each == text for *_, each in self.practice.published())

        await until(seen, f"{text!r} public")

    async def until_logged(self, worker: WorkerProcess, event: str, count: int = 1) -> None:
        async def logged() -> bool:
            return worker.events()[event] >= count

        await until(logged, f"{event} in the log")

    async def assert_once(self) -> None:
        """Every delivery is verified and public exactly once, each with its intent, and the record is whole."""
        deliveries = await self.deliveries()
        assert {each.state for each in deliveries} == {"verified"}, [
            (each.state, each.reason) for each in deliveries
        ]
        public = self.practice.published()
        assert set(public.values()) == {1}, public
        assert len(public) == len(deliveries)
        assert {text for *_, text in public} == set(self.expected.values())
        await self.assert_intents_first()
        await self.assert_record_is_whole()

    async def assert_intents_first(self) -> None:
        """Nothing became public before an intent for exactly that delivery was committed."""
        async with self.world.app.open_uow.read() as uow:
            attempts = list(await uow.session.scalars(select(Attempt)))
        keys = {each.idempotency_key: each for each in attempts}
        for effect in self.practice.log():
            if effect.kind is Kind.POST and effect.platform is Platform.MASTODON:
                assert keys[effect.key].started_at.timestamp() <= effect.at_ns / 1e9
        assert len({(each.delivery_id, each.number) for each in attempts}) == len(attempts)

    async def assert_record_is_whole(self) -> None:
        async with self.world.app.open_uow.read() as uow:
            request = ExportRequest(requested_by="mlakar", reason="test", at=utc_now())
            verdict = await evidence.verify(uow, trust=self.world.app.trust, request=request)
        assert verdict.ok, verdict

    async def _is_in(self, post: Post, states: tuple[str, ...]) -> bool:
        return (await self.the(post)).state in states


@pytest.fixture(name="yard")
async def yard_fixture(
    world: World, practice: PracticeProcess, settings: Settings, tmp_path: Path
) -> Yard:
    return Yard(world, practice, settings, tmp_path)


def local_in(seconds: float) -> When:
    local = (utc_now() + timedelta(seconds=seconds)).astimezone(ZoneInfo(_ZONE))
    return When(local=local.strftime("%Y-%m-%dT%H:%M:%S"), zone=_ZONE)


async def until(
    condition: Callable[[], object],
    what: str,
    *,
    describe: Callable[[], object] | None = None,
    within_s: float = 45,
) -> None:
    """Wait for the condition, and say what was waited for when it does not come."""
    try:
        async with asyncio.timeout(within_s):
            while not await condition():  # type: ignore[misc]
                await asyncio.sleep(0.03)
    except TimeoutError:
        shown = await describe() if describe is not None else ""  # type: ignore[misc]
        pytest.fail(f"not within {within_s} s: {what} {shown}")
