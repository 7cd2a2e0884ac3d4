"""Persons, tokens, missions and grants over HTTP: nobody ever holds another person's token."""

import base64
from uuid import uuid4

from sqlalchemy import update

from scheduler.db.tables import ApiToken
from scheduler.domain.people import Permission
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name


async def test_a_code_becomes_a_token_once_and_the_admin_never_sees_it(api: Api) -> None:
    admin = api.as_("bizjak")
    added = (
        await admin.post("/persons", {"code": "rupnik", "name": "Maja Rupnik", "languages": ["sl"]})
    ).of(201)
    assert (added["active"], added["languages"]) == (True, ["sl"])
    issued = (await admin.post("/persons/rupnik/enrolment")).of(201)
    assert set(issued) == {"code", "expires_at"}
    redeemed = (await api.post("/enrolments/redeem", {"code": issued["code"].lower()})).of(201)
    assert redeemed["person"]["code"] == "rupnik"
    again = await api.post("/enrolments/redeem", {"code": issued["code"]})
    assert (again.status, again.code) == (401, "enrolment_rejected")
    me = (await api.with_token(redeemed["token"]).get("/whoami")).of(200)
    assert me["person"] == redeemed["person"]
    assert me["grants"] == []
    assert me["token_expires_at"] == redeemed["expires_at"]


async def test_a_revoked_token_opens_nothing(api: Api) -> None:
    officer = api.as_("hocevar")
    assert (await officer.delete("/tokens/current")).of(204) is None
    refused = await officer.get("/whoami")
    assert (refused.status, refused.code) == (401, "token_rejected")
    assert refused.headers["WWW-Authenticate"] == "Bearer"


async def test_an_expired_token_opens_nothing(api: Api) -> None:
    async with api.world.app.open_uow() as uow:
        await uow.session.execute(update(ApiToken).values(expires_at=uow.now))
    assert (await api.as_("zorc").get("/posts")).code == "token_rejected"


async def test_without_one_well_formed_token_nobody_enters(api: Api) -> None:
    for header in (
        None,
        "",
        "Bearer",
        "Basic aG9jZXZhcjo=",
        "Bearer a b",
        "Bearer ümlaut",
        f"Bearer {'x' * 201}",
    ):
        visitor = api.with_token(None)
        if header is not None:
            visitor = visitor.with_headers(Authorization=header)
        refused = await visitor.get("/posts")
        assert (refused.status, refused.code) == (401, "token_missing"), header


async def test_a_token_with_fewer_scopes_does_less_than_its_person(api: Api) -> None:
    token = await api.issue("hocevar", scopes=frozenset({Permission.READ}))
    reader = api.with_token(token)
    assert (await reader.get("/whoami")).of(200)["scopes"] == ["read"]
    assert (await reader.get("/posts")).status == 200
    refused = await reader.post("/posts", {"mission": "krv.hq"})
    assert (refused.status, refused.code) == (403, "token_scope")


async def test_scopes_are_chosen_when_the_code_is_redeemed(api: Api) -> None:
    issued = (await api.as_("bizjak").post("/persons/hocevar/enrolment")).of(201)
    body = {"code": issued["code"], "scopes": ["write", "read"]}
    token = (await api.post("/enrolments/redeem", body)).of(201)["token"]
    me = (await api.with_token(token).get("/whoami")).of(200)
    assert me["scopes"] == ["read", "write"]
    unknown = await api.post("/enrolments/redeem", {"code": "X", "scopes": ["everything"]})
    assert (unknown.status, unknown.code) == (422, "body_invalid")


async def test_enrolling_again_ends_the_tokens_and_suspends_approvals(api: Api) -> None:
    post = await api.submitted()
    issued = (await api.as_("bizjak").post("/persons/zorc/enrolment")).of(201)
    assert (await api.as_("zorc").get("/whoami")).code == "token_rejected"
    token = (await api.post("/enrolments/redeem", {"code": issued["code"]})).of(201)["token"]
    supervisor = api.with_token(token)
    assert (await supervisor.get("/whoami")).of(200)["approvals_suspended_until"] is not None
    refused = await supervisor.post(f"/posts/{post['id']}/approve", {"digest": post["digest"]})
    assert (refused.status, refused.code) == (403, "approvals_suspended")


async def test_codes_cannot_be_guessed_quickly(api: Api) -> None:
    codes = [(await api.post("/enrolments/redeem", {"code": f"AAAAA{n}"})).code for n in range(11)]
    assert codes == ["enrolment_rejected"] * 10 + ["too_many_tries"]
    refused = await api.post("/enrolments/redeem", {"code": "AAAAAA"})
    assert refused.status == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 61


async def test_a_deactivated_person_is_out_at_once(api: Api) -> None:
    person = (await api.as_("bizjak").post("/persons/hocevar/deactivate")).of(200)
    assert person["active"] is False
    assert (await api.as_("hocevar").get("/whoami")).code == "token_rejected"


async def test_only_headquarters_admins_manage_persons(api: Api) -> None:
    body = {"code": "golob", "name": "Jan Golob"}
    for path in ("/persons", "/persons/hocevar/enrolment", "/persons/hocevar/deactivate"):
        refused = await api.as_("zorc").post(path, body if path == "/persons" else None)
        assert (refused.status, refused.code) == (403, "permission_denied"), path
    assert (await api.as_("hocevar").get("/persons")).code == "permission_denied"
    assert len((await api.as_("mlakar").get("/persons")).of(200)["items"]) == 8


async def test_a_person_who_is_not_there_is_not_found(api: Api) -> None:
    for code in ("nobody", "No Body", "%00", "%ff", "a" * 200, "%2E%2E%2F"):
        refused = await api.as_("bizjak").post(f"/persons/{code}/enrolment")
        assert refused.status == 404, code


async def test_a_code_is_taken_once(api: Api) -> None:
    admin = api.as_("bizjak")
    refused = await admin.post("/persons", {"code": "hocevar", "name": "Another"})
    assert (refused.status, refused.code) == (409, "code_taken")
    mission = {
        "code": "krv.tyo",
        "name": "Tokyo",
        "kind": "embassy",
        "parent": "krv.hq",
        "zone": "Asia/Tokyo",
        "languages": ["ja"],
    }
    assert (await admin.post("/missions", mission)).code == "code_taken"


async def test_missions_are_shown_as_far_as_one_sees(api: Api) -> None:
    body = {
        "code": "krv.vie", "name": "Embassy in Vienna", "kind": "embassy", "parent": "krv.hq", "city": "Vienna",
        "country": "AT", "zone": "Europe/Vienna", "languages": ["de", "sl"],
    }  # fmt: skip
    added = (await api.as_("bizjak").post("/missions", body)).of(201)
    assert {name: added[name] for name in body} == body
    everywhere = (await api.as_("hocevar").get("/missions")).of(200)["items"]
    assert everywhere[0]["code"] == "krv.hq"
    assert {each["parent"] for each in everywhere[1:]} == {"krv.hq"}
    one = (await api.as_("olena").get("/missions")).of(200)["items"]
    assert [each["code"] for each in one] == ["krv.kyi"]
    assert (
        await api.as_("bizjak").post(
            "/missions", body | {"code": "krv.nowhere", "zone": "Europe/Lipovec"}
        )
    ).code == "time_zone_unknown"
    assert (
        await api.as_("olena").post("/missions", body | {"code": "krv.own", "parent": "krv.kyi"})
    ).code == "permission_denied"
    assert (
        await api.as_("bizjak").post("/missions", body | {"code": "krv.x1", "parent": "krv.none"})
    ).code == "not_found"


async def test_a_grant_needs_a_second_admin(api: Api) -> None:
    body = {
        "person": "olena",
        "mission": "krv.kyi",
        "role": "supervisor",
        "not_after": "2090-01-01T00:00:00+01:00",
    }
    proposed = (await api.as_("bizjak").post("/grants", body)).of(201)
    assert proposed["state"] == "proposed"
    assert proposed["not_after"] == "2089-12-31T23:00:00Z"
    own = await api.as_("bizjak").post(f"/grants/{proposed['id']}/confirm")
    assert (own.status, own.code) == (403, "second_admin_needed")
    confirmed = (await api.as_("oblak").post(f"/grants/{proposed['id']}/confirm")).of(200)
    assert confirmed["state"] == "in_force"
    assert (proposed["approves_from"], confirmed["approves_from"][-1]) == (None, "Z")
    assert confirmed["confirmed_by"]["code"] == "oblak"
    assert (await api.as_("oblak").post(f"/grants/{proposed['id']}/confirm")).code == "conflict"
    assert {
        "role": "supervisor",
        "office": "",
        "mission": "krv.kyi",
        "approves_from": confirmed["approves_from"],
    } in (await api.as_("olena").get("/whoami")).of(200)["grants"]
    assert (await api.as_("oblak").delete(f"/grants/{proposed['id']}")).of(204) is None
    assert (await api.as_("oblak").delete(f"/grants/{proposed['id']}")).code == "not_found"
    assert len((await api.as_("olena").get("/whoami")).of(200)["grants"]) == 1


async def test_grants_are_listed_for_their_person_and_for_admins(api: Api) -> None:
    everybody = (await api.as_("bizjak").get("/grants")).of(200)["items"]
    assert len(everybody) == 8
    [own] = (await api.as_("olena").get("/grants")).of(200)["items"]
    assert (own["person"]["code"], own["role"], own["bootstrap"]) == ("olena", "officer", True)


async def test_a_grant_on_an_unknown_thing_is_not_found(api: Api) -> None:
    admin = api.as_("bizjak")
    assert (await admin.post(f"/grants/{uuid4()}/confirm")).code == "not_found"
    assert (await admin.post("/grants/17/confirm")).code == "not_found"
    assert (
        await admin.post("/grants", {"person": "nobody", "mission": "krv.hq", "role": "officer"})
    ).code == "not_found"
    assert (
        await admin.post("/grants", {"person": "olena", "mission": "krv.hq", "role": "king"})
    ).code == "body_invalid"


async def test_short_lists_are_read_page_by_page(api: Api) -> None:
    admin, seen, cursor = api.as_("bizjak"), [], ""
    while True:
        page = (await admin.get(f"/persons?limit=3{cursor}")).of(200)
        seen += [each["code"] for each in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == sorted(seen)
    assert len(seen) == 8
    gone = await admin.get(f"/persons?cursor={uuid4()}")
    assert (gone.status, gone.code) == (422, "cursor_gone")


async def test_a_query_that_is_not_documented_is_refused(api: Api) -> None:
    for query in ("limit=0", "limit=201", "limit=x", "cursor=1", "color=red", "limit=1&limit=2"):
        refused = await api.as_("bizjak").get(f"/persons?{query}")
        assert (refused.status, refused.code) == (422, "query_invalid"), query


async def test_what_the_database_keeps_of_a_token_opens_nothing(api: Api) -> None:
    token = api.people["zorc"]
    async with api.world.app.open_uow.read() as uow:
        rows = await uow.session.execute(ApiToken.__table__.select())
        kept = repr(rows.all())
    assert token not in kept
    assert base64.b64encode(token.encode()).decode() not in kept
