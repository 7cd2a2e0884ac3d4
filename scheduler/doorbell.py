"""arq's part: a doorbell between processes, for due lanes and later for background jobs.

A job carries ids only, as JSON with a keyed digest; a forged, doubled, late or lost one changes nothing, because the
database decides everything. arq's worker ends when Redis goes away, so it is started again here.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from arq.constants import default_queue_name, health_check_key_suffix
from arq.worker import Worker, func
from redis.asyncio import ConnectionPool

log = structlog.get_logger()

_AHEAD: Final = timedelta(seconds=2)
_RING_TIMEOUT_S: Final = 0.5
_RESTART_S: Final = 2.0
_DIGEST_BYTES: Final = 32


class ForgedJobError(ValueError):
    """The bytes in Redis were not written by this installation."""


@dataclass(frozen=True, slots=True)
class SignedJson:
    """arq's serializer: 32 bytes HMAC-SHA-256, then JSON; never pickle."""

    key: bytes

    def dump(self, job: dict[str, Any]) -> bytes:
        body = json.dumps(job).encode()
        return hmac.digest(self.key, body, hashlib.sha256) + body

    def load(self, data: bytes) -> dict[str, Any]:
        body = data[_DIGEST_BYTES:]
        if not hmac.compare_digest(
            hmac.digest(self.key, body, hashlib.sha256), data[:_DIGEST_BYTES]
        ):
            raise ForgedJobError("a job in Redis carries no valid digest")
        job: dict[str, Any] = json.loads(body)
        return job


def connect(url: str, key: bytes) -> ArqRedis:
    """A client that neither waits long nor retries: a ring must not hold up a request."""
    signed = SignedJson(key)
    pool = ConnectionPool.from_url(
        url, socket_connect_timeout=_RING_TIMEOUT_S, socket_timeout=5, retry_on_timeout=False
    )
    return ArqRedis(pool, job_serializer=signed.dump, job_deserializer=signed.load)


@dataclass(frozen=True, slots=True)
class Doorbell:
    """Rings for the lane of an account; a lost ring costs a second, so it never raises."""

    redis: ArqRedis

    async def __call__(self, account_id: UUID, due_at: datetime) -> None:
        at = due_at - _AHEAD
        try:
            async with asyncio.timeout(_RING_TIMEOUT_S):
                await self.redis.enqueue_job(
                    "wake_lane",
                    str(account_id),
                    _job_id=f"lane:{account_id}:{int(due_at.timestamp() * 1000)}",
                    _defer_until=at,
                )
        except Exception as exc:  # noqa: BLE001 - the work is committed: a lost ring must not undo the answer
            log.warning("doorbell.unavailable", why=type(exc).__name__)


async def hear_worker(redis: ArqRedis) -> bool:
    """Whether a worker has left its sign of life in Redis within the last eleven seconds.

    Raises:
        RedisError, OSError: Redis does not answer, so nobody can tell.
    """
    async with asyncio.timeout(2 * _RING_TIMEOUT_S):
        return bool(await redis.exists(default_queue_name + health_check_key_suffix))


async def answer(
    redis: ArqRedis, nudge: Callable[[], Awaitable[None]], stopping: asyncio.Event
) -> None:
    """Run arq's worker until `stopping`, again and again when Redis goes away."""
    while not stopping.is_set():
        worker = _build_worker(redis, nudge)
        runner = asyncio.ensure_future(worker.async_run())
        stopper = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({runner, stopper}, return_when=asyncio.FIRST_COMPLETED)
        stopper.cancel()
        while stopping.is_set() and not runner.done():
            runner.cancel()  # one cancellation may be lost inside the client
            await asyncio.wait({runner}, timeout=_RESTART_S / 4)
        try:
            await runner
        except asyncio.CancelledError:
            continue
        except Exception as exc:  # noqa: BLE001 - whatever stands in Redis, the sweep goes on
            log.warning("doorbell.silent", why=type(exc).__name__)
            await asyncio.sleep(_RESTART_S)


def _build_worker(redis: ArqRedis, nudge: Callable[[], Awaitable[None]]) -> Worker:
    async def wake_lane(ctx: dict[Any, Any], *_args: Any, **_kwargs: Any) -> None:  # noqa: ANN401, ARG001 - as arq calls it
        await nudge()

    return Worker(
        functions=[func(wake_lane, name="wake_lane", keep_result=0, max_tries=1, timeout=10)],
        redis_pool=redis,
        handle_signals=False,
        poll_delay=0.1,
        max_jobs=20,
        keep_result=0,
        max_tries=1,
        allow_abort_jobs=False,
        health_check_interval=10,
        log_results=False,
        job_serializer=redis.job_serializer,
        job_deserializer=redis.job_deserializer,
    )
