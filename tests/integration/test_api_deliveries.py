"""Deliveries and the policy over HTTP."""

from typing import Any
from uuid import UUID, uuid4

from scheduler.db import deliveries
from scheduler.db.tables import Attempt, Delivery
from scheduler.domain.delivery_flow import DeliveryMove
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name
from tests.support.world import POLICY_TEXT

LOOK = {"at": "2026-11-25T08:00:00.000000Z", "saw": "no_answer", "code": "unreachable"}


async def _held(api: Api, *, outcome: str | None = None) -> Any:
    """An approved post's delivery that waits for a person, perhaps after a try that ended so."""
    post = (await api.approve(await api.submitted())).of(200)
    async with api.world.app.open_uow() as uow:
        row = await uow.session.get_one(Delivery, UUID(post["deliveries"][0]["id"]))
        values: dict[str, object] = {}
        if outcome is not None:
            values["attempts"] = 1
            uow.session.add(
                Attempt(
                    delivery_id=row.id, number=1, part=0, fence=0, idempotency_key="k", request=b"{}",
                    request_sha256="0" * 64, started_at=uow.now, deadline=uow.now, outcome=outcome,
                    evidence={"status": 0, "looks": [LOOK]}, code="answer_lost", message="no answer", ended_at=uow.now,
                )
            )  # fmt: skip
        await deliveries.move(
            uow, row, DeliveryMove.HOLD, reason="late: too late", wake_at=None, **values
        )
    return post["deliveries"][0]


async def test_held_deliveries_are_found_by_state_and_released_with_a_reason(api: Api) -> None:
    held = await _held(api)
    supervisor = api.as_("zorc")
    [found] = (await supervisor.get("/deliveries?state=held&state=unknown")).of(200)["items"]
    assert (found["id"], found["state"], found["reason"]) == (held["id"], "held", "late: too late")
    assert (await supervisor.get("/deliveries?state=sent")).of(200)["items"] == []
    assert (await supervisor.get("/deliveries?state=lost")).code == "query_invalid"
    path = f"/deliveries/{held['id']}/retry"
    assert (await api.as_("hocevar").post(path, {"reason": "now"})).code == "permission_denied"
    assert (await supervisor.post(path, {"reason": " "})).code == "reason_missing"
    assert (
        await supervisor.post(path, {"reason": "now", "delay_minutes": 1441})
    ).code == "body_invalid"
    assert (
        await supervisor.post(path, {"reason": "now", "delay_minutes": 1440})
    ).code == "window_over"
    released = (await supervisor.post(path, {"reason": "now", "delay_minutes": 30})).of(200)
    assert (released["state"], released["reason"]) == ("ready", "")
    assert (await supervisor.post(path, {"reason": "now"})).code == "move_not_allowed"


async def test_a_held_delivery_is_what_its_post_waits_for(api: Api) -> None:
    held = await _held(api)
    shown = (await api.as_("zorc").get(f"/deliveries/{held['id']}")).of(200)
    explained = (await api.as_("hocevar").get(f"/posts/{shown['post']}/explain")).of(200)
    assert explained["obstacles"] == [
        {"account": "hq.mastodon", "code": "delivery_held", "message": "late: too late"}
    ]


async def test_a_doubtful_try_is_repeated_only_when_somebody_has_looked(api: Api) -> None:
    held = await _held(api, outcome="unknown")
    supervisor, path = api.as_("zorc"), f"/deliveries/{held['id']}"
    shown = (await supervisor.get(path)).of(200)
    assert shown["attempts"][0] | {"started_at": 0, "ended_at": 0, "deadline": 0} == {
        "number": 1, "part": 0, "outcome": "unknown", "code": "answer_lost", "message": "no answer",
        "started_at": 0, "ended_at": 0, "deadline": 0, "request_sha256": "0" * 64,
        "evidence": {"status": 0}, "body": None,
        "looks": [
            {"at": "2026-11-25T08:00:00Z", "saw": "no_answer", "code": "unreachable",
             "message": "", "url": None, "evidence": {}},
        ],
    }  # fmt: skip
    assert shown["account_url"].startswith("http")
    with_body = (await supervisor.get(f"{path}?body=true")).of(200)
    assert with_body["attempts"][0]["body"] == "{}"
    refused = await supervisor.post(f"{path}/retry", {"reason": "again"})
    assert (refused.status, refused.code) == (409, "maybe_public")
    assert refused.json["url"].startswith("http")
    body = {"reason": "I have looked", "not_public": True}
    assert (await supervisor.post(f"{path}/retry", body)).of(200)["state"] == "ready"


async def test_a_person_ends_a_delivery_for_good(api: Api) -> None:
    supervisor = api.as_("zorc")
    posted, cancelled = await _held(api, outcome="unknown"), await _held(api)
    by_hand = await _held(api)
    path = f"/deliveries/{posted['id']}/resolve"
    body = {"reason": "posted by hand", "resolution": "posted"}
    assert (await supervisor.post(path, body)).code == "address_missing"
    done = (
        await supervisor.post(path, body | {"url": "https://social.karvenia.example/@hq/1"})
    ).of(200)
    assert (done["state"], done["remote_url"]) == ("sent", "https://social.karvenia.example/@hq/1")
    assert done["reason"] == "found public, says Petra Zorc (zorc): posted by hand"
    body = {"reason": "the server was away", "resolution": "by_hand"}
    path = f"/deliveries/{by_hand['id']}/resolve"
    assert (await supervisor.post(path, body)).code == "address_missing"
    address = "https://social.karvenia.example/@hq/2"
    done = (await supervisor.post(path, body | {"url": address})).of(200)
    assert (done["state"], done["remote_url"]) == ("sent", address)
    assert done["reason"] == "posted by hand, says Petra Zorc (zorc): the server was away"
    body = {"reason": "no longer needed", "resolution": "cancelled"}
    ended = (await supervisor.post(f"/deliveries/{cancelled['id']}/resolve", body)).of(200)
    assert ended["state"] == "cancelled"
    assert (await supervisor.post(f"/deliveries/{uuid4()}/resolve", body)).code == "not_found"


async def test_deliveries_are_read_page_by_page(api: Api) -> None:
    for _ in range(3):
        await api.draft(targets=["hq.mastodon", "hq.bluesky"])
    seen, path = [], "/deliveries?limit=4"
    while path:
        page = (await api.as_("hocevar").get(path)).of(200)
        seen += [each["id"] for each in page["items"]]
        path = f"/deliveries?limit=4&cursor={page['next']}" if page["next"] else ""
    assert len(seen) == len(set(seen)) == 6
    assert seen == sorted(seen, reverse=True)


async def test_the_policy_is_read_checked_tried_and_replaced(api: Api) -> None:
    admin, officer = api.as_("bizjak"), api.as_("hocevar")
    files = {"policy.yaml": POLICY_TEXT}
    shown = (await officer.get("/policy")).of(200)
    assert shown["files"] == files
    checked = (await officer.post("/policy/check", {"files": files})).of(200)
    assert checked == {
        "ok": True,
        "version": "karvenia-test-1",
        "digest": shown["digest"],
        "rules": 1,
        "examples": 0,
    }
    invalid = await officer.post(
        "/policy/check", {"files": {"policy.yaml": POLICY_TEXT.replace("block", "burn", 1)}}
    )
    assert (invalid.status, invalid.code) == (422, "policy_invalid")
    told = {key: invalid.json[key] for key in ("file", "line", "place")}
    assert told == {"file": "policy.yaml", "line": 7, "place": "rules[0].effect"}
    assert (await officer.post("/policy", {"files": files})).code == "permission_denied"
    assert (await admin.post("/policy", {"files": files})).code == "policy_unchanged"
    assert (await admin.post("/policy", {"files": {}})).code == "body_invalid"
    newer = POLICY_TEXT.replace("karvenia-test-1", "karvenia-test-2").replace("Kiev", "Kijew")
    newer_files = {"policy.yaml": newer}
    proposed = (await admin.post("/policy", {"files": newer_files})).of(200)
    assert (proposed["state"], proposed["version"]) == ("proposed", "karvenia-test-2")
    assert (await admin.post("/policy", {"files": newer_files})).code == "second_admin_needed"
    [waiting] = (await officer.get("/policy/proposals")).of(200)["items"]
    assert waiting["digest"] == proposed["digest"]
    found = (await officer.get(f"/policy/proposals/{waiting['id']}")).of(200)
    assert found["files"] == newer_files
    assert (await officer.get(f"/policy/proposals/{uuid4()}")).code == "not_found"
    second = (await api.as_("oblak").post("/policy", {"files": found["files"]})).of(200)
    assert (second["state"], second["digest"]) == ("active", proposed["digest"])
    assert (await officer.get("/policy/proposals")).of(200)["items"] == []
    sample = {"text": "Greetings from Kiev", "language": "en", "class": "event"}
    assert (await officer.post("/policy/test", sample)).of(200)["findings"] == []
    older = (await officer.post("/policy/test", sample | {"files": files})).of(200)
    assert [(each["rule"], each["span"]) for each in older["findings"]] == [("kyiv", [15, 19])]
    assert older["rules"][0]["outcome"] == "applied"
