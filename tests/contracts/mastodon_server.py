import html
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from adapters.base import Credentials
from tests.contracts.adapter_contract import (
    SECRET,
    TEXT,
)
from tests.contracts.fake_platform import Answer, FakePlatform, Received, answer

PUBLISH = ("POST", "/api/v1/statuses")
OWN = ("GET", "/api/v1/accounts/108/statuses")


def status(number: int = 1, text: str = TEXT, **changes: object) -> dict[str, object]:
    return {
        "id": str(number),
        "created_at": "2026-11-24T09:30:01.000Z",
        "url": f"https://social.karvenia.example/@mzz/{number}",
        "uri": f"https://social.karvenia.example/users/mzz/statuses/{number}",
        "content": f"<p>{html.escape(text)}</p>",
        "language": "sl",
        "visibility": "public",
        "sensitive": False,
        "spoiler_text": "",
        "in_reply_to_id": None,
        "media_attachments": [],
        "edited_at": None,
    } | changes


def credentials(base_url: str) -> Credentials:
    return Credentials(
        base_url=base_url, external_id="108", identifier="", secret=SECRET, session=None
    )


def body_of(text: str = TEXT, **changes: object) -> bytes:
    return json.dumps(
        {"status": text, "visibility": "public", "sensitive": False, "language": "sl"} | changes
    ).encode()


@dataclass(slots=True)
class KindMastodon:
    """The least server that behaves."""

    statuses: dict[str, dict[str, object]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    by_key: dict[str, str] = field(default_factory=dict)
    alts: dict[str, str] = field(default_factory=dict)

    def install(self, platform: FakePlatform) -> None:
        routes: dict[tuple[str, str], Answer | Callable[[Received], Answer]] = {
            ("GET", "/api/v1/accounts/verify_credentials"): answer(
                200,
                {
                    "id": "108",
                    "username": "mzz",
                    "display_name": "Ministrstvo",
                    "url": "https://social.karvenia.example/@mzz",
                },
            ),
            ("GET", "/api/v2/instance"): answer(
                200,
                {
                    "domain": "social.karvenia.example",
                    "version": "4.7.0",
                    "configuration": {"statuses": {"max_characters": 500}},
                },
            ),
            ("POST", "/api/v2/media"): self.store,
            ("POST", "/api/v1/statuses"): self.post,
            ("GET", "/api/v1/statuses/*"): self.show,
            OWN: self.own,
        }
        platform.routes.update(routes)

    def store(self, request: Received) -> Answer:
        marker = b'name="description"'
        alt = request.body.split(marker)[1].split(b"\r\n\r\n")[1].split(b"\r\n")[0].decode()
        media_id = str(len(self.alts) + 50)
        self.alts[media_id] = alt
        return answer(200, {"id": media_id, "description": alt})

    def post(self, request: Received) -> Answer:
        key = request.headers["idempotency-key"]
        if key not in self.by_key:
            sent = request.json()
            number = str(len(self.statuses) + 1)
            media = sent.get("media_ids", [])
            assert isinstance(media, list)
            moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            self.by_key[key] = number
            self.sources[number] = str(sent["status"])
            self.statuses[number] = status(
                int(number),
                str(sent["status"]),
                created_at=moment,
                language=sent["language"],
                in_reply_to_id=sent.get("in_reply_to_id"),
                media_attachments=[{"id": item} for item in media],
            )
        return answer(200, self.statuses[self.by_key[key]])

    def show(self, request: Received) -> Answer:
        number, _, rest = request.path.removeprefix("/api/v1/statuses/").partition("/")
        if rest == "source":
            return answer(200, {"id": number, "text": self.sources[number]})
        return answer(200, self.statuses[number])

    def own(self, request: Received) -> Answer:
        if "max_id" in request.query:
            return answer(200, [])
        return answer(200, list(reversed(self.statuses.values())))
