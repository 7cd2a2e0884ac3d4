"""Recurring posts over HTTP."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from scheduler.clock import utc_now
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name

BODY = {"rule": "weekly MO 09:00", "starts_on": "2090-06-01", "count": 3}


async def _repeat(api: Api, body: dict[str, Any] = BODY) -> Any:
    post = await api.draft()
    return (await api.as_("hocevar").post(f"/posts/{post['id']}/repeat", body)).of(201)


async def test_a_post_is_repeated_and_each_of_its_days_is_found(api: Api) -> None:
    made = await _repeat(api, BODY | {"every": 2, "exceptions": ["2090-06-19"]})
    assert (made["rule"], made["every"], made["count"]) == ("weekly MO 09:00", 2, 3)
    assert (made["exceptions"], made["states"]) == (["2090-06-19"], {"draft": 2})
    assert [each["day"] for each in made["posts"]] == ["2090-06-05", "2090-07-03"]
    assert [each["post"]["when"]["local"] for each in made["posts"]] == [
        "2090-06-05T09:00",
        "2090-07-03T09:00",
    ]
    shown = (await api.as_("zorc").get(f"/series/{made['id']}")).of(200)
    assert shown == made
    post = (await api.as_("zorc").get(f"/posts/{made['posts'][0]['post']['id']}")).of(200)
    assert post["series"] == made["id"]
    source = (await api.as_("zorc").get(f"/posts/{made['source']}")).of(200)
    assert source["series"] is None


async def test_series_are_listed_newest_first_and_only_in_sight(api: Api) -> None:
    made = [(await _repeat(api))["id"] for _ in range(3)]
    page = (await api.as_("zorc").get("/series?limit=2")).of(200)
    assert [each["id"] for each in page["items"]] == made[:0:-1]
    rest = (await api.as_("zorc").get(f"/series?limit=2&cursor={page['next']}")).of(200)
    assert ([each["id"] for each in rest["items"]], rest["next"]) == (made[:1], None)
    assert (await api.as_("olena").get("/series")).of(200)["items"] == []
    assert (await api.as_("olena").get(f"/series/{made[0]}")).code == "not_found"
    assert (await api.as_("zorc").get(f"/series/{uuid4()}")).code == "not_found"


async def test_what_cannot_be_repeated_says_why(api: Api) -> None:
    post, officer = await api.draft(), api.as_("hocevar")
    path, past = f"/posts/{post['id']}/repeat", (utc_now() - timedelta(days=9)).date().isoformat()
    summer = {
        "rule": "daily 02:30",
        "starts_on": "2027-03-20",
        "until": "2027-04-01",
        "count": None,
    }
    for change, status, code in (
        ({"rule": "monthly 31 09:00"}, 422, "rule_invalid"),
        ({"count": None}, 422, "series_unbounded"),
        ({"count": None, "rule": "daily 09:00", "until": "2092-01-01"}, 422, "series_too_long"),
        ({"until": "2090-06-02"}, 422, "series_empty"),
        ({"exceptions": ["2090-06-06"]}, 422, "series_exception_unknown"),
        (summer, 422, "series_times"),
        ({"starts_on": past}, 422, "time_past"),
        ({"starts_on": "2101-01-01"}, 422, "time_out_of_range"),
        ({"zone": "Mars/Olympus"}, 422, "time_zone_unknown"),
        ({"count": 401}, 422, "body_invalid"),
        ({"every": 0}, 422, "body_invalid"),
        ({"until": "tomorrow"}, 422, "body_invalid"),
    ):
        refused = await officer.post(path, BODY | change)
        assert (refused.status, refused.code) == (status, code), change
    times = (await officer.post(path, BODY | summer)).json["times"]
    assert [each["choice"] for each in times[0]["choices"]] == ["before", "after"]
    window = {"local": None, "not_after": "2090-06-01T00:00:00Z"}
    open_end = await api.draft(when=window)
    assert (await officer.post(f"/posts/{open_end['id']}/repeat", BODY)).code == "series_window"
    assert (await api.as_("mlakar").post(path, BODY)).code == "permission_denied"
    assert (await api.as_("olena").post(path, BODY)).code == "not_found"


async def test_the_end_of_a_series_says_what_it_cancelled(api: Api) -> None:
    made = await _repeat(api)
    path, officer = f"/series/{made['id']}/end", api.as_("hocevar")
    assert (await officer.post(path, {"reason": " "})).code == "reason_missing"
    ended = (await officer.post(path, {"reason": "the forum is over"})).of(200)
    assert ended["cancelled"] == [each["post"]["id"] for each in made["posts"]]
    assert (ended["left"], ended["states"]) == ([], {"cancelled": 3})
    assert ended["end_reason"] == "the forum is over"
    assert ended["ended_at"] is not None
