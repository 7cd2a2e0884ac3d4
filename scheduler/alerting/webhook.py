"""Alerts to a webhook, signed as Standard Webhooks says (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Final, Self

from yarl import URL

from adapters.errors import AdapterError
from adapters.http import PlatformHttp, Request
from scheduler.alerting.errors import NotArrivedError
from scheduler.clock import utc_now
from scheduler.domain.alerts import Target
from scheduler.services.alerts import Outgoing, Way, hash_receiver
from scheduler.settings import Settings, SettingsError

TIMEOUT: Final = timedelta(seconds=15)
_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - of every secret, so no secret
_SECRET_BYTES: Final = range(24, 65)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    way: Way
    url: URL = field(repr=False)  #: may hold a secret in its path or query
    key: bytes = field(repr=False)
    http: PlatformHttp
    timeout: timedelta = TIMEOUT

    @classmethod
    def from_settings(cls, settings: Settings, http: PlatformHttp) -> Self | None:
        """The webhook that is configured, if one is.

        Raises:
            SettingsError: half of it is missing, or its address or secret is none.
        """
        url, secret = settings.alert_webhook_url, settings.alert_webhook_secret
        if url is None and secret is None:
            return None
        if url is None or secret is None:
            raise SettingsError(
                "CHANCERY_ALERT_WEBHOOK_URL and CHANCERY_ALERT_WEBHOOK_SECRET go together"
            )
        address = url.get_secret_value()
        way = Way(
            target=Target.WEBHOOK, receiver=hash_receiver(address), base_url=settings.public_url
        )
        key = _read_secret(secret.get_secret_value())
        return cls(way=way, url=_read_url(address), key=key, http=http)

    async def send(self, outgoing: Outgoing) -> str:
        stamp = int(utc_now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": str(outgoing.id),
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(self.key, str(outgoing.id), stamp, outgoing.body),
        }
        try:
            reply = await self.http.send(
                Request(
                    method="POST",
                    url=self.url,
                    timeout=self.timeout,
                    headers=headers,
                    body=outgoing.body,
                )
            )
        except AdapterError as exc:
            raise NotArrivedError(f"{exc.code}: {exc}") from None  # the cause knows the address
        if reply.status == HTTPStatus.GONE:
            raise NotArrivedError("answered 410: it wants no more alerts", gone=True)
        if reply.status // 100 != 2:  # noqa: PLR2004 - any 2xx
            raise NotArrivedError(f"answered {reply.status}")
        return ""


def sign(key: bytes, message_id: str, stamp: int, body: bytes) -> str:
    signed = f"{message_id}.{stamp}.".encode() + body
    digest = hmac.digest(key, signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _read_url(address: str) -> URL:
    try:
        url = URL(address)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host or url.user is not None:
        raise SettingsError("CHANCERY_ALERT_WEBHOOK_URL needs https://host/path")
    return url


def _read_secret(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_SECRET_PREFIX) or len(key) not in _SECRET_BYTES:
        raise SettingsError(
            "CHANCERY_ALERT_WEBHOOK_SECRET needs whsec_ and the base64 of 24 to 64 random bytes"
        )
    return key
