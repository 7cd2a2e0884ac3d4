"""What every adapter promises the engine; one test class per platform inherits both classes below."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from adapters.base import (
    Adapter,
    Content,
    Credentials,
    Json,
    MediaRef,
    Published,
    Segment,
    Slots,
    fill,
)
from adapters.egress import EgressPolicy
from adapters.errors import (
    AdapterError,
    ContentRejectedError,
    CredentialsRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    UnavailableError,
)
from adapters.http import PlatformHttp
from tests.contracts.fake_platform import (
    CLOSED,
    HANG,
    RESET,
    Answer,
    FakePlatform,
    Wire,
    answer,
    gzip_bomb,
    truncated,
)

SECRET = "krv-S3cretT0kenOfTheMinistry-0f9a"
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
TEXT = (
    "Danes ob 10.00 odpremo konzularni oddelek v Lipovcu: https://mzz.karvenia.example/sl #konzulat"
)
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c626001000000ffff03000006000557bfabd40000000049454e44ae426082"
)
EVIDENCE_KEYS = {"status", "path", "ms", "sha256", "cause"}


def picture(alt: str = "Stavba konzulata v Lipovcu") -> MediaRef:
    return MediaRef(
        sha256=hashlib.sha256(PICTURE).hexdigest(),
        mime="image/png",
        length=len(PICTURE),
        width=1,
        height=1,
        alt=alt,
    )


def slots(record_key: str, *, at: datetime = NOW, **values: Json) -> Slots:
    media = values.get("media")
    return Slots(
        media=media if isinstance(media, dict) else {},
        parent=values.get("parent"),
        root=values.get("root"),
        record_key=record_key,
        created_at=at,
    )


def bare_chunks(*lines: bytes) -> Answer:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Answer(raw=head + b"".join(lines), wire=Wire.CLOSE)


HOSTILE: dict[str, Answer] = {
    "html": answer(200, b"<html>Welcome</html>", headers={"Content-Type": "text/html"}),
    "empty": answer(200),
    "no content": Answer(raw=b"HTTP/1.1 204 No Content\r\n\r\n"),
    "no id": answer(200, {"ok": True}),
    "null id": answer(200, {"id": None, "uri": None, "cid": None, "url": None}),
    "boolean id": answer(200, {"id": True, "uri": "https://x.karvenia.example/1", "cid": True}),
    "path as id": answer(200, {"id": "../../admin", "url": "https://x.karvenia.example/1"}),
    "endless id": answer(200, {"id": "1" * 100_000, "url": "https://x.karvenia.example/1"}),
    "script as address": answer(200, {"id": "1", "url": "javascript:alert(1)", "uri": 7}),
    "a list": answer(200, [1, 2]),
    "a number": answer(200, 7),
    "deep": answer(200, b"[" * 50_000),
    "nan": answer(200, b'{"id": NaN}'),
    "endless number": answer(200, b'{"id": ' + b"9" * 10_000 + b"}"),
    "key twice": answer(200, b'{"id":"1","id":"2","url":"https://a.example/1"}'),
    "two documents": answer(200, b'{"id":"1"}{"id":"1"}'),
    "utf-16": answer(200, '{"id":"1","url":"https://a.example"}'.encode("utf-16")),
    "not utf-8": answer(200, b'{"id":"1\xff","url":"https://a.example"}'),
    "gzip bomb": gzip_bomb(),
    "broken gzip": answer(200, b"no gzip", headers={"Content-Encoding": "gzip"}),
    "huge": answer(200, b" " * 2_100_000),
    "chunked garbage": bare_chunks(b"zz\r\n{}\r\n"),
    "cut in a chunk": bare_chunks(b"20\r\n{}\r\n"),
    "no http": Answer(raw=b"220 mail.karvenia.example ESMTP\r\n", wire=Wire.CLOSE),
    "long header": answer(200, {}, headers={"X-Long": "a" * 200_000}),
    "reset": RESET,
    "closed": CLOSED,
    "truncated": truncated({"id": "1", "url": "https://x.karvenia.example/1"}),
}
UNCLEAR_STATUSES = (
    300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 413, 414, 418,
    422, 425, 451, 500, 501, 502, 503, 504, 507, 511, 520, 522, 524, 599,
)  # fmt: skip


class AdapterContract(ABC):
    """Runs against a server that answers anything; `accepted` is a real answer to a published post."""

    publish_route: ClassVar[tuple[str, str]]
    secrets: ClassVar[tuple[str, ...]] = (SECRET,)

    @abstractmethod
    def make(self, http: PlatformHttp) -> Adapter:
        """Return the adapter with a publish timeout short enough for a test."""

    @abstractmethod
    def credentials(self, base_url: str) -> Credentials: ...

    @abstractmethod
    def accepted(self, body: bytes) -> object: ...

    @abstractmethod
    def refused(self, words: str) -> Answer:
        """Return the platform's documented refusal of a content."""

    @abstractmethod
    def unauthorized(self, words: str) -> Answer: ...

    @pytest.fixture
    async def platform(self) -> AsyncIterator[FakePlatform]:
        async with FakePlatform() as platform:
            yield platform

    @pytest.fixture
    async def http(self, platform: FakePlatform) -> AsyncIterator[PlatformHttp]:
        async def at_once(seconds: float) -> None:
            assert seconds > 0

        policy = EgressPolicy(frozenset({("127.0.0.1", platform.port)}))
        async with PlatformHttp(policy, sleep=at_once) as http:
            yield http

    @pytest.fixture
    def adapter(self, http: PlatformHttp) -> Adapter:
        return self.make(http)

    def body(self, adapter: Adapter, credentials: Credentials) -> bytes:
        content = Content(segments=(Segment(text=TEXT),), language="sl")
        (template,) = adapter.render(content, credentials.external_id, {})
        return fill(template, slots(adapter.record_key(NOW, "delivery-1")))

    async def publish(self, adapter: Adapter, platform: FakePlatform, said: Answer) -> Published:
        platform.routes[self.publish_route] = said
        credentials = self.credentials(platform.base_url)
        return await adapter.publish(credentials, self.body(adapter, credentials), "delivery-1")

    def check_error(self, error: AdapterError) -> None:
        told = f"{error} {error!r} {error.__cause__!r} {dict(error.evidence)}"
        for secret in self.secrets:
            assert secret not in told
        assert set(error.evidence) <= EVIDENCE_KEYS
        assert error.code.isidentifier()

    async def test_the_filled_bytes_are_the_bytes_that_arrive(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        body = self.body(adapter, self.credentials(platform.base_url))
        await self.publish(adapter, platform, answer(200, self.accepted(body)))
        (request,) = platform.received
        assert request.body == body
        assert request.headers["content-type"] == "application/json"
        assert request.headers["authorization"].startswith("Bearer ")
        assert "cookie" not in request.headers

    @pytest.mark.parametrize("kind", sorted(HOSTILE))
    async def test_an_accepted_post_with_an_unreadable_answer_is_unknown_not_failed(
        self, adapter: Adapter, platform: FakePlatform, kind: str
    ) -> None:
        with pytest.raises(OutcomeUnknownError) as caught:
            await self.publish(adapter, platform, HOSTILE[kind])
        self.check_error(caught.value)
        assert len(platform.received) == 1

    @pytest.mark.parametrize("status", UNCLEAR_STATUSES)
    async def test_a_status_without_the_platforms_own_words_is_unknown(
        self, adapter: Adapter, platform: FakePlatform, status: int
    ) -> None:
        said = answer(status, b"<html>", headers={"Location": f"{platform.base_url}/elsewhere"})
        with pytest.raises(OutcomeUnknownError) as caught:
            await self.publish(adapter, platform, said)
        self.check_error(caught.value)
        assert caught.value.evidence["status"] == status
        assert [item.path for item in platform.received] == [self.publish_route[1]]

    async def test_a_server_that_never_answers_leaves_the_outcome_unknown(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        with pytest.raises(OutcomeUnknownError) as caught:
            await self.publish(adapter, platform, HANG)
        assert caught.value.evidence["cause"] == "TimeoutError"

    async def test_a_refused_connection_is_definitely_not_sent(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        credentials = self.credentials(platform.base_url)
        await platform.stop()
        with pytest.raises(UnavailableError) as caught:
            await adapter.publish(credentials, self.body(adapter, credentials), "delivery-1")
        assert caught.value.code == "unreachable"
        self.check_error(caught.value)

    async def test_an_early_hint_is_not_the_answer(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        body = self.body(adapter, self.credentials(platform.base_url))
        final = answer(200, self.accepted(body))
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n"
        published = await self.publish(adapter, platform, replace(final, raw=hint + final.raw))
        assert published.remote_id

    @pytest.mark.parametrize(
        ("headers", "wait_s"),
        [
            ({"Retry-After": "17"}, 17),
            ({"Retry-After": "-5"}, 300),
            ({"Retry-After": "soon"}, 300),
            ({"Retry-After": "9" * 400}, 86_400),
            ({"Retry-After": "0"}, 1),
            ({}, 300),
            (
                {
                    "Date": "Tue, 24 Nov 2026 09:30:00 GMT",
                    "Retry-After": "Tue, 24 Nov 2026 09:31:00 GMT",
                },
                60,
            ),
        ],
    )
    async def test_a_rate_limit_says_how_long_to_wait(
        self, adapter: Adapter, platform: FakePlatform, headers: dict[str, str], wait_s: int
    ) -> None:
        with pytest.raises(RateLimitedError) as caught:
            await self.publish(adapter, platform, answer(429, b"slow down", headers=headers))
        assert caught.value.retry_after == timedelta(seconds=wait_s)
        self.check_error(caught.value)

    async def test_a_documented_refusal_is_final_and_says_why(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        with pytest.raises(ContentRejectedError, match="too many words"):
            await self.publish(adapter, platform, self.refused("too many words"))

    async def test_a_refused_token_pauses_the_account(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        with pytest.raises(CredentialsRejectedError):
            await self.publish(adapter, platform, self.unauthorized("no"))

    async def test_no_error_repeats_a_secret_that_the_server_echoes(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        for secret in self.secrets:
            echoes = (secret, secret.encode().hex(), f"Bearer {secret}!", f"{secret[:24]}…")
            for words in echoes:
                for said in (self.refused(words), self.unauthorized(words), answer(500, words)):
                    with pytest.raises(AdapterError) as caught:
                        await self.publish(adapter, platform, said)
                    self.check_error(caught.value)
                    assert secret[:20] not in str(caught.value)

    async def test_a_token_that_no_header_can_hold_is_never_sent(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        for token in ("", "two words", "line\r\nX-Evil: 1", "žeton"):
            credentials = self.with_token(self.credentials(platform.base_url), token)
            with pytest.raises(CredentialsRejectedError) as caught:
                await adapter.publish(credentials, self.body(adapter, credentials), "delivery-1")
            assert not token or token not in str(caught.value)
        assert platform.received == []

    def with_token(self, credentials: Credentials, token: str) -> Credentials:
        return replace(credentials, secret=token)

    @pytest.mark.parametrize("kind", sorted(HOSTILE))
    async def test_no_look_at_the_platform_ends_unknown_or_crashes(
        self, adapter: Adapter, platform: FakePlatform, kind: str
    ) -> None:
        platform.routes[("GET", "/*")] = HOSTILE[kind]
        platform.routes[("POST", "/*")] = HOSTILE[kind]
        credentials = self.credentials(platform.base_url)
        body = self.body(adapter, credentials)
        published = Published(remote_id="77", url="https://x.karvenia.example/77", ref="77")
        looks: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: adapter.verify(credentials),
            lambda: adapter.find(credentials, body, "delivery-1", NOW),
            lambda: adapter.read_back(credentials, body, published),
            lambda: adapter.upload(credentials, picture(), PICTURE),
        )
        for look in looks:
            with pytest.raises((UnavailableError, ContentRejectedError)) as caught:
                await look()
            self.check_error(caught.value)

    async def test_bytes_that_were_not_approved_are_never_uploaded(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        with pytest.raises(ValueError, match="not those"):
            await adapter.upload(self.credentials(platform.base_url), picture(), PICTURE + b"\0")
        assert platform.received == []

    async def test_capabilities_agree_with_problems(self, adapter: Adapter) -> None:
        can = adapter.capabilities
        assert can.platform == adapter.platform
        assert can.publish_timeout > timedelta(0)

        def codes(*segments: Segment, language: str = "sl") -> set[str]:
            content = Content(segments=segments, language=language)
            return {problem.code for problem in adapter.problems(content, {})}

        assert codes(Segment(text="a" * can.max_length)) == set()
        assert codes(Segment(text="a" * (can.max_length + 1))) == {"text_too_long"}
        assert codes(Segment(text=" \n")) == {"text_empty"}
        assert codes() == {"text_empty"}
        assert codes(Segment(text="a\x00")) == codes(Segment(text="\ud800")) == {"text_invalid"}
        assert codes(Segment(text="a"), language="Slovene language") == {"language_invalid"}
        two = codes(Segment(text="a"), Segment(text="b"))
        assert two == (set() if can.threads else {"thread_unsupported"})
        if not can.max_media:
            assert "too_many_media" in codes(Segment(text="a", media=(picture(),)))
            return
        most = tuple(replace(picture(), sha256=f"{number:064x}") for number in range(can.max_media))
        assert codes(Segment(text="", media=most)) == set()
        assert codes(Segment(text="", media=(*most, picture()))) == {"too_many_media"}
        assert codes(Segment(text="a", media=(picture(), picture()))) == {"media_repeated"}
        for change, code in (
            ({"mime": "image/svg+xml"}, "media_type_unsupported"),
            ({"length": can.max_image_bytes + 1}, "media_too_large"),
            ({"width": can.max_image_pixels, "height": 2}, "media_too_many_pixels"),
            ({"alt": "a" * (can.max_alt_length + 1)}, "alt_too_long"),
        ):
            changed = replace(picture(), **change)
            assert codes(Segment(text="a", media=(changed,))) == {code}
        no_alt = codes(Segment(text="a", media=(picture(alt=" "),)))
        assert no_alt == ({"alt_missing"} if can.alt_required else set())

    async def test_what_cannot_be_carried_is_never_rendered(self, adapter: Adapter) -> None:
        too_long = Segment(text="a" * 100_000)
        external_id = self.credentials("https://x.karvenia.example").external_id
        with pytest.raises(ValueError, match="text_too_long"):
            adapter.render(Content(segments=(too_long,), language="sl"), external_id, {})

    async def test_a_servers_own_limits_go_first(self, adapter: Adapter) -> None:
        assert adapter.length("abc", {"max_length": 7}).limit == 7
        assert adapter.length("abc", {}).limit == adapter.capabilities.max_length
        content = Content(segments=(Segment(text="a", media=(picture(),)),), language="sl")
        problems = adapter.problems(content, {"max_media": 0, "max_alt_length": 3})
        assert {problem.code for problem in problems} >= {"too_many_media", "alt_too_long"}

    async def test_the_record_key_is_stable_and_differs_by_key(self, adapter: Adapter) -> None:
        key = adapter.record_key(NOW, "delivery-1")
        assert key == adapter.record_key(NOW, "delivery-1") != adapter.record_key(NOW, "delivery-2")
