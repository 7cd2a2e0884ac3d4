"""Campaigns over HTTP, and posts that take part."""

from scheduler.domain.people import Permission
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


async def test_the_list_goes_on_where_the_page_before_has_ended(api: Api) -> None:
    officer = api.as_("hocevar")
    for code in ("bridge", "forum", "cables"):
        (await officer.post("/campaigns", {**BRIDGE, "code": code})).of(201)
    first = (await officer.get("/campaigns?limit=2")).of(200)
    assert [each["code"] for each in first["items"]] == ["cables", "forum"]
    rest = (await officer.get(f"/campaigns?limit=2&cursor={first['next']}")).of(200)
    assert ([each["code"] for each in rest["items"]], rest["next"]) == (["bridge"], None)
    assert (await api.as_("sato").get("/campaigns?limit=1")).of(200)["next"] is not None


async def test_opening_and_closing_it_twice_with_one_key_is_done_once(api: Api) -> None:
    officer = api.as_("hocevar").with_headers(Idempotency_Key="bridge")
    made = (await officer.post("/campaigns", BRIDGE)).of(201)
    again = await officer.post("/campaigns", BRIDGE)
    assert (again.of(201), again.headers["Idempotent-Replay"]) == (made, "true")
    closing = api.as_("hocevar").with_headers(Idempotency_Key="over")
    closed = (await closing.post("/campaigns/bridge/close")).of(200)
    assert (await closing.post("/campaigns/bridge/close")).of(200) == closed


async def test_who_may_not_open_or_close_it_is_refused_by_name(api: Api) -> None:
    auditor, embassy = api.as_("mlakar"), api.as_("olena")
    assert (await auditor.post("/campaigns", BRIDGE)).code == "permission_denied"
    assert (await embassy.post("/campaigns", BRIDGE)).code == "not_found"
    assert (await api.as_("hocevar").post("/campaigns", BRIDGE)).status == 201
    for each in (auditor, embassy):
        assert (await each.post("/campaigns/bridge/close")).code == "permission_denied"
        stop = {"reason": "why", "campaign": "bridge"}
        assert (await each.post("/posture/stop", stop)).code == "permission_denied"
    reading = await api.issue("hocevar", scopes=frozenset({Permission.READ}))
    assert (await api.with_token(reading).post("/campaigns/bridge/close")).code == "token_scope"


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
    await officer.post("/campaigns/bridge/close")
    joining = await officer.with_headers(If_Match='"3"').patch(
        f"/posts/{post['id']}", {"campaign": "bridge"}
    )
    assert (joining.status, joining.code) == (409, "campaign_closed")


async def test_a_post_of_a_closed_campaign_is_not_repeated(api: Api) -> None:
    officer = api.as_("hocevar")
    await officer.post("/campaigns", BRIDGE)
    post = await api.draft(campaign="bridge")
    await officer.post("/campaigns/bridge/close")
    repeat = {"rule": "weekly MO 09:00", "starts_on": "2090-06-01", "count": 2}
    refused = await officer.post(f"/posts/{post['id']}/repeat", repeat)
    assert (refused.status, refused.code) == (409, "campaign_closed")


async def test_a_supervisor_sees_the_campaign_and_that_leaving_it_needs_another_approval(
    api: Api,
) -> None:
    officer = api.as_("hocevar")
    await officer.post("/campaigns", BRIDGE)
    post = await api.submitted(campaign="bridge", when={"local": "2090-06-01T09:00"})
    review = (await api.as_("zorc").get(f"/approvals/{post['id']}")).of(200)
    assert (review["campaign"], review["digest"]) == ("bridge", post["digest"])
    approved = (await api.approve(post)).of(200)
    assert approved["state"] == "scheduled"
    left = await officer.with_headers(If_Match=f'"{approved["revision"]}"').patch(
        f"/posts/{post['id']}", {"campaign": None}
    )
    assert (left.of(200)["state"], left.of(200)["digest"]) == ("draft", None)
    assert {each["state"] for each in left.of(200)["deliveries"]} == {"planned"}


async def test_a_stop_names_its_campaign(api: Api) -> None:
    officer = api.as_("hocevar")
    await officer.post("/campaigns", BRIDGE)
    post = (await api.approve(await api.submitted(campaign="bridge"))).of(200)
    await api.approve(await api.submitted())
    receipt = await officer.post("/posture/stop", {"reason": "why", "campaign": "bridge"})
    assert [each["post"] for each in receipt.of(200)["caught"]] == [post["id"]]
    shown = (await officer.get("/posture")).of(200)
    assert (shown["stopped"], shown["postures"][0]["campaign"]) == (False, "bridge")
