"""The API of the small Karvenia on a free port, and its people with tokens of their own."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Self

import pytest
from aiohttp import ClientSession, DummyCookieJar, web
from multidict import CIMultiDict, CIMultiDictProxy

from scheduler.db import persons
from scheduler.domain.people import Permission
from scheduler.services import sequencing, tokens
from scheduler.web.app import build_runner
from tests.support.world import World

PEOPLE = ("bizjak", "oblak", "hocevar", "zorc", "vidmar", "olena", "sato", "mlakar")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The stable code of a refusal."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.body
        assert self.json["status"] == self.status
        return str(self.json["code"])

    def of(self, status: int) -> Any:
        """The JSON answer, when the status is the expected one."""
        assert self.status == status, self.body.decode()
        return self.json if self.body else None


@dataclass(frozen=True, slots=True)
class Api:
    """Requests as one person; `as_` makes them as another."""

    world: World
    session: ClientSession
    base: str
    people: dict[str, str]  #: tokens by person code
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def as_(self, code: str) -> Self:
        return self._but(token=self.people[code])

    def with_token(self, token: str | None) -> Self:
        return self._but(token=token)

    def with_headers(self, **headers: str) -> Self:
        return self._but(headers={name.replace("_", "-"): value for name, value in headers.items()})

    async def get(self, path: str) -> Reply:
        return await self.send("GET", path)

    async def post(self, path: str, body: object = None) -> Reply:
        return await self.send("POST", path, body)

    async def patch(self, path: str, body: object) -> Reply:
        return await self.send("PATCH", path, body)

    async def delete(self, path: str, body: object = None) -> Reply:
        return await self.send("DELETE", path, body)

    async def send(self, method: str, path: str, body: object = None) -> Reply:
        data = None if body is None else json.dumps(body).encode()
        return await self.send_raw(method, path, data, content_type="application/json")

    async def send_raw(
        self, method: str, path: str, data: bytes | None, *, content_type: str | None
    ) -> Reply:
        headers = dict(self.headers)
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if data is not None and content_type is not None:
            headers["Content-Type"] = content_type
        url = self.base + (
            path
            if path.startswith(("/api", "/healthz", "/readyz", "/metrics"))
            else f"/api/v1{path}"
        )
        async with self.session.request(
            method,
            url,
            data=None if data is None else BytesIO(data),
            headers=headers,
            allow_redirects=False,
            skip_auto_headers=("Content-Type",),
        ) as answer:
            return Reply(
                answer.status, CIMultiDictProxy(CIMultiDict(answer.headers)), await answer.read()
            )

    async def seal(self) -> None:
        """Do the sequencer's work until nothing is left."""
        app = self.world.app
        while True:
            async with app.open_uow() as uow:
                if not await sequencing.seal(uow, app.log_keys, owner="test"):
                    return

    async def issue(self, code: str, *, scopes: frozenset[Permission] | None = None) -> str:
        """A further token of the person."""
        async with self.world.app.open_uow() as uow:
            person = await persons.get_by_code(uow, code)
            issued = await tokens.enrol(uow, person, issued_by=None)
            return (await tokens.redeem(uow, issued.code, scopes=scopes)).token

    async def draft(self, **fields: object) -> Any:
        """A post by the officer at headquarters, ready to be submitted."""
        body = {
            "mission": "krv.hq",
            "texts": {"en": [{"text": "Good morning from Lipovec!"}]},
            "targets": ["hq.mastodon"],
            "when": {"local": None},
            **fields,
        }
        return (await self.as_("hocevar").post("/posts", body)).of(201)

    async def submitted(self, **fields: object) -> Any:
        post = await self.draft(**fields)
        return (await self.submit(post)).of(200)

    async def submit(self, post: Any) -> Reply:
        return await self.act(post, "submit")

    async def act(self, post: Any, act: str, *, by: str = "hocevar") -> Reply:
        """Submit, withdraw, schedule or cancel the post as it was read."""
        person = self.as_(by).with_headers(If_Match=f'"{post["revision"]}"')
        return await person.post(f"/posts/{post['id']}/{act}")

    async def approve(self, post: Any, *, by: str = "zorc") -> Reply:
        return await self.as_(by).post(f"/posts/{post['id']}/approve", {"digest": post["digest"]})

    def _but(self, **changes: Any) -> Self:
        values = {
            name: getattr(self, name)
            for name in ("world", "session", "base", "people", "token", "headers")
        }
        return type(self)(**{**values, **changes})


async def issue_tokens(world: World) -> dict[str, str]:
    found = {}
    async with world.app.open_uow() as uow:
        for code in PEOPLE:
            issued = await tokens.enrol(uow, await persons.get_by_code(uow, code), issued_by=None)
            found[code] = (await tokens.redeem(uow, issued.code)).token
    return found


@pytest.fixture(name="site")
async def site_fixture(world: World) -> AsyncIterator[str]:
    """The address of the site, served as the web process does."""
    runner = build_runner(world.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.fixture(name="api")
async def api_fixture(world: World, site: str) -> AsyncIterator[Api]:
    people = await issue_tokens(world)
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield Api(world, session, site, people)
