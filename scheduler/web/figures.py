"""The installation's figures, read when Prometheus asks: the same from every web process, and right after a restart.

What happened is counted over the last hour and not since some process began: the database is the one that knows. So
these are gauges, the buckets of the lateness included: compare them as they are, without `rate`.
"""

import shutil
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from scheduler import doorbell
from scheduler.app import App
from scheduler.audit.parsing import MalformedError
from scheduler.clock import utc_now
from scheduler.db import deliveries, figures, log
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWork
from scheduler.domain.delivery_flow import DeliveryState

_WITHIN: Final = timedelta(hours=1)
_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
_NEVER: Final = float("inf")


async def build_registry(app: App) -> CollectorRegistry:
    """All figures as of now; what cannot be read is left out rather than told from memory."""
    registry = CollectorRegistry()
    try:
        async with app.open_uow.read() as uow:
            await _add_queue(uow, registry)
            await _add_obstacles(uow, registry)
            await _add_last_hour(uow, registry)
            await _add_record(uow, registry)
            skew = (await uow.tick() - utc_now()).total_seconds()
    except DatabaseUnavailableError:
        _gauge(registry, "database_up", "Whether the database answered.", 0)
    else:
        _gauge(registry, "database_up", "Whether the database answered.", 1)
        _gauge(registry, "clock_skew_seconds", "The database's clock against this host's.", skew)
    await _add_redis(app, registry)
    free = shutil.disk_usage(app.settings.data_dir).free
    _gauge(registry, "disk_free_bytes", "Room where the data folder lies.", free)
    return registry


async def _add_queue(uow: UnitOfWork, registry: CollectorRegistry) -> None:
    queue = await figures.find_queue(uow)
    age_s = 0.0 if queue.oldest_due_at is None else (uow.now - queue.oldest_due_at).total_seconds()
    _gauge(registry, "oldest_due_seconds", "Age of the oldest delivery that is due.", age_s)
    _gauge(registry, "due_deliveries", "Deliveries that are due and have not left.", queue.due)
    amounts = await deliveries.count_by_state(uow)
    gauge = Gauge("chancery_deliveries", "Deliveries by state.", ["state"], registry=registry)
    for state in DeliveryState:
        gauge.labels(state=state.value).set(amounts.get(state, 0))


async def _add_obstacles(uow: UnitOfWork, registry: CollectorRegistry) -> None:
    accounts = Gauge(
        "chancery_accounts",
        "Accounts by platform and state.",
        ["platform", "state"],
        registry=registry,
    )
    for account in await figures.find_accounts(uow):
        accounts.labels(platform=account.platform, state=account.state).inc()
        accounts.labels(platform=account.platform, state="paused").inc(0)
    postures = Gauge("chancery_postures", "Postures by kind.", ["kind"], registry=registry)
    postures.labels(kind="stop").set(0)
    for posture, _ in await figures.find_postures(uow):
        postures.labels(kind=posture.kind).inc()


async def _add_last_hour(uow: UnitOfWork, registry: CollectorRegistry) -> None:
    late = await figures.find_lateness(uow, within=_WITHIN)
    registry.register(_Lateness([each.total_seconds() for each in late]))
    gauge = Gauge(
        "chancery_attempts_last_hour",
        "Tries of the last hour by platform, outcome and code.",
        ["platform", "outcome", "code"],
        registry=registry,
    )
    for platform, outcome, code, amount in await figures.count_outcomes(uow, within=_WITHIN):
        gauge.labels(platform=platform, outcome=outcome, code=code).set(amount)


async def _add_record(uow: UnitOfWork, registry: CollectorRegistry) -> None:
    count = await log.count_unsealed(uow)
    _gauge(registry, "audit_unsealed_records", "Records that wait for the sequencer.", count)
    try:
        lag_s = (await log.find_lag(uow)).total_seconds()
    except MalformedError:
        lag_s = _NEVER
    _gauge(registry, "audit_lag_seconds", "Age of the oldest record that waits.", lag_s)


async def _add_redis(app: App, registry: CollectorRegistry) -> None:
    """Without an answer from Redis nobody can tell whether a worker lives, so nothing is said about it."""
    if not isinstance(app.open_uow.ring, doorbell.Doorbell):
        return
    try:
        alive = await doorbell.hear_worker(app.open_uow.ring.redis)
    except (RedisError, OSError):
        _gauge(registry, "redis_up", "Whether Redis answered.", 0)
    else:
        _gauge(registry, "redis_up", "Whether Redis answered.", 1)
        _gauge(registry, "worker_alive", "Whether a worker left a sign of life in Redis.", alive)


def _gauge(registry: CollectorRegistry, name: str, meaning: str, value: float) -> None:
    Gauge(f"chancery_{name}", meaning, registry=registry).set(value)


class _Lateness(Collector):
    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = seconds

    def collect(self) -> list[Metric]:
        buckets = [
            (str(edge), float(sum(each <= edge for each in self._seconds))) for edge in _BUCKETS_S
        ]
        buckets.append(("+Inf", float(len(self._seconds))))
        meaning = "From the instant to the first intent, over the last hour."
        name = "chancery_intent_lateness_last_hour_seconds"
        family = HistogramMetricFamily(name, meaning, buckets=buckets, sum_value=sum(self._seconds))
        return [family]
