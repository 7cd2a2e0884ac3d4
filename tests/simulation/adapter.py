"""This side of the wire: the contract of the product's adapters, over a network that only the run decides."""

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from adapters.base import (
    Content,
    Credentials,
    Json,
    JsonObject,
    Length,
    MediaRef,
    Problem,
    Profile,
    Published,
    ReadBack,
)
from adapters.errors import (
    AdapterError,
    OutcomeUnknownError,
    RateLimitedError,
    UnavailableError,
)
from tests.simulation.faults import Fault, Kind, Point
from tests.simulation.loop import OUTSIDE, PROCESS
from tests.simulation.platforms import (
    SESSION,
    SETTLE_S,
    TIMEOUT_S,
    Call,
    Effect,
    Nature,
    Server,
    capabilities,
    published,
)

#: A server waits so long for a request on an open connection, and then closes it.
_PATIENCE_S = 8.0


class SimAdapter:
    """This side of the wire, as the product's adapters behave; the transport is simulated."""

    def __init__(
        self, server: Server, *, settle_s: float = SETTLE_S, lookup: bool | None = None
    ) -> None:
        self.server = server
        self.nature = server.nature
        self.platform = f"sim_{server.kind}"
        self.capabilities = capabilities(server.kind, settle_s=settle_s, lookup=lookup)

    def length(self, text: str, limits: Mapping[str, int]) -> Length:
        return Length(used=len(text), limit=500)

    def problems(self, content: Content, limits: Mapping[str, int]) -> tuple[Problem, ...]:
        return ()

    def render(
        self, content: Content, external_id: str, limits: Mapping[str, int]
    ) -> tuple[JsonObject, ...]:
        return tuple(
            {
                "text": segment.text,
                "media": [{"$slot": "media", "sha256": each.sha256} for each in segment.media],
                **({"reply_to": {"$slot": "parent"}} if index else {}),
            }
            for index, segment in enumerate(content.segments)
        )

    def record_key(self, created_at: datetime, key: str) -> str:
        return key

    async def verify(self, credentials: Credentials) -> Profile:
        name = credentials.base_url.removeprefix("https://").split(".")[0]
        return Profile(
            external_id=name,
            handle=name,
            display_name=name,
            url=f"{credentials.base_url}/@{name}",
            software="simulated 1",
            limits={},
        )

    def needs_refresh(self, credentials: Credentials, now: datetime) -> bool:
        return self.nature.session_ended(credentials.session)

    async def refresh(self, credentials: Credentials) -> Credentials:
        await self._call(Point.DURING_REFRESH)
        self.server.sessions += 1
        session = f"{SESSION}-{self.server.sessions + 100}"
        return Credentials(
            base_url=credentials.base_url,
            external_id=credentials.external_id,
            identifier=credentials.identifier,
            secret=credentials.secret,
            session=session,
        )

    async def upload(self, credentials: Credentials, media: MediaRef, data: bytes) -> Json:
        if hashlib.sha256(data).hexdigest() != media.sha256:
            raise ValueError("other bytes than named")
        await self._call(Point.DURING_UPLOAD)
        if self.nature.chance() < 0.25:  # a large picture on a thin line
            await asyncio.sleep(self.nature.spread(5, 40))
        self.server.uploads += 1
        return f"media-{self.server.uploads}"

    async def publish(self, credentials: Credentials, body: bytes, key: str) -> Published:
        account = credentials.external_id
        with self._open(account):
            try:
                return await self._publish(account, body, key)
            except OutcomeUnknownError:
                if not self.nature.repeats_requests:
                    raise
                return await self._publish(account, body, key)

    @contextmanager
    def _open(self, account: str = "") -> Iterator[None]:
        call = Call(PROCESS.get(), account, asyncio.get_running_loop().time())
        self.server.calls.append(call)
        if account:
            self.nature.saw_call(self.server, call)
        try:
            yield
        finally:
            self.server.calls.remove(call)

    async def _publish(self, account: str, body: bytes, key: str) -> Published:
        left = False
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._connect()
                opened_s = asyncio.get_running_loop().time()
                await self._walk(Point.AFTER_CONNECT)
                left = True
                await self._walk(Point.AFTER_HEADERS)
                effect, answer = self._write(account, body, key, opened_s)
                await self._walk(Point.AFTER_BODY, effect)
                told = await answer
                await self._read(told)
        except TimeoutError as exc:
            if left:
                raise OutcomeUnknownError("no answer in time", code="timeout") from exc
            raise UnavailableError("no connection in time", code="unreachable") from exc
        await self.nature.reach(Point.BEFORE_RECORD)
        return told

    async def _connect(self) -> None:
        await asyncio.sleep(self.nature.spread(0.001, 0.03))
        match self.nature.weather():
            case Fault.DNS | Fault.RESET:
                raise UnavailableError("no connection", code="unreachable")
            case Fault.RATE_LIMITED:
                raise too_many(self.nature)
            case Fault.BLACK_HOLE:
                await asyncio.sleep(60)

    async def _walk(self, point: Point, effect: Effect | None = None) -> None:
        """Come to a point of an open publish, where the network may break."""
        await self.nature.reach(point)
        match self.nature.weather(at=point):
            case Fault.RESET:
                raise OutcomeUnknownError("connection reset", code="no_answer")
            case Fault.BLACK_HOLE:
                await asyncio.sleep(60)
            case Fault.RATE_LIMITED if effect is None or effect.applied_s is None:
                if effect is not None:
                    effect.refused = True
                raise too_many(self.nature)
        if not self.nature.patient_servers:  # else nothing lies between the pause and the socket
            await asyncio.sleep(self.nature.spread(0.0005, 0.01))

    def _write(
        self, account: str, body: bytes, key: str, opened_s: float
    ) -> "tuple[Effect, asyncio.Future[Published]]":
        """The body leaves; from here on the server decides."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Published] = loop.create_future()
        if loop.time() - opened_s > _PATIENCE_S and not self.nature.patient_servers:
            raise OutcomeUnknownError("the server has closed the connection", code="no_answer")
        effect = Effect(account, body, key, self.nature.wall(), loop.time())
        process = PROCESS.get()
        token = PROCESS.set(OUTSIDE)
        self.server.receive(effect, process, answer)
        PROCESS.reset(token)
        return effect, answer

    async def _read(self, told: Published) -> None:
        match self.nature.weather(at=Point.AFTER_EFFECT):
            case Fault.RESET:
                raise OutcomeUnknownError("connection reset", code="no_answer")
            case Fault.BLACK_HOLE:
                await asyncio.sleep(60)
            case Fault.ERROR_AFTER_EFFECT:
                raise OutcomeUnknownError("status 502", code="server_error")
            case Fault.GARBLED:
                raise OutcomeUnknownError("an answer without an id", code="bad_answer")
        if self.nature.chance() < 0.05:
            raise OutcomeUnknownError("the answer was lost", code="no_answer")

    async def find(
        self,
        credentials: Credentials,
        body: bytes,
        key: str,
        since: datetime,
        taken: frozenset[str] = frozenset(),
    ) -> Published | None:
        await self._call(None)
        if self.server.kind is Kind.PLAIN:
            return None
        now = asyncio.get_running_loop().time()
        text = json.loads(body)["text"]
        for effect in self.server.public():
            same = effect.account == credentials.external_id and effect.text == text
            if same and effect.visible_s <= now and effect.remote_id not in taken:
                return published(effect)
        return None

    async def read_back(
        self, credentials: Credentials, body: bytes, published: Published
    ) -> ReadBack:
        await self._call(None)
        found = [each for each in self.server.public() if each.remote_id == published.remote_id]
        same = bool(found) and found[0].body == body
        return ReadBack(
            found=bool(found),
            differences=() if same else ("text",),
            evidence_sha256=hashlib.sha256(found[0].body if found else b"").hexdigest(),
        )

    async def _call(self, point: Point | None) -> None:
        """A request that makes nothing public."""
        try:
            with self._open():
                async with asyncio.timeout(TIMEOUT_S):
                    await self._ask(point)
        except TimeoutError as exc:
            raise UnavailableError("no answer in time", code="no_answer") from exc

    async def _ask(self, point: Point | None) -> None:
        await asyncio.sleep(self.nature.spread(0.005, 0.1))
        if point is not None:
            await self.nature.reach(point)
        match self.nature.weather(at=point):
            case Fault.RATE_LIMITED:
                raise too_many(self.nature)
            case Fault.BLACK_HOLE:
                await asyncio.sleep(60)
            case None:
                pass
            case _:
                raise UnavailableError("no useful answer", code="no_answer")
        await asyncio.sleep(self.nature.spread(0.001, 0.05))
        if point is None and self.nature.chance() < 0.02:
            raise UnavailableError("no useful answer", code="no_answer")


def too_many(nature: Nature) -> AdapterError:
    """With or without the header that says how long; the product's adapters then take a default."""
    wait = timedelta(seconds=2) if nature.chance() < 0.5 else timedelta(seconds=30)
    return RateLimitedError("too many requests", code="rate_limited", retry_after=wait)
