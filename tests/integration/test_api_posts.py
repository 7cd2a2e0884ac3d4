"""Officers' posts and supervisors' decisions over HTTP."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from scheduler.clock import utc_now
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name
from tests.support.pictures import picture


async def test_a_post_goes_from_draft_to_the_public_over_the_api(api: Api) -> None:
    drafted = await api.draft(title="Morning")
    assert drafted["state"] == "draft"
    assert drafted["author"]["code"] == "hocevar"
    assert drafted["problems"] == []
    assert drafted["payloads"][0]["account"] == "hq.mastodon"
    submitted = (await api.submit(drafted)).of(200)
    assert submitted["state"] == "in_review"
    [awaiting] = (await api.as_("zorc").get("/approvals")).of(200)["items"]
    assert (awaiting["id"], awaiting["digest"]) == (submitted["id"], submitted["digest"])
    review = (await api.as_("zorc").get(f"/approvals/{submitted['id']}")).of(200)
    assert review["digest"] == submitted["digest"]
    assert review["payloads"] == submitted["payloads"]
    approved = (await api.approve(review | {"id": review["post"]})).of(200)
    assert approved["state"] == "scheduled"
    async with api.world.working():
        async with asyncio.timeout(20):
            while (shown := (await api.as_("hocevar").get(f"/posts/{approved['id']}")).of(200))["state"] != "closed":
                await asyncio.sleep(0.1)
    [delivery] = shown["deliveries"]
    assert delivery["remote_url"].startswith("http")
    whole = (await api.as_("hocevar").get(f"/deliveries/{delivery['id']}")).of(200)
    assert whole["attempts"][0]["outcome"] == "sent"
    assert [each["text"] for each in api.world.practice.posts()] == ["Good morning from Lipovec!"]
