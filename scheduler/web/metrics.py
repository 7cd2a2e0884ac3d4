"""What Prometheus asks for; each application has a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from scheduler.app import App
from scheduler.db import deliveries, log
from scheduler.db.uow import DatabaseUnavailableError
from scheduler.domain.delivery_flow import DeliveryState


class Metrics:
    """Counts requests as they end; what stands in the database is read when somebody asks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "chancery_http_requests",
            "Requests answered.",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "chancery_http_request_seconds",
            "Time to answer.",
            ["route"],
            registry=self._registry,
        )
        self._deliveries = Gauge(
            "chancery_deliveries",
            "Deliveries by state.",
            ["state"],
            registry=self._registry,
        )
        self._unsealed = Gauge(
            "chancery_audit_unsealed_records",
            "Records that wait for the sequencer.",
            registry=self._registry,
        )
        self._database = Gauge(
            "chancery_database_up", "Whether the database answered.", registry=self._registry
        )

    def count(self, *, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route=route, status=str(status)).inc()
        self._seconds.labels(route=route).observe(seconds)

    async def render(self, app: App) -> bytes:
        """The text format, with the database's figures as of now."""
        try:
            async with app.open_uow.read() as uow:
                amounts = await deliveries.count_by_state(uow)
                self._unsealed.set(await log.count_unsealed(uow))
        except DatabaseUnavailableError:
            self._database.set(0)
        else:
            self._database.set(1)
            for state in DeliveryState:
                self._deliveries.labels(state=state.value).set(amounts.get(state, 0))
        return generate_latest(self._registry)
