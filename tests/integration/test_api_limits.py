"""Refusals that guard the borders of people, accounts and grants, over HTTP."""

from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name


async def test_a_server_is_named_by_its_origin(api: Api) -> None:
    body = {
        "code": "hq.extra",
        "mission": "krv.hq",
        "platform": "mastodon",
        "base_url": "https://social.karvenia.example:99999",
        "language": "en",
        "secret": "s",
    }
    refused = await api.as_("bizjak").post("/accounts", body)
    assert (refused.status, refused.code) == (422, "server_address_invalid")


async def test_a_grant_that_is_over_grants_nothing(api: Api) -> None:
    body = {
        "person": "hocevar",
        "mission": "krv.hq",
        "role": "officer",
        "not_after": "2020-01-01T00:00:00Z",
    }
    refused = await api.as_("bizjak").post("/grants", body)
    assert (refused.status, refused.code) == (422, "grant_dates_invalid")


async def test_somebody_who_left_is_not_enrolled(api: Api) -> None:
    admin = api.as_("bizjak")
    (await admin.post("/persons/sato/deactivate")).of(200)
    refused = await admin.post("/persons/sato/enrolment")
    assert (refused.status, refused.code) == (409, "person_inactive")


async def test_the_accounts_of_a_post_are_not_opened_by_its_mission(api: Api) -> None:
    draft = {
        "mission": "krv.kyi",
        "texts": {"en": [{"text": "Hello", "media": []}]},
        "targets": ["hq.mastodon"],
        "when": {"local": None},
    }
    post = (await api.as_("hocevar").post("/posts", draft)).of(201)
    officer = api.as_("olena").with_headers(**{"If-Match": '"1"'})
    refused = await officer.patch(f"/posts/{post['id']}", {"title": "mine"})
    assert (refused.status, refused.code) == (403, "target_denied")
