"""Alerts by mail: one plain text message through the operator's own SMTP server."""

import asyncio
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import format_datetime
from enum import StrEnum
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import aiosmtplib
import regex

from scheduler.alerting.errors import NotArrivedError
from scheduler.domain.alerts import Target
from scheduler.services.alerts import Outgoing, Way, hash_receiver
from scheduler.settings import Settings, SettingsError

TIMEOUT_S: Final = 30.0
_STEP_S: Final = 15.0
_GOODBYE_S: Final = 2.0
_ADDRESS: Final = regex.compile(r"[!-~--[<>,;:\"()\[\]@]]+@[A-Za-z0-9.-]+", regex.VERSION1)
_SAID_LENGTH: Final = 200
#: What may stand behind the question mark, by scheme.
_ASKED: Final[Mapping[str, Sequence[Mapping[str, str]]]] = MappingProxyType(
    {"smtp": ({}, {"starttls": "off"}, {"starttls": "required"}), "smtps": ({},)}
)


class Tls(StrEnum):
    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


_PORTS: Final[Mapping[Tls, int]] = MappingProxyType(
    {Tls.IMPLICIT: 465, Tls.STARTTLS: 587, Tls.NONE: 25}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    host: str
    port: int
    tls: Tls
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    way: Way
    server: Server
    sender: str
    recipients: tuple[str, ...]
    trust: ssl.SSLContext = field(repr=False)
    timeout_s: float = TIMEOUT_S

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """The mail that is configured, if one is.

        Raises:
            SettingsError: part of it is missing, or one of its addresses is none.
        """
        url, sender, recipients = settings.smtp_url, settings.alert_from, settings.alert_to
        if url is None and not sender and not recipients:
            return None
        if url is None or not sender or not recipients:
            raise SettingsError(
                "CHANCERY_SMTP_URL, CHANCERY_ALERT_FROM and CHANCERY_ALERT_TO go together"
            )
        _refuse_strange(sender, "CHANCERY_ALERT_FROM")
        for recipient in recipients:
            _refuse_strange(recipient, "CHANCERY_ALERT_TO")
        receiver = hash_receiver(",".join(recipients))
        return cls(
            way=Way(target=Target.EMAIL, receiver=receiver, base_url=settings.public_url),
            server=read_server(url.get_secret_value()),
            sender=sender,
            recipients=tuple(recipients),
            trust=ssl.create_default_context(),
        )

    async def send(self, outgoing: Outgoing) -> str:
        client = self._client()
        try:
            async with asyncio.timeout(self.timeout_s):
                await client.connect()
                refused, _ = await client.sendmail(
                    self.sender, self.recipients, self.write(outgoing)
                )
        except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
            raise NotArrivedError(_explain(exc)) from None  # the cause may know the password
        else:
            with suppress(aiosmtplib.SMTPException, OSError):  # it has arrived, whatever comes now
                async with asyncio.timeout(_GOODBYE_S):
                    await client.quit()
        finally:
            client.close()
        return f"refused for {', '.join(sorted(refused))}" if refused else ""

    def _client(self) -> aiosmtplib.SMTP:
        server = self.server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            local_hostname=socket.gethostname(),
            use_tls=server.tls is Tls.IMPLICIT,
            start_tls=server.tls is Tls.STARTTLS,
            tls_context=None if server.tls is Tls.NONE else self.trust,
            timeout=_STEP_S,
        )

    def write(self, outgoing: Outgoing) -> bytes:
        """The message, the same bytes at every attempt; its id tells a repeat."""
        parts = json.loads(outgoing.body)
        message = EmailMessage(policy=WIRE)
        message["From"] = f"Chancery <{self.sender}>"
        message["To"] = ", ".join(self.recipients)
        message["Subject"] = parts["subject"]
        message["Date"] = format_datetime(outgoing.at)
        message["Message-ID"] = f"<{outgoing.id}.alert@{self.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(parts["text"], cte="quoted-printable")
        return message.as_bytes()


def read_server(address: str) -> Server:
    """Read `smtp://user:password@host:port` (STARTTLS) or `smtps://…` (TLS from the start).

    `?starttls=off` gives up encryption; to a loopback address it is off unless `?starttls=required` asks for it.

    Raises:
        SettingsError: no such address, or a password that would travel in clear.
    """
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = -1
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    if (
        parts.scheme not in _ASKED
        or not parts.hostname
        or port == -1
        or parts.path.strip("/")
        or asked not in _ASKED[parts.scheme]
    ):
        raise SettingsError(
            "CHANCERY_SMTP_URL needs smtp://user:password@host:587 or smtps://host:465; "
            "?starttls=off only where nobody listens"
        )
    is_near = _is_loopback(parts.hostname)
    tls = _choose_tls(parts.scheme, asked.get("starttls"), is_near=is_near)
    if tls is Tls.NONE and parts.username and not is_near:
        raise SettingsError("CHANCERY_SMTP_URL: a password is not sent without encryption")
    return Server(
        host=parts.hostname,
        port=port or _PORTS[tls],
        tls=tls,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def _choose_tls(scheme: str, starttls: str | None, *, is_near: bool) -> Tls:
    if scheme == "smtps":
        return Tls.IMPLICIT
    if starttls == "off" or (is_near and starttls is None):
        return Tls.NONE
    return Tls.STARTTLS


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_strange(address: str, name: str) -> None:
    if _ADDRESS.fullmatch(address) is None:
        raise SettingsError(f"{name} needs plain addresses such as duty@karvenia.example")


def _explain(error: Exception) -> str:
    """What the server said, without what we said to it."""
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            said = f"the server refuses the sign-in ({error.code})"
        case aiosmtplib.SMTPRecipientsRefused():
            refused = ", ".join(sorted(each.recipient for each in error.recipients))
            said = f"the server refuses every recipient: {refused}"
        case aiosmtplib.SMTPResponseException():
            said = f"the server refuses ({error.code}): {error.message}"
        case ssl.SSLError():
            said = f"no trusted encryption: {error.reason or type(error).__name__}"
        case TimeoutError():
            said = "the server does not answer in time"
        case aiosmtplib.SMTPException():
            said = f"the connection failed: {error.message}"
        case _:
            said = f"the connection failed ({type(error).__name__})"
    return " ".join(said.split())[:_SAID_LENGTH]
