"""Accounts and pictures over HTTP."""

import hashlib
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlmodel import col

from scheduler.db.tables import Account, SealedToken
from scheduler.media.model import MediaLimits
from scheduler.practice.accounts import NewAccount as PracticeAccount
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name
from tests.support.pictures import SECRET, exif, picture


def _body(api: Api, **fields: object) -> dict[str, object]:
    """A further account, as the practice network knows it."""
    practice = api.world.practice
    made = practice.open_account(
        Platform.MASTODON, PracticeAccount(handle="vie", display_name="Wien")
    )
    return {
        "code": "vie.mastodon",
        "mission": "krv.hq",
        "platform": "mastodon",
        "base_url": practice.mastodon_url + "/",
        "language": "de",
        "secret": str(made["token"]),
        **fields,
    }


async def test_an_account_is_connected_and_its_secret_never_shown(api: Api) -> None:
    admin, body = api.as_("bizjak"), _body(api)
    added = await admin.post("/accounts", body)
    account = added.of(201)
    assert (account["code"], account["state"]) == ("vie.mastodon", "active")
    assert account["handle"].startswith("@vie@")
    listed = await api.as_("hocevar").get("/accounts")
    assert {each["code"] for each in listed.of(200)["items"]} >= {
        "vie.mastodon",
        "hq.mastodon",
        "kyi.bluesky",
    }
    shown = await api.as_("hocevar").get(f"/accounts/{account['id']}")
    assert shown.of(200) == account
    for reply in (added, listed, shown):
        assert str(body["secret"]).encode() not in reply.body
    assert [
        each["code"] for each in (await api.as_("olena").get("/accounts")).of(200)["items"]
    ] == [
        "kyi.bluesky",
        "kyi.mastodon",
    ]


async def test_what_cannot_be_connected_says_why(api: Api) -> None:
    admin, body = api.as_("bizjak"), _body(api)
    for change, status, code in (
        ({"secret": "wrong"}, 422, "sign_in_refused"),
        ({"platform": "telegraph"}, 422, "platform_unknown"),
        ({"base_url": "https://127.0.0.1:9"}, 503, "platform_unavailable"),
        ({"base_url": "ftp://karvenia.example"}, 422, "body_invalid"),
        ({"mission": "krv.none"}, 404, "not_found"),
        ({"code": "hq.mastodon"}, 409, "account_taken"),
        ({"secret": ""}, 422, "body_invalid"),
    ):
        refused = await admin.post("/accounts", body | change)
        assert (refused.status, refused.code) == (status, code), change
        assert str(body["secret"]).encode() not in refused.body
    assert (await api.as_("hocevar").post("/accounts", body)).code == "permission_denied"


async def test_an_account_is_checked_paused_resumed_and_removed(api: Api) -> None:
    admin = api.as_("bizjak")
    path = f"/accounts/{api.world.accounts['hq.mastodon']}"
    assert (await admin.post(f"{path}/check")).of(200)["mission"] == "krv.hq"
    assert (await admin.post(f"{path}/resume", {"reason": "why not"})).code == "account_state"
    paused = (await admin.post(f"{path}/pause", {"reason": "new password"})).of(200)
    assert (paused["state"], paused["state_reason"]) == ("paused", "new password")
    assert (await admin.post(f"{path}/pause", {"reason": "again"})).code == "account_state"
    assert (await admin.post(f"{path}/resume", {"reason": "done"})).of(200)["state"] == "active"
    assert (await admin.delete(path)).code == "body_invalid"
    assert (await api.as_("zorc").delete(path, {"reason": "mine"})).code == "permission_denied"
    assert (await admin.delete(path, {"reason": "closed"})).of(204) is None
    assert (await admin.get(path)).code == "not_found"
    assert (await admin.post(f"/accounts/{uuid4()}/check")).code == "not_found"


async def test_a_platform_that_is_away_pauses_nothing(api: Api) -> None:
    path = f"/accounts/{api.world.accounts['hq.mastodon']}"
    api.world.practice.turn(Platform.MASTODON, Turn(status=503, count=9, only="all"))
    refused = await api.as_("bizjak").post(f"{path}/check")
    assert (refused.status, refused.code) == (503, "platform_unavailable")
    assert refused.headers["Retry-After"] == "1"
    assert (await api.as_("bizjak").get(path)).of(200)["state"] == "active"


async def test_a_picture_is_stored_clean_and_given_back_as_an_attachment(api: Api) -> None:
    officer = api.as_("hocevar")
    data = picture("JPEG", exif=exif(1))
    stored = (
        await officer.send_raw("POST", "/media?mission=krv.hq", data, content_type="image/jpeg")
    ).of(201)
    assert (stored["mime"], stored["width"], stored["height"]) == ("image/jpeg", 48, 32)
    again = (
        await officer.send_raw("POST", "/media?mission=krv.hq", data, content_type="image/jpeg")
    ).of(201)
    assert again == stored
    shown = await officer.get(f"/media/{stored['sha256']}")
    assert hashlib.sha256(shown.body).hexdigest() == stored["sha256"]
    assert len(shown.body) == stored["length"]
    assert SECRET not in shown.body
    assert shown.headers["Content-Type"] == "image/jpeg"
    assert shown.headers["Content-Disposition"].startswith("attachment; ")
    assert shown.headers["X-Content-Type-Options"] == "nosniff"
    shared = await api.as_("sato").get(f"/media/{stored['sha256']}")
    assert shared.body == shown.body  # missions share pictures, by the hash of their bytes


async def test_what_is_no_picture_is_refused(api: Api) -> None:
    officer, png = api.as_("hocevar"), picture("PNG")
    for data, mime, status, code in (
        (png, "image/svg+xml", 415, "content_type_unsupported"),
        (png, "application/json", 415, "content_type_unsupported"),
        (png, None, 415, "content_type_unsupported"),
        (png, "image/jpeg", 422, "media_mislabelled"),
        (png[:60], "image/png", 422, "media_unreadable"),
        (b"", "image/png", 422, "media_unreadable"),
        (b"<html>", "image/gif", 415, "media_type_unsupported"),
    ):
        refused = await officer.send_raw("POST", "/media?mission=krv.hq", data, content_type=mime)
        assert (refused.status, refused.code) == (status, code), mime
    large = await officer.send_raw(
        "POST",
        "/media?mission=krv.hq",
        bytes(MediaLimits().max_bytes + 1),
        content_type="image/png",
    )
    assert (large.status, large.code) == (413, "body_too_large")
    foreign = await officer.send_raw(
        "POST", "/media?mission=krv.none", png, content_type="image/png"
    )
    assert foreign.code == "not_found"
    assert (
        await officer.send_raw("POST", "/media", png, content_type="image/png")
    ).code == "query_invalid"
    for name in ("0" * 64, "..%2f..%2fkeys", "0"):
        assert (await officer.get(f"/media/{name}")).status == 404


@pytest.mark.parametrize("column", ["base_url", "external_id", "identifier"])
async def test_the_token_of_an_account_changed_by_hand_opens_nothing(api: Api, column: str) -> None:
    admin, path = api.as_("bizjak"), f"/accounts/{api.world.accounts['hq.mastodon']}"
    async with api.world.app.open_uow() as uow:
        change = update(Account).where(col(Account.code) == "hq.mastodon")
        await uow.session.execute(change.values({column: getattr(Account, column) + "0"}))
    assert (await admin.post(f"{path}/check")).code == "token_unavailable"


async def test_a_sealed_token_moved_by_hand_opens_nothing(api: Api) -> None:
    admin, path = api.as_("bizjak"), f"/accounts/{api.world.accounts['hq.mastodon']}"
    async with api.world.app.open_uow() as uow:
        await uow.session.execute(update(SealedToken).values(generation=7))
    assert (await admin.post(f"{path}/check")).code == "token_unavailable"


async def test_a_stored_picture_that_was_changed_or_lost_is_not_given_out(api: Api) -> None:
    officer = api.as_("hocevar")
    stored = (
        await officer.send_raw(
            "POST", "/media?mission=krv.hq", picture("PNG"), content_type="image/png"
        )
    ).of(201)
    [file] = [
        each
        for each in (api.world.app.settings.data_dir / "media").rglob("*")
        if each.name.endswith(stored["sha256"][-8:])
    ]
    file.chmod(0o600)
    file.write_bytes(b"other")
    corrupt = await officer.get(f"/media/{stored['sha256']}")
    assert (corrupt.status, corrupt.code) == (503, "media_corrupt")
    file.unlink()
    assert (await officer.get(f"/media/{stored['sha256']}")).code == "media_missing"


async def test_an_admin_tells_when_a_token_ends_and_everybody_sees_it(api: Api) -> None:
    account_id = api.world.accounts["hq.mastodon"]
    path, ends = f"/accounts/{account_id}/expiry", "2027-05-01T00:00:00+02:00"
    told = (await api.as_("bizjak").post(path, {"ends_at": ends})).of(200)
    assert told["sign_in_ends_at"] == "2027-04-30T22:00:00Z"
    listed = (await api.as_("hocevar").get("/accounts")).of(200)["items"]
    assert [each["code"] for each in listed if each["sign_in_ends_at"]] == ["hq.mastodon"]
    assert (await api.as_("hocevar").post(path, {"ends_at": ends})).code == "permission_denied"
    assert (await api.as_("bizjak").post(path, {})).code == "body_invalid"
    assert (await api.as_("bizjak").post(path, {"ends_at": "2027-05-01"})).code == "body_invalid"
    taken_back = await api.as_("bizjak").post(path, {"ends_at": None})
    assert taken_back.of(200)["sign_in_ends_at"] is None


async def test_the_distance_between_an_accounts_posts_is_set_by_who_manages_it(api: Api) -> None:
    [account] = [
        each
        for each in (await api.as_("bizjak").get("/accounts")).of(200)["items"]
        if each["code"] == "hq.mastodon"
    ]
    path = f"/accounts/{account['id']}/spacing"
    assert account["spacing_s"] == 0
    assert (await api.as_("hocevar").post(path, {"seconds": 60})).code == "permission_denied"
    for seconds in (-1, 86_401, 1.5, None):
        assert (await api.as_("bizjak").post(path, {"seconds": seconds})).status == 422, seconds
    assert (await api.as_("bizjak").post(path, {"seconds": 60})).of(200)["spacing_s"] == 60
