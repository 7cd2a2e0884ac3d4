"""Plays the scenario through the API: every person with their own token, as they would."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

import aiohttp
from PIL import Image, ImageDraw, ImageFont

from scheduler.clock import utc_now
from scheduler.commands.demo.stage import Cast
from scheduler.practice.scenario import ScenarioImage, ScenarioPost

#: The first post leaves this long after the playing began; drafting is much faster than the clock.
LEAD: Final = timedelta(seconds=12)
#: All posts leave within this time.
SPAN: Final = timedelta(seconds=36)
#: As much of a text as one line of the terminal shows.
_LINE: Final = 48
_SETTLED: Final = frozenset({"verified", "drifted", "rejected", "held", "expired", "cancelled"})


class PlayError(Exception):
    """The API answered as it should not; the message holds its own words."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.code = str(problem.get("code"))
        self.findings: list[dict[str, Any]] = problem.get("findings") or []


@dataclass(slots=True)
class Api:
    """The installation's API as one person sees it at a time."""

    base_url: str
    tokens: Mapping[str, str]
    session: aiohttp.ClientSession = field(init=False)

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def call(
        self,
        person: str,
        method: str,
        path: str,
        body: Any = None,  # noqa: ANN401 - JSON, or bytes of a picture
        **headers: str,
    ) -> Any:  # noqa: ANN401 - the endpoint's JSON
        """Ask as `person`.

        Raises:
            PlayError: any refusal.
        """
        sent = {"Authorization": f"Bearer {self.tokens[person]}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        if body is None:
            content = {}
        url = f"{self.base_url}/api/v1{path}"
        async with self.session.request(method, url, headers=sent, **content) as answer:
            result = await answer.json(content_type=None)
            if answer.status >= 400:  # noqa: PLR2004 - HTTP's own border
                raise PlayError(answer.status, result)
        return result


@dataclass(slots=True)
class Score:
    """What has happened on the way."""

    posts: int = 0
    returned: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  #: codes of posts that the policy stopped
    waiting: list[str] = field(default_factory=list)
    last_due: datetime | None = None


@dataclass(slots=True)
class Play:
    """The scenario's posts, drafted in the order of their times, which are compressed into `SPAN`."""

    api: Api
    cast: Cast
    texts: Mapping[str, Mapping[str, list[str]]]
    tell: Callable[[str], None]
    score: Score = field(default_factory=Score)
    _pictures: dict[str, str] = field(default_factory=dict)

    async def perform(self, posts: Sequence[ScenarioPost]) -> Score:
        """Draft, submit and decide every post that the demo can play; the worker does the rest."""
        playable = [post for post in posts if self._can_play(post)]
        due = [post for post in playable if post.final == "published"]
        start = (utc_now() + LEAD).replace(microsecond=0) + timedelta(seconds=1)
        step = SPAN / max(1, len(due) - 1)
        times = {post.code: start + index * step for index, post in enumerate(due)}
        for post in playable:
            at = times.get(post.code, start + SPAN + timedelta(hours=1))
            await self._play(post, at.replace(microsecond=0))
        return self.score

    def _can_play(self, post: ScenarioPost) -> bool:
        """Whether it is published, blocked or waits for approval at the end of its story."""
        finals = {"published", "blocked", "awaiting_approval"}
        return post.final in finals and bool(self.texts.get(post.code))

    async def _play(self, post: ScenarioPost, at: datetime) -> None:
        draft = await self._draft(post, at)
        if draft is None:
            return
        try:
            submitted = await self._submit(post, draft)
        except PlayError as exc:
            if exc.code != "policy_blocked":
                raise
            self.score.refused.append(post.code)
            self.tell(f"the policy stops a draft by {post.author}: {exc}")
            await self._cancel(post, draft)
            return
        if post.final == "published":
            if not self.score.returned:
                submitted = await self._return_once(post, submitted)
            await self._approve(post, submitted, at)
        elif post.final == "blocked":  # by a rule this release does not know yet: not approved
            await self._cancel(post, submitted)
        else:
            self.score.waiting.append(submitted["id"])

    async def _draft(self, post: ScenarioPost, at: datetime) -> Any:  # noqa: ANN401 - the API's JSON
        local = at.astimezone(ZoneInfo(post.zone))
        images = [
            {"sha256": await self._picture(post.author, image), "alt": image.alt}
            for image in post.images
        ]
        fitting = self.texts[post.code]
        body = {
            "mission": self.cast.homes[post.author],
            "class": post.post_class,
            "texts": {post.language: _segments(list(post.texts), images)},
            "variants": {
                account: _segments(parts, images)
                for account, parts in fitting.items()
                if parts != list(post.texts)
            },
            "targets": sorted(fitting),
            "facts": post.facts,
            "languages": dict.fromkeys(fitting, post.language),
            "when": {
                "local": local.strftime("%Y-%m-%dT%H:%M:%S"),
                "zone": post.zone,
                "choice": "later" if local.fold else "earlier",
            },
        }
        try:
            return await self.api.call(
                post.author, "POST", "/posts", body, Idempotency_Key=f"demo-{post.code}"
            )
        except PlayError as exc:
            if (
                exc.code != "account_unknown"
            ):  # somebody of another mission, who may not write there
                raise
            return None

    async def _submit(self, post: ScenarioPost, draft: Any) -> Any:  # noqa: ANN401 - the API's JSON
        """Submit, and where the policy warns say why it is right all the same."""
        path, etag = f"/posts/{draft['id']}/submit", _etag(draft)
        try:
            return await self.api.call(post.author, "POST", path, If_Match=etag)
        except PlayError as exc:
            if exc.code != "acceptance_missing":
                raise
            accept = {each["rule"]: "seen, and meant so" for each in exc.findings}
            self.tell(f"{post.author} accepts a warning: {exc.findings[0]['message']}")
        return await self.api.call(post.author, "POST", path, {"accept": accept}, If_Match=etag)

    async def _return_once(self, post: ScenarioPost, submitted: Any) -> Any:  # noqa: ANN401 - the API's JSON
        """A supervisor sends the first post back; its author mends it and submits it again."""
        supervisor, path = self._supervisor(post), f"/posts/{submitted['id']}"
        comment = {"comment": "Please give it a title, so that we find it in the calendar."}
        await self.api.call(supervisor, "POST", f"{path}/return", comment)
        self.score.returned.append(submitted["id"])
        self.tell(f"{supervisor} returns a post to {post.author}: {comment['comment']}")
        seen = await self.api.call(post.author, "GET", path)
        edited = await self.api.call(
            post.author, "PATCH", path, {"title": "The week ahead"}, If_Match=_etag(seen)
        )
        return await self._submit(post, edited)

    async def _approve(self, post: ScenarioPost, submitted: Any, at: datetime) -> None:  # noqa: ANN401
        supervisor, path = self._supervisor(post), f"/posts/{submitted['id']}/approve"
        await self._clear(supervisor, submitted)
        await self.api.call(supervisor, "POST", path, {"digest": submitted["digest"]})
        self.score.posts += 1
        self.score.last_due = at
        self.tell(f"{post.author} wrote, {supervisor} approved: {_shortened(post.texts[0])}")

    async def _clear(self, supervisor: str, submitted: Any) -> None:  # noqa: ANN401 - the API's JSON
        """Whoever is asked to clears the post for their office."""
        review = await self.api.call(supervisor, "GET", f"/approvals/{submitted['id']}")
        asked = [each for each in review["steps"] if each["mode"] == "clear" and each["missing"]]
        cleared: set[str] = set()
        for step in asked:
            able = [each["code"] for each in step["candidates"]]
            if cleared.intersection(able) or not able:
                continue
            cleared.add(able[0])
            path = f"/posts/{submitted['id']}/clear"
            await self.api.call(able[0], "POST", path, {"digest": submitted["digest"]})
            self.tell(f"{able[0]} clears it for {' or '.join(step['offices'])}")

    async def _cancel(self, post: ScenarioPost, seen: Any) -> None:  # noqa: ANN401 - the API's JSON
        path = f"/posts/{seen['id']}/cancel"
        await self.api.call(post.author, "POST", path, If_Match=_etag(seen))

    def _supervisor(self, post: ScenarioPost) -> str:
        return next(each for each in self.cast.supervisors if each != post.author)

    async def _picture(self, author: str, image: ScenarioImage) -> str:
        if image.alt not in self._pictures:
            path = f"/media?mission={self.cast.homes[author]}"
            answer = await self.api.call(
                author, "POST", path, draw(image.alt), Content_Type="image/jpeg"
            )
            self._pictures[image.alt] = answer["sha256"]
        return self._pictures[image.alt]


async def watch(api: Api, person: str) -> list[dict[str, Any]]:
    """All deliveries as they stand now, without those that wait for a person to write or approve."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await api.call(person, "GET", f"/deliveries?limit=200{cursor}")
        found += [each for each in page["items"] if each["state"] != "planned"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


def is_settled(delivery: Mapping[str, Any]) -> bool:
    return delivery["state"] in _SETTLED


def draw(alt: str) -> bytes:
    """A picture for the demo: two colours made from the alt text, with the place of an imaginary camera in it."""
    seed = sum(alt.encode())
    image = Image.new("RGB", (960, 540), (40 + seed % 120, 70 + seed % 90, 110 + seed % 100))
    pen = ImageDraw.Draw(image)
    pen.ellipse((560, -160, 1160, 440), fill=(200, 180 + seed % 60, 120))
    pen.text((40, 460), alt[:60], fill=(255, 255, 255), font=ImageFont.load_default(28))
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (46.0, 3.0, 5.0), 3: "E", 4: (14.0, 30.0, 20.0)}  # removed on upload
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88, exif=exif)
    return out.getvalue()


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LINE else f"{line[:_LINE]}…"


def _segments(texts: list[str], images: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [
        {"text": text, "media": images if index == 0 else []} for index, text in enumerate(texts)
    ]


def _etag(post: Mapping[str, Any]) -> str:
    return f'"{post["revision"]}"'
