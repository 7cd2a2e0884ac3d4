"""What Prometheus asks for; each application counts its own requests."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from scheduler.app import App
from scheduler.web.figures import build_registry


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

    def count(self, *, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route=route, status=str(status)).inc()
        self._seconds.labels(route=route).observe(seconds)

    async def render(self, app: App) -> bytes:
        """The text format: the installation's figures as of now, then this process's own."""
        return generate_latest(await build_registry(app)) + generate_latest(self._registry)
