"""The ways that the settings name: mail and webhook, each with what it needs to send."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from adapters.egress import EgressPolicy
from adapters.http import PlatformHttp
from scheduler.alerting.mail import Mail
from scheduler.alerting.webhook import Webhook
from scheduler.services.alerts import Outgoing, Way
from scheduler.settings import Settings


class Channel(Protocol):
    """Takes one message to its receiver."""

    @property
    def way(self) -> Way: ...

    async def send(self, outgoing: Outgoing) -> str:
        """Send once; answers a note for the operator, usually empty.

        Raises:
            NotArrivedError: it has not arrived, or nobody knows whether it has.
        """
        ...


def check_settings(settings: Settings) -> None:
    """Refuse before anything has started.

    Raises:
        SettingsError: one of `CHANCERY_ALERT_*` or CHANCERY_SMTP_URL cannot be used.
    """
    Mail.from_settings(settings)
    Webhook.from_settings(settings, PlatformHttp(EgressPolicy()))


@asynccontextmanager
async def open_channels(settings: Settings) -> AsyncIterator[Sequence[Channel]]:
    """The ways that are configured, with connections of their own, apart from those of the platforms.

    Raises:
        SettingsError: one of the `CHANCERY_ALERT_*` or CHANCERY_SMTP_URL cannot be used.
    """
    mail = Mail.from_settings(settings)
    async with PlatformHttp(EgressPolicy(allow=settings.egress_pairs)) as http:
        webhook = Webhook.from_settings(settings, http)
        yield [each for each in (mail, webhook) if each is not None]
