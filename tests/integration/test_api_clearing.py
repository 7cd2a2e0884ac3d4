"""Clearance over the API: what awaits whom, the path, and every refusal by its code."""

from typing import Any

from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name
from tests.integration.clearing_fixtures import staff

RAIL = {"en": [{"text": "The railway opens."}]}


async def _people(api: Api) -> None:
    """The small Karvenia with an office for each of these, and their tokens."""
    await staff(api.world)
    for code in ("pogacnik", "furlan", "hribernik", "dolinar", "kralj"):
        api.people[code] = await api.issue(code)


async def _decide(api: Api, post: Any, act: str, by: str, **body: Any) -> Any:
    return await api.as_(by).post(f"/posts/{post['id']}/{act}", {"digest": post["digest"], **body})


async def test_offices_decide_over_the_api(api: Api) -> None:
    await _people(api)
    post = await api.submitted(texts=RAIL, **{"class": "statement"})
    [line] = (await api.as_("furlan").get("/approvals")).of(200)["items"]
    assert (line["id"], line["turn"]) == (post["id"], "clear")
    assert "one person of protocol has to clear (rule rail)" in line["waits_for"]
    review = (await api.as_("hribernik").get(f"/approvals/{post['id']}")).of(200)
    assert (review["workflow"], review["turn"], review["decisions"]) == ("Statements", None, [])
    assert [(each["mode"], each["offices"], each["rule"]) for each in review["steps"]] == [
        ("clear", ["desk"], "rail"),
        ("clear", ["protocol"], "rail"),
        ("clear", ["desk"], ""),
        ("approve", ["press"], ""),
        ("approve", ["minister"], ""),
    ]
    desk = review["steps"][2]
    [jure] = desk["candidates"]
    assert (jure["code"], jure["zone"]) == ("pogacnik", "Europe/Ljubljana")
    assert desk["act_by"].endswith("Z")
    assert jure["act_by_local"].endswith(("+01:00", "+02:00"))

    assert (await _decide(api, post, "approve", "hribernik")).code == "clearance_missing"
    assert (await _decide(api, post, "clear", "zorc")).code == "not_asked"
    assert (await _decide(api, post, "clear", "hocevar")).code == "permission_denied"
    assert (await _decide(api, post, "clear", "furlan")).of(200)["state"] == "in_review"
    assert (await _decide(api, post, "clear", "furlan")).code == "decided_already"
    glass = {"break_glass": "a flood in Lipovec"}
    assert (await _decide(api, post, "approve", "dolinar", **glass)).code == "break_glass_denied"
    (await _decide(api, post, "approve", "hribernik", **glass)).of(200)
    review = (await api.as_("dolinar").get(f"/approvals/{post['id']}")).of(200)
    assert review["turn"] == "approve"
    assert [
        (each["person"]["code"], each["mode"], each["reason"]) for each in review["decisions"]
    ] == [
        ("furlan", "clear", ""),
        ("hribernik", "break_glass", "a flood in Lipovec"),
    ]
    assert (await _decide(api, post, "approve", "dolinar")).of(200)["state"] == "scheduled"
    after = (await api.as_("dolinar").get(f"/approvals/{post['id']}")).of(200)
    assert (after["steps"], after["turn"]) == ([], None)


async def test_reasons_for_warnings_and_overrides(api: Api) -> None:
    await _people(api)
    post = await api.draft(texts={"en": [{"text": "The Old Bridge, alas."}]})

    async def submit(**accept: str) -> Any:
        officer = api.as_("hocevar").with_headers(If_Match='"1"')
        return await officer.post(f"/posts/{post['id']}/submit", {"accept": accept})

    refused = await submit(tone="a poem")
    assert (refused.code, refused.json["findings"][0]["override"]) == ("policy_blocked", "protocol")
    refused = await submit(name="the title of a film")
    assert (refused.code, refused.json["findings"][0]["rule"]) == ("acceptance_missing", "tone")
    assert (await submit(tone=" ", name="x")).code == "body_invalid"
    extra = await submit(tone="a poem", name="a film", rail="why not")
    assert extra.code == "nothing_to_accept"
    sent = (await submit(tone="a poem", name="a film")).of(200)
    assert sent["accepted"] == {"tone": "a poem", "name": "a film"}
    explained = (await api.as_("hocevar").get(f"/posts/{post['id']}/explain")).of(200)
    assert [
        each["message"] for each in explained["obstacles"] if each["code"] == "decision_missing"
    ] == [
        "one person of protocol has to clear (rule name)",
        "one person of supervisor has to approve",
    ]


async def test_an_office_stands_on_its_grant(api: Api) -> None:
    body = {"person": "olena", "mission": "krv.kyi", "role": "clearer", "office": "desk.east"}
    made = (await api.as_("bizjak").post("/grants", body)).of(201)
    assert (made["role"], made["office"]) == ("clearer", "desk.east")
    wrong = await api.as_("bizjak").post("/grants", {**body, "role": "officer"})
    assert wrong.code == "office_role"
    for office in ("Desk", "desk east", "a" * 61, "desk..east"):
        refused = await api.as_("bizjak").post("/grants", {**body, "office": office})
        assert refused.status == 422, office
