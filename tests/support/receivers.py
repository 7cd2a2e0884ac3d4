"""Who alerts are sent to: a webhook receiver that fails, stalls and repeats at will, and a real SMTP server."""

import asyncio
import datetime as dt
import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Self

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook

SECRET: Final = "whsec_S2FydmVuaWEtdGVzdHMtc2lnbi10aGVpci1hbGVydHM="
STALL: Final = "stall"
Answer = int | str


@dataclass(slots=True)
class Receiver:
    """Answers the next of `plan`, and 204 when it is empty; a stalled request is answered by `release`."""

    plan: list[Answer] = field(default_factory=list)
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    on_arrival: Callable[[], None] = lambda: None
    url: str = ""
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/duty", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/duty"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        self.release()
        await self._runner.cleanup()

    @property
    def pair(self) -> str:
        return self.url.split("/")[2]

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.seen]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Everything that arrived, verified by the specification's own library."""
        return [Webhook(SECRET).verify(body, headers) for headers, body in self.seen]

    def release(self) -> None:
        self._released.set()

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((headers, await request.read()))
        self.on_arrival()
        answer = self.plan.pop(0) if self.plan else 204
        if answer == STALL:
            await self._released.wait()
            answer = 204
        return web.Response(status=int(answer), headers={"Location": self.url})


@dataclass(slots=True)
class Certificate:
    """A self-signed one for this machine, for a test alone."""

    file: Path
    server: ssl.SSLContext

    @classmethod
    def make(cls, folder: Path) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.karvenia.example")])
        now = dt.datetime.now(dt.UTC)
        names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        public, whole = folder / "mail.pem", folder / "mail-key.pem"
        public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        whole.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(public, whole)
        return cls(public, context)


@dataclass
class MailServer:
    """aiosmtpd on a free port; it keeps what it accepts.

    Without slots: the library looks at every attribute of its handler, and Python 3.11.2 stumbles there over `__weakref__`.
    """

    certificate: Certificate | None = None
    implicit: bool = False
    login: tuple[str, str] | None = None
    refuse: frozenset[str] = frozenset()  #: recipients
    plan: list[str] = field(default_factory=list)  #: answers to DATA; `stall`, or 250 when empty
    messages: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    port: int = 0
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        secure = self._context if self.implicit else None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._build, "127.0.0.1", 0, ssl=secure)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._released.set()
        self._server.close()
        await self._server.wait_closed()

    @property
    def _context(self) -> ssl.SSLContext | None:
        return None if self.certificate is None else self.certificate.server

    def _build(self) -> SMTP:
        starttls = None if self.implicit else self._context
        with warnings.catch_warnings():  # the library does not see that TLS began before it
            warnings.simplefilter("ignore", UserWarning)
            return SMTP(
                self,
                hostname="mail.karvenia.example",
                tls_context=starttls,
                require_starttls=starttls is not None,
                authenticator=None if self.login is None else self._authenticate,
                auth_required=self.login is not None,
                auth_require_tls=not self.implicit,
            )

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self.login, handled=False)

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if address in self.refuse:
            return "550 no such person here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.plan.pop(0) if self.plan else "250 taken"
        if answer == STALL:
            await self._released.wait()
        assert isinstance(envelope.content, bytes)
        self.raw.append(envelope.content)
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.envelopes.append((str(envelope.mail_from), list(envelope.rcpt_tos)))
        self.encrypted.append(session.ssl is not None or self.implicit)
        return answer
