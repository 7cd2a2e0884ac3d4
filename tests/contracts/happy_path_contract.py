"""What every adapter does on a server that behaves; override `live` with any address and login."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.base import (
    Adapter,
    Content,
    Credentials,
    Json,
    JsonObject,
    LinkCard,
    LinkCards,
    Published,
    Segment,
    fill,
)
from adapters.errors import ContentRejectedError, UnavailableError
from tests.contracts.adapter_contract import PICTURE, TEXT, picture, slots


@dataclass(frozen=True, slots=True)
class Live:
    """A server that behaves, and a login on it."""

    adapter: Adapter
    credentials: Credentials  #: as a person enters them: no external id, no session


class HappyPathContract(ABC):
    """Runs against a server that behaves: override `live` with any address and login."""

    @pytest.fixture
    @abstractmethod
    def live(self) -> Live: ...

    async def log_in(self, live: Live) -> Credentials:
        credentials = live.credentials
        if live.adapter.needs_refresh(credentials, datetime.now(UTC)):
            credentials = await live.adapter.refresh(credentials)
        profile = await live.adapter.verify(credentials)
        return replace(credentials, external_id=profile.external_id)

    async def send(
        self, live: Live, credentials: Credentials, template: JsonObject, key: str, **values: Json
    ) -> tuple[bytes, Published]:
        now = datetime.now(UTC)
        record_key = live.adapter.record_key(now, key)
        body = fill(template, slots(record_key, at=now, **values))
        return body, await live.adapter.publish(credentials, body, key)

    async def check_stands(
        self, live: Live, credentials: Credentials, body: bytes, published: Published
    ) -> None:
        """It stands as approved; where a platform cannot be asked, it says so instead of guessing."""
        if not live.adapter.capabilities.read_back:
            with pytest.raises(UnavailableError):
                await live.adapter.read_back(credentials, body, published)
            return
        seen = await live.adapter.read_back(credentials, body, published)
        assert (seen.found, seen.differences) == (True, ())
        assert len(seen.evidence_sha256) == 64

    async def test_who_am_i_answers_with_a_name_an_address_and_limits(self, live: Live) -> None:
        credentials = await self.log_in(live)
        profile = await live.adapter.verify(credentials)
        assert profile.external_id == credentials.external_id
        assert profile.handle.startswith("@")
        assert profile.url.startswith("http")
        assert profile.display_name
        assert profile.software
        assert all(value > 0 for value in profile.limits.values())

    async def test_a_text_is_published_stands_as_approved_and_is_found_again(
        self, live: Live
    ) -> None:
        since = datetime.now(UTC) - timedelta(seconds=1)
        credentials = await self.log_in(live)
        content = Content(segments=(Segment(text=TEXT),), language="sl")
        (template,) = live.adapter.render(content, credentials.external_id, {})
        body, published = await self.send(live, credentials, template, "text-1")
        await self.check_stands(live, credentials, body, published)
        if live.adapter.capabilities.lookup:
            assert await live.adapter.find(credentials, body, "text-1", since) == published
        repeated = await live.adapter.publish(credentials, body, "text-1")
        assert repeated == published

    async def test_a_post_that_was_never_sent_is_proven_absent(self, live: Live) -> None:
        since = datetime.now(UTC) - timedelta(seconds=1)
        credentials = await self.log_in(live)
        content = Content(segments=(Segment(text=f"{TEXT} never"),), language="sl")
        (template,) = live.adapter.render(content, credentials.external_id, {})
        body = fill(template, slots(live.adapter.record_key(since, "absent-1"), at=since))
        if live.adapter.capabilities.lookup:
            assert await live.adapter.find(credentials, body, "absent-1", since) is None
            return
        with pytest.raises(UnavailableError):
            await live.adapter.find(credentials, body, "absent-1", since)

    async def test_a_picture_keeps_its_alternative_text(self, live: Live) -> None:
        credentials = await self.log_in(live)
        media = picture()
        content = Content(segments=(Segment(text="Slika", media=(media,)),), language="sl")
        if not live.adapter.capabilities.max_media:
            with pytest.raises(ContentRejectedError):
                await live.adapter.upload(credentials, media, PICTURE)
            return
        (template,) = live.adapter.render(content, credentials.external_id, {})
        reference = await live.adapter.upload(credentials, media, PICTURE)
        body, published = await self.send(
            live, credentials, template, "picture-1", media={media.sha256: reference}
        )
        await self.check_stands(live, credentials, body, published)

    async def test_a_thread_hangs_together(self, live: Live) -> None:
        credentials = await self.log_in(live)
        segments = tuple(Segment(text=f"{number}/3 Здраво") for number in (1, 2, 3))
        content = Content(segments=segments, language="sr-Cyrl")
        if not live.adapter.capabilities.threads:
            problems = live.adapter.problems(content, {})
            assert [problem.code for problem in problems] == ["thread_unsupported"]
            return
        first, *rest = live.adapter.render(content, credentials.external_id, {})
        body, root = await self.send(live, credentials, first, "thread-0")
        parent = root
        for number, template in enumerate(rest, start=1):
            body, parent = await self.send(
                live, credentials, template, f"thread-{number}", parent=parent.ref, root=root.ref
            )
            await self.check_stands(live, credentials, body, parent)
        assert json.loads(body) != {}

    async def test_a_link_card_is_carried_or_refused_never_dropped(self, live: Live) -> None:
        credentials = await self.log_in(live)
        card = LinkCard(uri="https://mzz.karvenia.example/sl", title="MZZ", description="")
        content = Content(segments=(Segment(text="Več"),), language="sl", card=card)
        codes = {problem.code for problem in live.adapter.problems(content, {})}
        if live.adapter.capabilities.link_card is not LinkCards.SUPPLIED:
            assert codes == {"card_unsupported"}
            return
        (template,) = live.adapter.render(content, credentials.external_id, {})
        body, published = await self.send(live, credentials, template, "card-1")
        await self.check_stands(live, credentials, body, published)
