import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.egress import EgressPolicy
from adapters.errors import OutcomeUnknownError, UnavailableError
from adapters.http import MAX_ANSWER_BYTES, PlatformHttp, Reply, Request, endpoint
from tests.contracts.fake_platform import CLOSED, RESET, FakePlatform, answer

WITHIN = timedelta(seconds=5)


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    async with FakePlatform() as platform:
        platform.routes = {
            (method, "/*"): answer(200, {}) for method in ("GET", "POST", "PUT", "DELETE")
        }
        yield platform


@pytest.fixture
async def http(platform: FakePlatform) -> AsyncIterator[PlatformHttp]:
    async with PlatformHttp(EgressPolicy(frozenset({("127.0.0.1", platform.port)}))) as http:
        yield http


def request(
    platform: FakePlatform, method: str, path: str = "/x", *, publishes: bool = False
) -> Request:
    body = None if method == "GET" else b"{}"
    return Request(
        method=method,
        url=endpoint(platform.base_url, path),
        timeout=WITHIN,
        body=body,
        publishes=publishes,
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
@pytest.mark.parametrize("end", [CLOSED, RESET])
async def test_a_publishing_request_is_written_once_whatever_happens(
    platform: FakePlatform, http: PlatformHttp, method: str, end: object
) -> None:
    # The first answer leaves a connection that looks alive.
    await http.send(request(platform, method, publishes=True))
    platform.routes[method, "/*"] = end  # type: ignore[assignment]  # an Answer
    with pytest.raises(OutcomeUnknownError):
        await http.send(request(platform, method, publishes=True))
    assert len(platform.requests_to(method, "/x")) == 2


async def test_the_client_library_repeats_a_read_by_itself(
    platform: FakePlatform, http: PlatformHttp
) -> None:
    """The danger is real: without our hook a PUT would be repeated just so."""
    platform.routes["GET", "/*"] = CLOSED
    with pytest.raises(UnavailableError):
        await http.send(request(platform, "GET"))
    assert len(platform.requests_to("GET", "/x")) == 2


async def test_put_and_delete_always_get_a_fresh_connection_and_post_may_reuse_its_own(
    platform: FakePlatform, http: PlatformHttp
) -> None:
    for method in ("POST", "POST", "PUT", "PUT", "DELETE", "GET"):
        await http.send(request(platform, method, publishes=method != "GET"))
    numbers = [item.connection for item in platform.received]
    post_1, post_2, put_1, put_2, delete, get = numbers
    assert post_1 == post_2
    assert len({post_1, put_1, put_2, delete, get}) == 5


async def test_cookies_are_forgotten(platform: FakePlatform, http: PlatformHttp) -> None:
    platform.routes["GET", "/*"] = answer(200, {}, headers={"Set-Cookie": "a=b; Path=/"})
    for _ in range(2):
        await http.send(request(platform, "GET"))
    assert all("cookie" not in item.headers for item in platform.received)


async def test_a_proxy_in_the_environment_is_not_used(
    platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    policy = EgressPolicy(frozenset({("127.0.0.1", platform.port)}))
    async with PlatformHttp(policy) as http:
        reply = await http.send(request(platform, "GET"))
    assert reply.status == 200


async def test_an_answer_may_be_as_large_as_the_cap_and_no_larger(
    platform: FakePlatform, http: PlatformHttp
) -> None:
    platform.routes["GET", "/*"] = answer(200, b"a" * MAX_ANSWER_BYTES)
    assert len((await http.send(request(platform, "GET"))).body) == MAX_ANSWER_BYTES
    platform.routes["GET", "/*"] = answer(200, b"a" * (MAX_ANSWER_BYTES + 1))
    with pytest.raises(UnavailableError):
        await http.send(request(platform, "GET"))


async def test_evidence_names_the_answer_without_quoting_it(
    platform: FakePlatform, http: PlatformHttp
) -> None:
    platform.routes["GET", "/*"] = answer(418, b"abc")
    reply = await http.send(request(platform, "GET", "/teapot"))
    assert reply.evidence["status"] == 418
    assert reply.evidence["path"] == "/teapot"
    assert str(reply.evidence["sha256"]).startswith("ba7816bf")
    assert reply.evidence["ms"] == reply.elapsed_ms >= 0
    assert "abc" not in repr(reply)


async def test_a_redirect_is_an_answer_and_is_not_followed(
    platform: FakePlatform, http: PlatformHttp
) -> None:
    platform.routes["GET", "/*"] = answer(307, headers={"Location": "http://169.254.169.254/"})
    assert (await http.send(request(platform, "GET"))).status == 307
    assert len(platform.received) == 1


async def test_a_handshake_that_fails_is_definitely_not_sent(
    platform: FakePlatform, http: PlatformHttp
) -> None:
    secure = platform.base_url.replace("http:", "https:")
    with pytest.raises(UnavailableError) as caught:
        await http.send(
            Request(method="POST", url=endpoint(secure, "/"), timeout=WITHIN, publishes=True)
        )
    assert caught.value.code == "unreachable"


async def test_a_certificate_that_nobody_vouches_for_is_definitely_not_sent(
    tmp_path: Path,
) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0, ssl=self_signed(tmp_path))
    port = server.sockets[0].getsockname()[1]
    async with server, PlatformHttp(EgressPolicy(frozenset({("127.0.0.1", port)}))) as http:
        with pytest.raises(UnavailableError) as caught:
            await http.send(
                Request(
                    method="POST",
                    url=endpoint(f"https://127.0.0.1:{port}", "/"),
                    timeout=WITHIN,
                    publishes=True,
                )
            )
    assert caught.value.evidence["cause"] == "ClientConnectorCertificateError"


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "social.karvenia.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_waiting_is_left_to_the_caller_of_the_library() -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    await PlatformHttp(EgressPolicy(), sleep=wait).pause(1.5)
    assert waited == [1.5]


def test_a_reply_hashes_its_body() -> None:
    reply = Reply(status=200, headers={}, body=b"", path="/", elapsed_ms=0)
    assert reply.sha256.startswith("e3b0c442")


@pytest.mark.parametrize(
    ("base", "whole"),
    [
        ("https://a.example", "https://a.example/api/v1?limit=1&q=a%26b"),
        ("https://a.example/", "https://a.example/api/v1?limit=1&q=a%26b"),
        ("http://127.0.0.1:80", "http://127.0.0.1/api/v1?limit=1&q=a%26b"),
    ],
)
def test_an_address_and_a_path_are_joined(base: str, whole: str) -> None:
    assert str(endpoint(base, "/api/v1", limit="1", q="a&b")) == whole
