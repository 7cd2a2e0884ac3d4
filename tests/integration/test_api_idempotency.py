"""`Idempotency-Key`: one request, however often it is sent, has one effect and one answer."""

import asyncio
from collections import Counter
from datetime import timedelta

from sqlalchemy import update
from sqlmodel import select

from scheduler.db.tables import ApiToken, Enrolment, IdempotencyRecord
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name
from tests.support.pictures import picture

DRAFT = {"mission": "krv.hq", "title": "Once"}


async def _titles(api: Api) -> list[str]:
    return [each["title"] for each in (await api.as_("hocevar").get("/posts")).of(200)["items"]]


async def test_the_same_key_twice_makes_one_post(api: Api) -> None:
    officer = api.as_("hocevar").with_headers(Idempotency_Key="draft 1")
    first, second = await officer.post("/posts", DRAFT), await officer.post("/posts", DRAFT)
    assert first.of(201) == second.of(201)
    assert "Idempotent-Replay" not in first.headers
    assert second.headers["Idempotent-Replay"] == "true"
    assert second.headers["ETag"] == first.headers["ETag"] == '"1"'
    assert second.headers["Content-Type"] == first.headers["Content-Type"]
    assert await _titles(api) == ["Once"]


async def test_a_key_belongs_to_one_request_of_one_person(api: Api) -> None:
    officer = api.as_("hocevar").with_headers(Idempotency_Key="k")
    (await officer.post("/posts", DRAFT)).of(201)
    for path, body in (
        ("/posts", {**DRAFT, "title": "Twice"}),
        ("/posture/resume", {"reason": "r"}),
        ("/posture/stop", {"reason": "r"}),
    ):
        refused = await officer.post(path, body)
        assert (refused.status, refused.code) == (422, "idempotency_key_reused"), path
    (await api.as_("zorc").with_headers(Idempotency_Key="k").post("/posts", DRAFT)).of(201)
    assert await _titles(api) == ["Once", "Once"]


async def test_a_submission_repeated_for_another_revision_is_another_request(api: Api) -> None:
    post = await api.draft()
    officer, path = api.as_("hocevar"), f"/posts/{post['id']}/submit"
    (await officer.with_headers(Idempotency_Key="s", If_Match='"1"').post(path)).of(200)
    assert (await officer.with_headers(Idempotency_Key="s", If_Match='"1"').post(path)).of(200)[
        "state"
    ] == "in_review"
    refused = await officer.with_headers(Idempotency_Key="s", If_Match='"2"').post(path)
    assert refused.code == "idempotency_key_reused"


async def test_requests_at_the_same_moment_have_one_effect(api: Api) -> None:
    officer = api.as_("hocevar").with_headers(Idempotency_Key="race")
    replies = await asyncio.gather(*(officer.post("/posts", DRAFT) for _ in range(8)))
    outcomes = Counter(reply.status for reply in replies)
    assert outcomes[201] >= 1
    assert set(outcomes) <= {201, 409}
    assert {reply.code for reply in replies if reply.status == 409} <= {"idempotency_key_in_use"}
    assert len({reply.json["id"] for reply in replies if reply.status == 201}) == 1
    assert await _titles(api) == ["Once"]


async def test_a_refused_request_may_be_repeated_with_its_key(api: Api) -> None:
    officer = api.as_("hocevar").with_headers(Idempotency_Key="again")
    assert (await officer.post("/posture/resume", {"reason": "over"})).code == "not_stopped"
    (await api.as_("zorc").post("/posture/stop", {"reason": "mourning"})).of(200)
    assert (await officer.post("/posture/resume", {"reason": "over"})).of(200)["stopped"] is False
    assert (await officer.post("/posture/resume", {"reason": "over"})).of(200)["stopped"] is False


async def test_after_a_day_the_key_is_free(api: Api) -> None:
    officer = api.as_("hocevar").with_headers(Idempotency_Key="day")
    first = (await officer.post("/posts", DRAFT)).of(201)
    async with api.world.app.open_uow() as uow:
        await uow.session.execute(
            update(IdempotencyRecord).values(created_at=uow.now - timedelta(hours=24))
        )
    second = (await officer.post("/posts", DRAFT)).of(201)
    assert first["id"] != second["id"]
    async with api.world.app.open_uow.read() as uow:
        assert len((await uow.session.scalars(select(IdempotencyRecord))).all()) == 1


async def test_an_answer_with_a_secret_is_not_kept(api: Api) -> None:
    admin = api.as_("bizjak").with_headers(Idempotency_Key="enrol")
    issued = (await admin.post("/persons/hocevar/enrolment")).of(201)
    again = await admin.post("/persons/hocevar/enrolment")
    assert (again.status, again.code) == (409, "answer_shown_once")
    async with api.world.app.open_uow.read() as uow:
        [row] = await uow.session.scalars(select(IdempotencyRecord))
        assert issued["code"] not in f"{row.body}{row.headers}"
        enrolments = await uow.session.scalars(
            select(Enrolment).where(Enrolment.redeemed_at.is_(None))
        )
        assert len(enrolments.all()) == 3  # two of the set-up's own persons and this one


async def test_a_picture_sent_again_is_answered_again(api: Api) -> None:
    officer = api.as_("hocevar").with_headers(Idempotency_Key="picture")
    data = picture("PNG")
    first = await officer.send_raw("POST", "/media?mission=krv.hq", data, content_type="image/png")
    second = await officer.send_raw("POST", "/media?mission=krv.hq", data, content_type="image/png")
    assert first.of(201) == second.of(201)
    assert second.headers["Idempotent-Replay"] == "true"


async def test_a_key_is_short_printable_ascii(api: Api) -> None:
    for key in ("", "x" * 201, "schlüssel", "a\tb"):
        refused = await api.as_("hocevar").with_headers(Idempotency_Key=key).post("/posts", DRAFT)
        assert (refused.status, refused.code) == (422, "idempotency_key_invalid"), ascii(key)
    for key in ("x", "x" * 200, "a b~!"):
        (await api.as_("hocevar").with_headers(Idempotency_Key=key).post("/posts", DRAFT)).of(201)


async def test_a_revoked_token_replays_nothing(api: Api) -> None:
    officer = api.as_("hocevar").with_headers(Idempotency_Key="gone")
    (await officer.post("/posts", DRAFT)).of(201)
    async with api.world.app.open_uow() as uow:
        await uow.session.execute(update(ApiToken).values(revoked_at=uow.now))
    assert (await officer.post("/posts", DRAFT)).code == "token_rejected"


async def test_a_reading_request_takes_no_key(api: Api) -> None:
    officer = api.as_("hocevar").with_headers(Idempotency_Key="read")
    body = {"files": (await officer.get("/policy")).of(200)["files"]}
    for _ in range(2):
        assert "Idempotent-Replay" not in (await officer.post("/policy/check", body)).headers
    (await officer.post("/posts", DRAFT)).of(201)
