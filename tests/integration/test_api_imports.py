"""Posts from a list over HTTP: tried, drafted once, refused row by row."""

import json
from typing import Any

from sqlalchemy import func
from sqlmodel import col, select

from scheduler.db.tables import AuditOutbox, Delivery, Post
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name

TEXTS = {"en": [{"text": "Good morning from Lipovec!", "media": []}]}


def _row(ref: str, **more: object) -> dict[str, Any]:
    when = {"local": "2090-06-01T09:00", "zone": "Europe/Ljubljana"}
    return {
        "ref": ref,
        "mission": "krv.hq",
        "texts": TEXTS,
        "targets": ["hq.mastodon", "hq.bluesky"],
        "when": when,
        **more,
    }


async def _import(api: Api, *rows: object, by: str = "hocevar", only_try: bool = False) -> Any:
    body = {"posts": list(rows), "only_try": only_try}
    return (await api.as_(by).post("/imports", body)).of(200)["items"]


async def _count(api: Api) -> tuple[int, int]:
    async with api.world.app.open_uow.read() as uow:
        posts = await uow.session.execute(select(func.count()).select_from(Post))
        deliveries = await uow.session.execute(select(func.count()).select_from(Delivery))
        return posts.scalar_one(), deliveries.scalar_one()


async def test_rows_that_are_only_tried_leave_nothing(api: Api) -> None:
    before = await _count(api)
    items = await _import(api, _row("s1"), _row("s2"), only_try=True)
    assert [(each["fate"], each["post"]) for each in items] == [("drafted", None)] * 2
    assert await _count(api) == before


async def test_a_row_becomes_the_same_draft_as_one_that_was_written_by_hand(api: Api) -> None:
    row = _row("s1", title="Spring", facts={"topic": "rail"}, languages={"hq.bluesky": "en"})
    row["variants"] = {"hq.bluesky": [{"text": "Good morning!", "media": []}]}
    [item] = await _import(api, row)
    by_hand = await api.draft(**{name: row[name] for name in row if name != "ref"})
    imported = (await api.as_("hocevar").get(f"/posts/{item['post']}")).of(200)
    own = ("id", "deliveries", "created_at", "updated_at", "digest")
    same = [{k: v for k, v in each.items() if k not in own} for each in (imported, by_hand)]
    assert same[0] == same[1]
    for each in (imported, by_hand):
        lines = [(line["account"], line["language"]) for line in each["deliveries"]]
        assert lines == [("hq.bluesky", "en"), ("hq.mastodon", "en")]
    await api.approve((await api.submit(imported)).of(200))


async def test_the_same_row_makes_no_second_post_whoever_sends_it_and_whatever_it_says(
    api: Api,
) -> None:
    [first] = await _import(api, _row("s1"))
    counted = await _count(api)
    again = await _import(api, _row("s1", title="Other"), by="hocevar")
    assert [(each["fate"], each["post"]) for each in again] == [("there", first["post"])]
    assert await _count(api) == counted
    two = await _import(api, _row("s1"), _row("s2"), _row("s2"))
    assert [each["fate"] for each in two] == ["there", "drafted", "refused"]
    assert two[2]["refusal"]["code"] == "ref_repeated"
    assert await _count(api) == (counted[0] + 1, counted[1] + 2)


async def test_a_refused_row_says_why_and_keeps_no_other_back(api: Api) -> None:
    items = await _import(
        api,
        _row("a", mission="nowhere"),
        _row("b", targets=["nothing"]),
        _row("c", when={"local": "2020-01-01T09:00"}),
        _row("d", when={"local": "2027-03-28T02:30", "zone": "Europe/Ljubljana"}),
        _row("e", facts={"exercise": True}),
        _row("f", texts={"en": [{"text": "a\u202eb", "media": []}]}),
        _row("g", campaign="tunnel"),
        _row("h"),
    )
    codes = [each["refusal"] and each["refusal"]["code"] for each in items]
    assert codes == [
        *("not_found", "account_unknown", "time_past", "time_gap", "fact_invalid"),
        *("text_bidi", "campaign_unknown", None),
    ]
    assert [each["fate"] for each in items] == ["refused"] * 7 + ["drafted"]


async def test_what_a_draft_lacks_and_what_the_policy_says_is_told(api: Api) -> None:
    long = _row("long", texts={"en": [{"text": "x" * 2000, "media": []}]})
    [none, lacking] = await _import(api, _row("none", targets=[]), long, only_try=True)
    assert [each["code"] for each in none["problems"]] == ["targets_missing"]
    assert {each["account"] for each in lacking["problems"]} == {"hq.mastodon", "hq.bluesky"}
    assert all(each["blocks"] for each in lacking["problems"])


async def test_only_who_writes_for_the_mission_imports_its_posts(api: Api) -> None:
    [seen] = await _import(api, _row("s1"), by="mlakar")
    assert seen["refusal"]["code"] == "permission_denied"
    async with api.world.app.open_uow.read() as uow:
        query = select(AuditOutbox).order_by(col(AuditOutbox.id).desc())
        last = json.loads((await uow.session.scalars(query)).first().body)
    assert (last["act"], last["d"]["tried"]) == ("access.denied", "import to krv.hq")
    [unseen] = await _import(api, _row("s1"), by="olena")
    assert unseen["refusal"]["code"] == "not_found"


async def test_a_request_of_another_form_is_refused_as_a_whole(api: Api) -> None:
    officer, before = api.as_("hocevar"), await _count(api)
    for rows, code in (
        ([], "body_invalid"),
        ([_row(f"s{number}") for number in range(51)], "body_invalid"),
        ([_row("s1"), _row(" s2")], "body_invalid"),
        ([_row("s1"), _row("s2", colour="red")], "field_unknown"),
    ):
        assert (await officer.post("/imports", {"posts": rows})).code == code
    assert await _count(api) == before
