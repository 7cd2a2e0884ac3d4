from collections.abc import AsyncIterator

import pytest

from adapters.base import Published
from adapters.egress import EgressPolicy
from adapters.errors import (
    ContentRejectedError,
    CredentialsRejectedError,
    UnavailableError,
)
from adapters.http import PlatformHttp
from adapters.mastodon import MastodonAdapter
from tests.contracts.adapter_contract import NOW, PICTURE, TEXT, picture
from tests.contracts.fake_platform import Answer, FakePlatform, answer
from tests.contracts.mastodon_server import OWN, body_of, credentials, status


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    async with FakePlatform() as platform:
        yield platform


@pytest.fixture
async def waits() -> list[float]:
    return []


@pytest.fixture
async def adapter(platform: FakePlatform, waits: list[float]) -> AsyncIterator[MastodonAdapter]:
    async def wait(seconds: float) -> None:
        waits.append(seconds)

    policy = EgressPolicy(frozenset({("127.0.0.1", platform.port)}))
    async with PlatformHttp(policy, sleep=wait) as http:
        yield MastodonAdapter(http)


class TestFind:
    async def find(
        self, adapter: MastodonAdapter, platform: FakePlatform, body: bytes | None = None
    ) -> Published | None:
        return await adapter.find(credentials(platform.base_url), body or body_of(), "key", NOW)

    async def test_a_post_is_found_by_its_source(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        platform.routes[OWN] = answer(200, [status(9, "Drugo"), status(8)])
        platform.routes["GET", "/api/v1/statuses/8/source"] = answer(200, {"text": f"{TEXT}\r\n"})
        found = await self.find(adapter, platform)
        assert found is not None
        assert found.remote_id == "8"

    async def test_a_post_is_found_by_its_html_where_the_source_is_not_offered(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        text = "Piši @mzz@social.karvenia.example & glej https://mzz.karvenia.example/sl"
        content = (
            '<p>Piši <span class="h-card"><a href="https://social.karvenia.example/@mzz">@<span>mzz'
            '</span></a></span> &amp; glej<br /><a href="https://mzz.karvenia.example/sl"><span '
            'class="invisible">https://</span><span>mzz.karvenia.example/sl</span></a></p>'
        )
        platform.routes[OWN] = answer(200, [status(8, content=content)])
        platform.routes["GET", "/api/v1/statuses/8/source"] = answer(403, {"error": "scopes"})
        found = await self.find(adapter, platform, body_of(text))
        assert found is not None

    @pytest.mark.parametrize(
        "other",
        [
            status(8, "Povsem nekaj drugega"),
            status(8, in_reply_to_id="5"),
            status(8, media_attachments=[{"id": "3"}]),
            status(8, created_at="2026-11-24T09:00:00.000Z"),
        ],
    )
    async def test_another_post_is_not_taken_for_ours(
        self, adapter: MastodonAdapter, platform: FakePlatform, other: dict[str, object]
    ) -> None:
        platform.routes[OWN] = [answer(200, [other]), answer(200, [])]
        assert await self.find(adapter, platform) is None

    async def test_the_same_words_with_another_source_are_another_post(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        platform.routes[OWN] = [answer(200, [status(8, f"{TEXT}!")]), answer(200, [])]
        platform.routes["GET", "/api/v1/statuses/8/source"] = answer(200, {"text": f"{TEXT}!"})
        assert await self.find(adapter, platform) is None

    async def test_a_post_of_signs_only_is_compared_sign_by_sign(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        platform.routes[OWN] = [answer(200, [status(8, "🎉🎉")]), answer(200, [])]
        assert await self.find(adapter, platform, body_of("🎉")) is None
        platform.routes[OWN] = answer(200, [status(8, "🎉")])
        assert await self.find(adapter, platform, body_of("🎉")) is not None

    async def test_the_search_goes_back_page_by_page_to_the_time_of_sending(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        pages = [[status(9, "a"), status(8, "b")], [status(7)]]
        platform.routes[OWN] = [answer(200, page) for page in pages]
        found = await self.find(adapter, platform)
        assert found is not None
        asked = [item.query.get("max_id") for item in platform.requests_to(*OWN)]
        assert asked[:2] == [None, "8"]

    async def test_a_server_whose_clock_is_a_minute_behind_still_shows_the_post(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        platform.routes[OWN] = answer(200, [status(8, created_at="2026-11-24T09:29:00.000Z")])
        assert await self.find(adapter, platform) is not None

    async def test_an_edit_of_another_post_leaves_absence_open(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        edited = status(8, "Spremenjeno", edited_at="2026-11-24T09:40:00.000Z")
        platform.routes[OWN] = [answer(200, [edited]), answer(200, [])]
        with pytest.raises(UnavailableError, match="edited"):
            await self.find(adapter, platform)
        platform.routes[OWN] = answer(200, [edited, status(7)])
        found = await self.find(adapter, platform)
        assert found is not None
        assert found.remote_id == "7"

    @pytest.mark.parametrize(
        "said",
        [
            answer(200, [status(8, created_at="yesterday")]),
            answer(200, [status(8, "x", created_at="2026-11-24T09:30:01")]),
            answer(200, [status(8, url=None, uri="urn:x")]),
            answer(200, [status(8, "ni konca")]),
            answer(200, [7]),
            answer(200, {}),
            answer(400, {"error": "bad token"}),
            answer(404, {"error": "Record not found"}),
            answer(422, {"error": "x"}),
            answer(500, {}),
        ],
    )
    async def test_absence_that_is_not_proven_is_not_reported(
        self, adapter: MastodonAdapter, platform: FakePlatform, said: Answer
    ) -> None:
        platform.routes[OWN] = said
        with pytest.raises(UnavailableError):
            await self.find(adapter, platform)

    async def test_a_source_that_cannot_be_read_now_leaves_it_open(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        platform.routes[OWN] = answer(200, [status(8)])
        platform.routes["GET", "/api/v1/statuses/8/source"] = answer(503, {"error": "busy"})
        with pytest.raises(UnavailableError):
            await self.find(adapter, platform)

    async def test_a_body_that_fill_did_not_make_is_a_bug(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        with pytest.raises(ValueError, match="fill"):
            await self.find(adapter, platform, b"[]")


class TestReadBack:
    published = Published(remote_id="8", url="https://social.karvenia.example/@mzz/8", ref="8")

    @pytest.mark.parametrize(
        ("changes", "codes"),
        [
            ({}, ()),
            ({"content": "<p>Drugo besedilo</p>"}, ("text",)),
            ({"media_attachments": [{"id": "3"}]}, ("media_count",)),
            ({"media_attachments": "none"}, ()),
            ({"language": "de"}, ("language",)),
            ({"language": None}, ("language",)),
            ({"in_reply_to_id": "4"}, ("parent",)),
            ({"visibility": "private", "sensitive": True}, ("visibility", "sensitive")),
            ({"spoiler_text": "CW"}, ("content_warning",)),
        ],
    )
    async def test_each_drift_has_its_code(
        self,
        adapter: MastodonAdapter,
        platform: FakePlatform,
        changes: dict[str, object],
        codes: tuple[str, ...],
    ) -> None:
        platform.routes["GET", "/api/v1/statuses/8"] = answer(200, status(8) | changes)
        seen = await adapter.read_back(credentials(platform.base_url), body_of(), self.published)
        assert (seen.found, seen.differences) == (True, codes)

    async def test_a_changed_source_is_a_drift_even_where_it_reads_the_same(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        platform.routes["GET", "/api/v1/statuses/8"] = answer(200, status(8))
        said = {"text": TEXT.replace(" ", "\n", 1)}
        platform.routes["GET", "/api/v1/statuses/8/source"] = answer(200, said)
        seen = await adapter.read_back(credentials(platform.base_url), body_of(), self.published)
        assert seen.differences == ("text",)

    async def test_a_source_without_text_falls_back_to_the_html(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        platform.routes["GET", "/api/v1/statuses/8"] = answer(200, status(8))
        platform.routes["GET", "/api/v1/statuses/8/source"] = answer(200, {"text": None})
        seen = await adapter.read_back(credentials(platform.base_url), body_of(), self.published)
        assert seen.differences == ()

    async def test_a_swapped_picture_is_a_drift(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        there = status(8, media_attachments=[{"id": "3"}, 7])
        platform.routes["GET", "/api/v1/statuses/8"] = answer(200, there)
        body = body_of(media_ids=["3", "4"])
        seen = await adapter.read_back(credentials(platform.base_url), body, self.published)
        assert seen.differences == ("media",)

    async def test_only_the_api_itself_can_say_that_a_post_is_gone(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        route = ("GET", "/api/v1/statuses/8")
        platform.routes[route] = answer(404, {"error": "Record not found"})
        seen = await adapter.read_back(credentials(platform.base_url), body_of(), self.published)
        assert (seen.found, seen.differences) == (False, ("absent",))
        platform.routes[route] = answer(404, b"<html>")
        with pytest.raises(UnavailableError):
            await adapter.read_back(credentials(platform.base_url), body_of(), self.published)


class TestUpload:
    async def upload(self, adapter: MastodonAdapter, platform: FakePlatform) -> object:
        return await adapter.upload(credentials(platform.base_url), picture(), PICTURE)

    async def test_the_picture_and_its_alternative_text_arrive_whole(
        self, adapter: MastodonAdapter, platform: FakePlatform
    ) -> None:
        platform.routes["POST", "/api/v2/media"] = answer(
            200, {"id": "22", "description": picture().alt}
        )
        assert await self.upload(adapter, platform) == "22"
        (request,) = platform.received
        assert PICTURE in request.body
        assert picture().alt.encode() in request.body

    async def test_it_waits_until_the_server_is_done(
        self, adapter: MastodonAdapter, platform: FakePlatform, waits: list[float]
    ) -> None:
        done = {"id": "22", "description": picture().alt}
        platform.routes["POST", "/api/v2/media"] = answer(202, done)
        platform.routes["GET", "/api/v1/media/22"] = [answer(206, done), answer(200, done)]
        assert await self.upload(adapter, platform) == "22"
        assert waits == [0.5, 1]

    async def test_it_gives_up_after_a_minute(
        self, adapter: MastodonAdapter, platform: FakePlatform, waits: list[float]
    ) -> None:
        done = {"id": "22", "description": picture().alt}
        platform.routes["POST", "/api/v2/media"] = answer(202, done)
        platform.routes["GET", "/api/v1/media/22"] = answer(206, done)
        with pytest.raises(UnavailableError) as caught:
            await self.upload(adapter, platform)
        assert caught.value.code == "media_processing"
        assert 50 < sum(waits) < 70

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            (answer(422, {"error": "File content type is invalid"}), ContentRejectedError),
            (answer(200, {"id": "22", "description": None}), ContentRejectedError),
            (answer(200, {"id": "22", "description": "Stavba"}), ContentRejectedError),
            (answer(401, {"error": "The access token was revoked"}), CredentialsRejectedError),
            (answer(404, {"error": "x"}), UnavailableError),
            (answer(500, {"error": "x"}), UnavailableError),
            (answer(200, {"url": "x"}), UnavailableError),
        ],
    )
    async def test_each_refusal_has_its_next_step(
        self, adapter: MastodonAdapter, platform: FakePlatform, said: Answer, kind: type[Exception]
    ) -> None:
        platform.routes["POST", "/api/v2/media"] = said
        with pytest.raises(kind):
            await self.upload(adapter, platform)


class TestVerify:
    @pytest.fixture
    def known(self, platform: FakePlatform) -> FakePlatform:
        platform.routes["GET", "/api/v1/accounts/verify_credentials"] = answer(
            200,
            {
                "id": "108",
                "username": "mzz",
                "display_name": "",
                "url": "https://social.karvenia.example/@mzz",
            },
        )
        return platform

    async def test_an_old_server_is_asked_the_old_way(
        self, adapter: MastodonAdapter, known: FakePlatform
    ) -> None:
        known.routes["GET", "/api/v1/instance"] = answer(
            200,
            {
                "uri": "social.karvenia.example",
                "version": "3.5.0 (compatible; Other 1.0)",
                "max_toot_chars": 5000,
                "configuration": {
                    "statuses": {"max_media_attachments": True, "characters_reserved_per_url": -1},
                    "media_attachments": {"image_size_limit": "big", "description_limit": 10**30},
                },
            },
        )
        profile = await adapter.verify(credentials(known.base_url))
        assert profile.limits == {"max_length": 5000}
        assert profile.display_name == "mzz"
        assert profile.handle == "@mzz@social.karvenia.example"
        assert profile.software.startswith("3.5.0")

    async def test_the_software_is_asked_on_the_same_host_only(
        self, adapter: MastodonAdapter, known: FakePlatform
    ) -> None:
        known.routes["GET", "/api/v2/instance"] = answer(200, {"domain": "d", "version": "4.7.0"})
        links = {"links": [{"rel": "x", "href": "https://elsewhere.example/nodeinfo/2.0"}]}
        known.routes["GET", "/.well-known/nodeinfo"] = answer(200, links)
        software = {"software": {"name": "mastodon", "version": "4.7.0"}}
        known.routes["GET", "/nodeinfo/2.0"] = answer(200, software)
        profile = await adapter.verify(credentials(known.base_url))
        assert profile.software == "mastodon 4.7.0"
        known.routes["GET", "/.well-known/nodeinfo"] = answer(
            200, {"links": [{"href": "http://["}]}
        )
        profile = await adapter.verify(credentials(known.base_url))
        assert profile.software == "4.7.0"
        for request in known.requests_to("GET", "/nodeinfo/2.0"):
            assert "authorization" not in request.headers

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            (answer(400, {"error": "invalid_token"}), CredentialsRejectedError),
            (answer(401, {"error": "The access token is invalid"}), CredentialsRejectedError),
            (answer(200, {"id": "108"}), UnavailableError),
            (answer(200, {"username": "mzz"}), UnavailableError),
            (answer(302, b""), UnavailableError),
        ],
    )
    async def test_each_refusal_has_its_next_step(
        self, adapter: MastodonAdapter, platform: FakePlatform, said: Answer, kind: type[Exception]
    ) -> None:
        platform.routes["GET", "/api/v1/accounts/verify_credentials"] = said
        with pytest.raises(kind):
            await adapter.verify(credentials(platform.base_url))
