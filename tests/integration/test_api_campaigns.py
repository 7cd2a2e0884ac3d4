"""Campaigns over HTTP, and posts that take part."""

from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name

BRIDGE = {"code": "bridge", "title": "The new bridge", "mission": "krv.hq"}


async def test_a_campaign_is_opened_seen_and_closed(api: Api) -> None:
    officer = api.as_("hocevar")
    made = (await officer.post("/campaigns", BRIDGE)).of(201)
    assert made | BRIDGE == made
    assert made["closed_at"] is None
    assert (await officer.get("/campaigns/bridge")).of(200) == made
    assert (await api.as_("olena").get("/campaigns")).of(200)["items"] == [made]
    assert (await officer.post("/campaigns", BRIDGE)).code == "code_taken"
    closed = (await officer.post("/campaigns/bridge/close")).of(200)
    assert closed["closed_at"] is not None
    assert (await officer.post("/campaigns/bridge/close")).code == "campaign_closed"
    assert (await officer.get("/campaigns/nothing")).code == "not_found"
    assert (await officer.get("/campaigns/No%20code")).code == "not_found"


async def test_a_post_takes_part_and_leaves(api: Api) -> None:
    officer = api.as_("hocevar")
    await officer.post("/campaigns", BRIDGE)
    post = await api.draft(campaign="bridge")
    assert post["campaign"] == "bridge"
    [line] = (await officer.get("/posts")).of(200)["items"]
    assert line["campaign"] == "bridge"
    kept = await officer.with_headers(If_Match='"1"').patch(f"/posts/{post['id']}", {"title": "T"})
    assert kept.of(200)["campaign"] == "bridge"
    left = await officer.with_headers(If_Match='"2"').patch(
        f"/posts/{post['id']}", {"campaign": None}
    )
    assert left.of(200)["campaign"] is None
    unknown = await officer.post("/posts", {"mission": "krv.hq", "campaign": "nothing"})
    assert (unknown.status, unknown.code) == (422, "campaign_unknown")


async def test_a_stop_names_its_campaign(api: Api) -> None:
    officer = api.as_("hocevar")
    await officer.post("/campaigns", BRIDGE)
    post = (await api.approve(await api.submitted(campaign="bridge"))).of(200)
    await api.approve(await api.submitted())
    receipt = await officer.post("/posture/stop", {"reason": "why", "campaign": "bridge"})
    assert [each["post"] for each in receipt.of(200)["caught"]] == [post["id"]]
    shown = (await officer.get("/posture")).of(200)
    assert (shown["stopped"], shown["postures"][0]["campaign"]) == (False, "bridge")
