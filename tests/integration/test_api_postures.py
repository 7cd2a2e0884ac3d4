"""Stop, resume and release over HTTP."""

from typing import Any
from uuid import UUID, uuid4

from scheduler.db.tables import Delivery
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name
from tests.integration.services_fixtures import come_due


async def _scheduled(api: Api, **fields: object) -> Any:
    return (await api.approve(await api.submitted(**fields))).of(200)


async def test_a_stop_says_what_it_has_caught(api: Api) -> None:
    post = await _scheduled(api, title="Morning")
    officer = api.as_("hocevar")
    assert (await officer.get("/posture")).of(200) == {
        "stopped": False,
        "since": None,
        "reason": None,
        "by": None,
        "postures": [],
    }
    assert (await officer.post("/posture/stop", {"reason": ""})).code == "reason_missing"
    receipt = (await officer.post("/posture/stop", {"reason": "mourning"})).of(200)
    [caught] = receipt["caught"]
    assert caught | {"due_at": None} == {
        "delivery": post["deliveries"][0]["id"],
        "post": post["id"],
        "title": "Morning",
        "account": "hq.mastodon",
        "due_at": None,
        "state": "ready",
    }
    assert caught["due_at"] is not None
    assert receipt["in_flight"] == []
    shown = (await api.as_("sato").get("/posture")).of(200)
    assert (shown["stopped"], shown["reason"], shown["by"]) == (True, "mourning", "Tina Hočevar")
    assert shown["since"] == receipt["since"]
    assert (await officer.post("/posture/stop", {"reason": "again"})).code == "already_stopped"
    body = {"reason": "why"}
    assert (await api.as_("mlakar").post("/posture/stop", body)).code == "permission_denied"


async def test_a_stop_is_lifted_by_another_person(api: Api) -> None:
    officer, supervisor = api.as_("hocevar"), api.as_("zorc")
    receipt = (await officer.post("/posture/stop", {"reason": "mourning"})).of(200)
    proposed = (await officer.post("/posture/resume", {"reason": "over"})).of(200)
    assert (proposed["lifted"], proposed["stopped"], proposed["release"]) == (False, True, None)
    assert proposed["postures"][0]["end_proposed_by"]["code"] == "hocevar"
    refused = await officer.post("/posture/resume", {"reason": "over"})
    assert (refused.status, refused.code) == (409, "second_person_needed")
    assert refused.json["posture"] == receipt["posture"]
    lifted = (await supervisor.post("/posture/resume", {"reason": "over"})).of(200)
    assert (lifted["lifted"], lifted["stopped"], lifted["postures"]) == (True, False, [])
    assert (await supervisor.post("/posture/resume", {"reason": "over"})).code == "not_stopped"


async def test_a_posture_with_a_scope_and_a_time_stops_not_everything(api: Api) -> None:
    body = {
        "reason": "state mourning",
        "kind": "mourning",
        "mission": "krv.kyi",
        "account": "kyi.mastodon",
        "language": "uk",
        "allowed_classes": ["consular_alert", "condolence"],
        "starts_at": "2090-06-01T00:00:00+02:00",
        "ends_at": "2090-06-04T00:00:00+02:00",
    }
    receipt = (await api.as_("zorc").post("/posture/stop", body)).of(200)
    assert receipt["since"] == "2090-05-31T22:00:00Z"
    shown = (await api.as_("olena").get("/posture")).of(200)
    assert shown["stopped"] is False
    [posture] = shown["postures"]
    assert posture["set_by"].pop("id")
    assert posture | {"set_at": None} == {
        "id": receipt["posture"],
        "kind": "mourning",
        "reason": "state mourning",
        "in_force": False,
        "mission": "krv.kyi",
        "account": "kyi.mastodon",
        "campaign": None,
        "language": "uk",
        "allowed_classes": ["condolence", "consular_alert"],
        "starts_at": "2090-05-31T22:00:00Z",
        "ends_at": "2090-06-03T22:00:00Z",
        "set_by": {"code": "zorc", "name": "Petra Zorc"},
        "set_at": None,
        "end_proposed_by": None,
    }
    assert (await api.as_("sato").get("/posture")).of(200)["postures"] == []
    named = {"reason": "over", "posture": receipt["posture"]}
    assert (await api.as_("sato").post("/posture/resume", named)).code == "not_found"
    assert (await api.as_("vidmar").post("/posture/resume", named)).of(200)["lifted"] is True
    nobody = {"reason": "over", "posture": str(uuid4())}
    assert (await api.as_("vidmar").post("/posture/resume", nobody)).code == "not_found"


async def test_a_posture_of_a_bad_form_is_refused(api: Api) -> None:
    for field, value in (
        ("kind", "Mourning!"),
        ("kind", ""),
        ("starts_at", "2090-06-01T00:00:00"),
        ("allowed_classes", ["Consular Alert"]),
        ("topic", "bridge"),
    ):
        refused = await api.as_("zorc").post("/posture/stop", {"reason": "why", field: value})
        assert refused.status == 422, field


async def test_an_embassy_does_not_read_the_titles_of_others_on_its_receipt(api: Api) -> None:
    """Headquarters may write on the embassy's account: the embassy stops it, but what it says is not its own."""
    texts = {"uk": [{"text": "Добрий ранок"}]}
    await _scheduled(api, title="Not for them", targets=["kyi.mastodon"], texts=texts)
    body = {"reason": "wrong", "account": "kyi.mastodon"}
    receipt = (await api.as_("olena").post("/posture/stop", body)).of(200)
    assert [(each["account"], each["title"]) for each in receipt["caught"]] == [
        ("kyi.mastodon", None)
    ]


async def test_resume_releases_nothing_unless_asked_and_then_spread_out(api: Api) -> None:
    supervisor = api.as_("zorc")
    for _ in range(2):
        await _scheduled(api)
    stop = (await api.as_("hocevar").post("/posture/stop", {"reason": "wrong"})).of(200)
    await come_due(api.world)
    path = f"/posture/{stop['posture']}/release"
    spread = {"reason": "over", "spread_minutes": 60}
    assert (await supervisor.post(path, spread)).code == "posture_in_force"
    refused = await api.as_("bizjak").post(
        "/posture/resume", {"reason": "over", "release": True, "spread_minutes": 60}
    )
    assert (
        refused.code == "permission_denied"
    )  # an admin lifts, but releases nothing: nothing was changed
    assert (await supervisor.get("/posture")).of(200)["stopped"] is True
    lifted = (await api.as_("vidmar").post("/posture/resume", {"reason": "over"})).of(200)
    assert (lifted["lifted"], lifted["release"]) == (True, None)
    assert await _states(api) == ["held", "held"]
    receipt = (await supervisor.post(path, spread)).of(200)
    assert (len(receipt["released"]), receipt["skipped"]) == (2, [])
    assert await _states(api) == ["ready", "ready"]


async def test_resume_with_release_names_what_goes_and_what_stays(api: Api) -> None:
    for _ in range(2):
        await _scheduled(api)
    await api.as_("hocevar").post("/posture/stop", {"reason": "wrong"})
    await come_due(api.world)
    [late, free] = (await api.as_("zorc").get("/deliveries?state=held")).of(200)["items"]
    async with api.world.app.open_uow() as uow:
        row = await uow.session.get_one(Delivery, UUID(late["id"]))
        row.expires_at = uow.now
    body = {"reason": "over", "release": True, "spread_minutes": 30}
    receipt = (await api.as_("zorc").post("/posture/resume", body)).of(200)["release"]
    assert [each["delivery"] for each in receipt["released"]] == [free["id"]]
    assert [(each["delivery"], each["code"]) for each in receipt["skipped"]] == [
        (late["id"], "window_over")
    ]


async def _states(api: Api) -> list[str]:
    found = (await api.as_("zorc").get("/deliveries")).of(200)["items"]
    return [each["state"] for each in found]


async def test_a_posture_that_would_end_before_it_begins_is_refused(api: Api) -> None:
    past = {"reason": "why", "ends_at": "2020-06-01T00:00:00Z"}
    assert (await api.as_("zorc").post("/posture/stop", past)).code == "posture_times"


async def test_of_several_postures_the_one_to_lift_is_named(api: Api) -> None:
    for mission in ("krv.kyi", "krv.tyo"):
        body = {"reason": "why", "mission": mission}
        (await api.as_("zorc").post("/posture/stop", body)).of(200)
    refused = await api.as_("vidmar").post("/posture/resume", {"reason": "over"})
    assert (refused.status, refused.code) == (409, "posture_ambiguous")
    assert len(refused.json["postures"]) == 2
