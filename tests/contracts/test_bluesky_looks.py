import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import ClassVar

import pytest

from adapters.base import (
    JsonObject,
    Published,
)
from adapters.bluesky import BlueskyAdapter, web_address
from adapters.egress import EgressPolicy
from adapters.errors import (
    ContentRejectedError,
    CredentialsRejectedError,
    RateLimitedError,
    UnavailableError,
)
from adapters.http import PlatformHttp
from tests.contracts.adapter_contract import NOW, PICTURE, SECRET, picture
from tests.contracts.bluesky_server import (
    ACCESS,
    CID,
    DID,
    GET,
    HANDLE,
    LOGIN,
    REFRESH,
    RENEW,
    UPLOAD,
    XRPC,
    body_of,
    credentials,
    error,
    jwt,
    put_ok,
    session,
    stored,
)
from tests.contracts.fake_platform import RESET, Answer, FakePlatform, answer


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    async with FakePlatform() as platform:
        yield platform


@pytest.fixture
async def adapter(platform: FakePlatform) -> AsyncIterator[BlueskyAdapter]:
    policy = EgressPolicy(frozenset({("127.0.0.1", platform.port)}))
    async with PlatformHttp(policy) as http:
        yield BlueskyAdapter(http)


class TestSession:
    adapter = BlueskyAdapter(PlatformHttp(EgressPolicy()))

    @pytest.mark.parametrize(
        ("access", "due"),
        [
            (jwt("a", exp=int(NOW.timestamp()) + 301), False),
            (jwt("a", exp=int(NOW.timestamp()) + 299), True),
            (jwt("a", exp=0), False),
            (jwt("a", exp="soon"), False),
            (jwt("a", exp=10**30), False),
            (jwt("a"), False),
            ("a.W10.c", False),
            ("a.e.c", False),
            ("opaque", False),
            ("a.ž.c", False),
        ],
    )
    def test_a_session_is_renewed_five_minutes_before_it_ends_if_it_says_when(
        self, access: str, due: bool
    ) -> None:
        login = replace(credentials("https://pds.karvenia.example"), session=session(access))
        assert self.adapter.needs_refresh(login, NOW) is due

    def test_a_login_without_a_session_needs_one(self) -> None:
        login = replace(credentials("https://pds.karvenia.example"), session=None)
        assert self.adapter.needs_refresh(login, NOW)

    def test_a_session_is_not_shown(self) -> None:
        assert ACCESS not in repr(credentials("https://pds.karvenia.example"))

    fresh: ClassVar[dict[str, object]] = {
        "accessJwt": jwt("access-2"),
        "refreshJwt": jwt("renew-2"),
        "did": DID,
        "handle": HANDLE,
        "active": True,
    }

    async def test_a_session_is_renewed_without_the_password(
        self, adapter: BlueskyAdapter, platform: FakePlatform
    ) -> None:
        platform.routes[REFRESH] = answer(200, self.fresh)
        renewed = await adapter.refresh(credentials(platform.base_url))
        assert json.loads(renewed.session or "")["access"] == jwt("access-2")
        (request,) = platform.received
        assert request.headers["authorization"] == f"Bearer {RENEW}"
        assert SECRET.encode() not in request.body

    async def test_a_dead_session_is_opened_anew_with_the_password(
        self, adapter: BlueskyAdapter, platform: FakePlatform
    ) -> None:
        platform.routes[REFRESH] = error(400, "ExpiredToken", "Token has been revoked")
        platform.routes[LOGIN] = answer(200, self.fresh)
        renewed = await adapter.refresh(replace(credentials(platform.base_url), external_id=""))
        assert renewed.external_id == DID
        assert platform.received[-1].json() == {"identifier": HANDLE, "password": SECRET}

    @pytest.mark.parametrize(
        ("said", "kind", "code"),
        [
            (error(401, "AuthenticationRequired"), CredentialsRejectedError, "account_refused"),
            (error(401, "AuthFactorTokenRequired"), CredentialsRejectedError, "account_refused"),
            (error(400, "AccountTakedown"), CredentialsRejectedError, "account_refused"),
            (answer(429, {}), RateLimitedError, "rate_limited"),
            (error(400, "InvalidRequest"), UnavailableError, "answer_unclear"),
            (
                answer(200, fresh | {"did": "did:plc:other"}),
                CredentialsRejectedError,
                "other_account",
            ),
            (answer(200, fresh | {"active": False}), CredentialsRejectedError, "account_refused"),
            (answer(200, fresh | {"did": "../x"}), UnavailableError, "session_unreadable"),
            (answer(200, fresh | {"accessJwt": 7}), UnavailableError, "session_unreadable"),
        ],
    )
    async def test_each_refused_login_has_its_next_step(
        self,
        adapter: BlueskyAdapter,
        platform: FakePlatform,
        said: Answer,
        kind: type[Exception],
        code: str,
    ) -> None:
        platform.routes[LOGIN] = said
        with pytest.raises(kind) as caught:
            await adapter.refresh(replace(credentials(platform.base_url), session=None))
        assert getattr(caught.value, "code", "") == code
        assert SECRET not in str(caught.value)

    async def test_a_closed_account_is_not_logged_in_again(
        self, adapter: BlueskyAdapter, platform: FakePlatform
    ) -> None:
        platform.routes[REFRESH] = error(400, "AccountTakedown")
        with pytest.raises(CredentialsRejectedError):
            await adapter.refresh(credentials(platform.base_url))
        assert platform.requests_to(*LOGIN) == []

    async def test_a_login_without_a_session_can_be_verified(
        self, adapter: BlueskyAdapter, platform: FakePlatform
    ) -> None:
        platform.routes[LOGIN] = answer(200, self.fresh)
        platform.routes["GET", f"{XRPC}.server.getSession"] = answer(200, self.fresh)
        profile = await adapter.verify(replace(credentials(platform.base_url), session=None))
        assert profile.external_id == DID
        assert profile.display_name == HANDLE
        assert profile.software == "PDS"
        assert profile.url == f"{platform.base_url}/profile/{HANDLE}"

    async def test_a_profile_without_a_handle_is_not_believed(
        self, adapter: BlueskyAdapter, platform: FakePlatform
    ) -> None:
        platform.routes["GET", f"{XRPC}.server.getSession"] = answer(200, {"did": DID})
        with pytest.raises(UnavailableError):
            await adapter.verify(credentials(platform.base_url))

    async def test_a_server_that_hides_profiles_still_verifies(
        self, adapter: BlueskyAdapter, platform: FakePlatform
    ) -> None:
        platform.routes["GET", f"{XRPC}.server.getSession"] = answer(200, self.fresh)
        platform.routes["GET", "/xrpc/app.bsky.actor.getProfile"] = RESET
        profile = await adapter.verify(credentials(platform.base_url))
        assert profile.display_name == HANDLE


class TestFind:
    async def test_the_record_key_proves_presence_and_absence(
        self, adapter: BlueskyAdapter, platform: FakePlatform
    ) -> None:
        body = body_of()
        platform.routes[GET] = answer(200, stored(body))
        found = await adapter.find(credentials(platform.base_url), body, "delivery-1", NOW)
        assert found is not None
        assert found.ref == {"uri": found.remote_id, "cid": CID}
        assert platform.received[0].query["rkey"] == json.loads(body)["rkey"]
        platform.routes[GET] = error(400, "RecordNotFound")
        assert await adapter.find(credentials(platform.base_url), body, "delivery-1", NOW) is None

    @pytest.mark.parametrize(
        "said",
        [
            answer(404, {"error": "RecordNotFound"}),
            error(500, "RecordNotFound"),
            error(400, "InvalidRequest"),
            answer(200, stored(body_of(), text="Drugo")),
            answer(200, stored(body_of("Drugo")) | {"uri": "at://x/y/z"}),
            answer(200, put_ok(body_of())),
        ],
    )
    async def test_absence_that_is_not_proven_is_not_reported(
        self, adapter: BlueskyAdapter, platform: FakePlatform, said: Answer
    ) -> None:
        platform.routes[GET] = said
        with pytest.raises(UnavailableError):
            await adapter.find(credentials(platform.base_url), body_of(), "delivery-1", NOW)


def image(alt: str, link: str = "bafkreiaaa") -> JsonObject:
    return {"image": {"$type": "blob", "ref": {"$link": link}}, "alt": alt}


def images(*items: JsonObject) -> JsonObject:
    return {"$type": "app.bsky.embed.images", "images": list(items)}


class TestReadBack:
    published = Published(remote_id="at://x", url="https://bsky.app/x", ref=None)

    @pytest.mark.parametrize(
        ("ours", "theirs", "codes"),
        [
            ({}, {}, ()),
            ({}, {"text": "Drugo"}, ("text",)),
            ({}, {"langs": ["de"]}, ("language",)),
            ({}, {"facets": [], "labels": {}}, ("links", "other")),
            ({}, {"reply": {"root": 1}}, ("parent",)),
            ({}, {"createdAt": "2026-11-24T10:30:00.000+01:00"}, ("created_at",)),
            ({}, {"embed": images(image("a"))}, ("media_count",)),
            ({"embed": images(image("a"))}, {"embed": {"images": "none"}}, ("media_count",)),
            ({"embed": images(image("a"))}, {"embed": images(image("b"))}, ("alt",)),
            ({"embed": images(image("a"))}, {"embed": {"images": [7]}}, ("alt",)),
            (
                {"embed": images(image("a"))},
                {"embed": images(image("a", "bafkreibbb"))},
                ("media",),
            ),
            ({"embed": {"external": {"uri": "a"}}}, {"embed": {"external": {}}}, ("card",)),
        ],
    )
    async def test_each_drift_has_its_code(
        self,
        adapter: BlueskyAdapter,
        platform: FakePlatform,
        ours: dict[str, object],
        theirs: dict[str, object],
        codes: tuple[str, ...],
    ) -> None:
        sent = json.loads(body_of("abc"))
        sent["record"] |= ours
        body = json.dumps(sent).encode()
        platform.routes[GET] = answer(200, stored(body, **theirs))
        seen = await adapter.read_back(credentials(platform.base_url), body, self.published)
        assert (seen.found, seen.differences) == (True, codes)

    async def test_a_deleted_record_is_absent(
        self, adapter: BlueskyAdapter, platform: FakePlatform
    ) -> None:
        platform.routes[GET] = error(400, "RecordNotFound")
        seen = await adapter.read_back(credentials(platform.base_url), body_of(), self.published)
        assert (seen.found, seen.differences) == (False, ("absent",))


def test_posts_are_read_in_the_public_app_unless_the_server_is_a_private_one() -> None:
    assert web_address("https://pds.karvenia.example/") == "https://bsky.app"
    assert web_address("http://127.0.0.1:8071/") == "http://127.0.0.1:8071"


class TestUpload:
    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            (error(400, "InvalidRequest", "unsupported"), ContentRejectedError),
            (error(400, "ExpiredToken"), CredentialsRejectedError),
            (answer(413, {"error": "PayloadTooLarge"}), UnavailableError),
            (answer(200, {"blob": {"ref": {"$link": "bafkreiaaai4wlau22"}}}), UnavailableError),
            (answer(200, {"blob": "x"}), UnavailableError),
        ],
    )
    async def test_each_refusal_has_its_next_step(
        self, adapter: BlueskyAdapter, platform: FakePlatform, said: Answer, kind: type[Exception]
    ) -> None:
        platform.routes[UPLOAD] = said
        with pytest.raises(kind):
            await adapter.upload(credentials(platform.base_url), picture(), PICTURE)
