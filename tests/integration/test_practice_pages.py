"""The pages of the practice network, as a browser gets them."""

import io
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from scheduler.practice import Platform, PracticeNetwork
from scheduler.practice.accounts import NewAccount

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Outline(HTMLParser):
    """Check that tags nest, and keep what the tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def attributes(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            found for name, found in self.tags if name == tag and wanted.items() <= found.items()
        ]


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[PracticeNetwork]:
    async with PracticeNetwork(tmp_path) as running:
        yield running


@pytest.fixture
def token(network: PracticeNetwork) -> str:
    new = NewAccount(handle="mfa", display_name="MFA <Karvenia>", note="Ministrstvo", language="sl")
    return str(network.open_account(Platform.MASTODON, new)["token"])


async def page(url: str, path: str) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession(url) as http, http.get(path) as answer:
        return answer.status, await answer.text(), answer.headers


async def publish(network: PracticeNetwork, token: str, **body: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(network.mastodon_url, headers=headers) as http,
        http.post("/api/v1/statuses", json=body) as answer,
    ):
        assert answer.status == 200
        return dict(await answer.json())


async def upload(network: PracticeNetwork, token: str, alt: str) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 16), "navy").save(buffer, "PNG")
    form = aiohttp.FormData({"description": alt})
    form.add_field("file", buffer.getvalue(), filename="a.png")
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(network.mastodon_url, headers=headers) as http,
        http.post("/api/v2/media", data=form) as answer,
    ):
        return str((await answer.json())["id"])


async def test_an_empty_network_says_so_on_both_ports(network: PracticeNetwork) -> None:
    for url, name in [(network.mastodon_url, "Mastodon"), (network.bluesky_url, "Bluesky")]:
        status, html, _ = await page(url, "/")
        assert status == 200
        assert "There are no accounts yet" in html
        assert f"PRACTICE {name}, not public</title>" in html


async def test_the_index_lists_the_accounts_of_both_platforms_with_their_counts(
    network: PracticeNetwork, token: str
) -> None:
    new = NewAccount(handle="mfa.karvenia.example", display_name="MFA Karvenia")
    network.open_account(Platform.BLUESKY, new)
    await publish(network, token, status="ena")
    await publish(network, token, status="skrita", visibility="private")
    for url in (network.mastodon_url, network.bluesky_url):
        _, html, _ = await page(url, "/")
        outline = Outline(html)
        assert outline.attributes("a", href=f"{network.mastodon_url}/@mfa")
        assert outline.attributes("a", href=f"{network.bluesky_url}/profile/mfa.karvenia.example")
        assert "Mastodon · 1 post<" in html
        assert "Bluesky · 0 posts<" in html


async def test_an_account_without_posts_says_so(network: PracticeNetwork, token: str) -> None:
    _, html, _ = await page(network.mastodon_url, "/@mfa")
    assert "has not published anything yet" in html
    assert '<p class="note" dir="auto" lang="sl">Ministrstvo</p>' in html


async def test_everything_that_people_wrote_is_escaped(
    network: PracticeNetwork, token: str
) -> None:
    media = await upload(network, token, '"><script>alert(1)</script>')
    text = "<script>alert(2)</script> & {{ 7 * 7 }}"
    await publish(network, token, status=text, media_ids=[media], spoiler_text="<b>pozor</b>")
    _, html, _ = await page(network.mastodon_url, "/@mfa")
    outline = Outline(html)
    assert not outline.attributes("script")
    assert not outline.attributes("b")
    assert "{{ 7 * 7 }}" in html
    assert "MFA &lt;Karvenia&gt;" in html
    assert outline.attributes("img")[0]["alt"] == '"><script>alert(1)</script>'


async def test_posts_are_newest_first_with_language_direction_and_time(
    network: PracticeNetwork, token: str
) -> None:
    await publish(network, token, status="Dober dan", language="sl")
    await publish(network, token, status="مرحبا من ليبوفيتس", language="ar")
    _, html, _ = await page(network.mastodon_url, "/@mfa")
    texts = [one for one in Outline(html).attributes("p") if one.get("class") == "text"]
    assert [(one["lang"], one["dir"]) for one in texts] == [("ar", "auto"), ("sl", "auto")]
    assert html.index("مرحبا") < html.index("Dober dan")
    assert re.search(r'<time datetime="[\d-]+T[\d:.]+Z">[\d-]+ [\d:]+ UTC</time>', html)


async def test_a_picture_is_shown_with_its_description(
    network: PracticeNetwork, token: str
) -> None:
    media = await upload(network, token, "Modra zastava")
    await publish(network, token, status="S sliko", media_ids=[media])
    _, html, _ = await page(network.mastodon_url, "/@mfa")
    (image,) = Outline(html).attributes("img")
    assert (image["alt"], image["width"], image["height"]) == ("Modra zastava", "32", "16")
    async with (
        aiohttp.ClientSession(network.mastodon_url) as http,
        http.get(str(image["src"])) as answer,
    ):
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert Image.open(io.BytesIO(await answer.read())).size == (32, 16)


async def test_a_thread_is_shown_whole_and_in_reading_order(
    network: PracticeNetwork, token: str
) -> None:
    first = await publish(network, token, status="prvi del")
    second = await publish(network, token, status="drugi del", in_reply_to_id=first["id"])
    await publish(network, token, status="tretji del", in_reply_to_id=second["id"])
    _, html, _ = await page(network.mastodon_url, f"/@mfa/{second['id']}")
    assert html.index("prvi del") < html.index("drugi del") < html.index("tretji del")
    (current,) = Outline(html).attributes("article", **{"class": "current"})
    assert current["id"] == f"post-{second['id']}"
    _, timeline, _ = await page(network.mastodon_url, "/@mfa")
    assert f'<a href="/@mfa/{first["id"]}">In reply to an earlier post</a>' in timeline


async def test_older_posts_are_a_page_further(network: PracticeNetwork, token: str) -> None:
    for number in range(51):
        await publish(network, token, status=f"objava št. {number}.")
    _, html, _ = await page(network.mastodon_url, "/@mfa")
    assert html.count("<article") == 50
    (older,) = re.findall(r'href="(/@mfa\?before=\d+)"', html)
    _, rest, _ = await page(network.mastodon_url, older)
    assert rest.count("<article") == 1
    assert "objava št. 0." in rest


async def test_what_is_not_here_is_a_404_page(network: PracticeNetwork, token: str) -> None:
    for path in ("/@nobody", "/@mfa/1", "/profile/nobody/post/x"):
        status, html, _ = await page(network.mastodon_url, path)
        assert status == 404
        assert "Not here" in html
    status, _, _ = await page(network.mastodon_url, f"/media/{'0' * 64}")
    assert status == 404


async def test_a_bluesky_timeline_shows_its_posts(network: PracticeNetwork) -> None:
    new = NewAccount(handle="mfa.karvenia.example", display_name="MFA Karvenia")
    opened = network.open_account(Platform.BLUESKY, new)
    async with aiohttp.ClientSession(network.bluesky_url) as http:
        login = {"identifier": opened["did"], "password": opened["app_password"]}
        async with http.post("/xrpc/com.atproto.server.createSession", json=login) as answer:
            token = (await answer.json())["accessJwt"]
        body = {
            "repo": opened["did"],
            "collection": "app.bsky.feed.post",
            "rkey": "3lka2bcdefg2h",
            "record": {"text": "Modro", "createdAt": "2027-03-22T06:00:00Z", "langs": ["sl"]},
        }
        path = "/xrpc/com.atproto.repo.createRecord"
        headers = {"Authorization": f"Bearer {token}"}
        async with http.post(path, json=body, headers=headers) as answer:
            assert answer.status == 200
    by_handle, by_id = "/profile/mfa.karvenia.example", f"/profile/{opened['did']}"
    post = "post/3lka2bcdefg2h"
    for where in (by_handle, f"{by_handle}/{post}", by_id, f"{by_id}/{post}"):
        status, html, _ = await page(network.bluesky_url, where)
        assert status == 200
        assert '<p class="text" dir="auto" lang="sl">Modro</p>' in html


async def test_pages_run_no_script_and_load_nothing_from_elsewhere(
    network: PracticeNetwork, token: str
) -> None:
    await publish(network, token, status="x")
    for path in ("/", "/@mfa", "/@nobody"):
        _, html, headers = await page(network.mastodon_url, path)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self'")
        assert "unsafe" not in policy
        outline = Outline(html)
        assert not outline.attributes("script")
        assert not [found for _, found in outline.tags if "style" in found]
        assert outline.attributes("html", lang="en")
        assert len(outline.attributes("h1")) == 1
        (sheet,) = outline.attributes("link", rel="stylesheet")
        status, css, _ = await page(network.mastodon_url, str(sheet["href"]))
        assert status == 200
        assert "light-dark(" in css
        assert "http" not in css
