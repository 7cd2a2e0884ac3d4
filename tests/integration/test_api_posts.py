"""Officers' posts and supervisors' decisions over HTTP."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

from sqlmodel import select

from scheduler.db.tables import Post
from scheduler.services import publishing
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name
from tests.support.pictures import picture

LJUBLJANA = {"zone": "Europe/Ljubljana"}


async def test_a_post_goes_from_draft_to_the_public_over_the_api(api: Api) -> None:
    drafted = await api.draft(title="Morning")
    assert (drafted["state"], drafted["title"], drafted["problems"]) == ("draft", "Morning", [])
    assert drafted["author"]["code"] == "hocevar"
    assert drafted["lengths"] == [
        {"account": "hq.mastodon", "segment": 0, "used": 26, "limit": 500}
    ]
    submitted = (await api.submit(drafted)).of(200)
    assert submitted["state"] == "in_review"
    assert submitted["payloads"] == drafted["payloads"]
    [awaiting] = (await api.as_("zorc").get("/approvals")).of(200)["items"]
    assert (awaiting["id"], awaiting["digest"]) == (submitted["id"], submitted["digest"])
    assert (await api.as_("hocevar").get("/approvals")).of(200)["items"] == []
    review = (await api.as_("zorc").get(f"/approvals/{submitted['id']}")).of(200)
    assert (review["digest"], review["payloads"]) == (submitted["digest"], submitted["payloads"])
    approved = (await api.approve(submitted)).of(200)
    assert approved["state"] == "scheduled"
    async with api.world.working(), asyncio.timeout(20):
        while (shown := (await api.as_("hocevar").get(f"/posts/{approved['id']}")).of(200))[
            "state"
        ] != "closed":
            await asyncio.sleep(0.05)
    [delivery] = shown["deliveries"]
    assert delivery["remote_url"].startswith("http")
    whole = (await api.as_("hocevar").get(f"/deliveries/{delivery['id']}")).of(200)
    assert whole["attempts"][0]["outcome"] == "sent"
    assert [each["text"] for each in api.world.practice.posts()] == ["Good morning from Lipovec!"]


async def test_a_change_names_the_revision_it_was_written_for(api: Api) -> None:
    post = await api.draft()
    officer = api.as_("hocevar")
    missing = await officer.patch(f"/posts/{post['id']}", {"title": "New"})
    assert (missing.status, missing.code) == (428, "if_match_missing")
    for value in ("1", "*", 'W/"1"', '"0"', '"1", "2"', '""'):
        invalid = await officer.with_headers(If_Match=value).patch(
            f"/posts/{post['id']}", {"title": "New"}
        )
        assert (invalid.status, invalid.code) == (422, "if_match_invalid"), value
    edited = await officer.with_headers(If_Match='"1"').patch(
        f"/posts/{post['id']}", {"title": "New"}
    )
    assert (edited.of(200)["title"], edited.headers["ETag"]) == ("New", '"2"')
    stale = await officer.with_headers(If_Match='"1"').patch(
        f"/posts/{post['id']}", {"title": "Old"}
    )
    assert (stale.status, stale.code, stale.json["revision"]) == (412, "revision_stale", 2)
    assert (
        await officer.with_headers(If_Match='"1"').post(f"/posts/{post['id']}/submit")
    ).code == "revision_stale"
    shown = await officer.get(f"/posts/{post['id']}")
    assert (shown.json["title"], shown.headers["ETag"]) == ("New", '"2"')


async def test_what_an_edit_leaves_out_stays_as_it_is(api: Api) -> None:
    card = {"uri": "https://mzz.karvenia.example/forum", "title": "Forum", "description": ""}
    segments = [{"text": "Good morning from Lipovec!"}, {"text": "And good night."}]
    post = await api.draft(
        title="Two",
        link_card=card,
        variants={"hq.bluesky": segments},
        schedule_on_approval=False,
        **{"class": "event"},
    )
    officer = api.as_("hocevar")
    edited = (
        await officer.with_headers(If_Match='"1"').patch(f"/posts/{post['id']}", {"title": "Three"})
    ).of(200)
    for name in (
        "texts",
        "variants",
        "targets",
        "link_card",
        "class",
        "when",
        "schedule_on_approval",
    ):
        assert edited[name] == post[name], name
    assert edited["link_card"] == card
    assert [each["text"] for each in edited["variants"]["hq.bluesky"]] == [
        each["text"] for each in segments
    ]
    bare = (
        await officer.with_headers(If_Match='"2"').patch(
            f"/posts/{post['id']}", {"link_card": None}
        )
    ).of(200)
    assert bare["link_card"] is None


async def test_an_edit_voids_the_approval(api: Api) -> None:
    post = await api.submitted(when={"local": "2090-03-22T09:00", **LJUBLJANA})
    assert (await api.approve(post)).of(200)["state"] == "scheduled"
    officer = api.as_("hocevar").with_headers(If_Match=f'"{post["revision"]}"')
    edited = (
        await officer.patch(f"/posts/{post['id']}", {"texts": {"en": [{"text": "Changed"}]}})
    ).of(200)
    assert (edited["state"], edited["digest"]) == ("draft", None)
    assert edited["deliveries"][0]["state"] == "planned"
    assert (await api.approve(post)).code == "move_not_allowed"


async def test_another_missions_post_does_not_exist(api: Api) -> None:
    post = await api.submitted()
    stranger = api.as_("olena")
    for refused in (
        await stranger.get(f"/posts/{post['id']}"),
        await stranger.get(f"/posts/{post['id']}/explain"),
        await stranger.get(f"/approvals/{post['id']}"),
        await stranger.get(f"/deliveries/{post['deliveries'][0]['id']}"),
        await stranger.with_headers(If_Match='"1"').patch(
            f"/posts/{post['id']}", {"title": "Mine"}
        ),
        await api.act(post, "cancel", by="olena"),
        await stranger.get(f"/posts/{uuid4()}"),
        await stranger.get("/posts/1"),
    ):
        assert (refused.status, refused.code) == (404, "not_found")
    assert (await stranger.get("/posts")).of(200)["items"] == []
    assert (await stranger.get("/deliveries")).of(200)["items"] == []
    foreign = await stranger.post("/posts", {"mission": "krv.kyi", "targets": ["hq.mastodon"]})
    assert (foreign.status, foreign.code) == (422, "account_unknown")
    assert (await stranger.post("/posts", {"mission": "krv.hq"})).code == "not_found"


async def test_nobody_approves_their_own_words(api: Api) -> None:
    drafted = (
        await api.as_("zorc").post(
            "/posts",
            {
                "mission": "krv.hq",
                "texts": {"en": [{"text": "Mine"}]},
                "targets": ["hq.mastodon"],
                "when": {"local": None},
            },
        )
    ).of(201)
    post = (
        await api.as_("zorc").with_headers(If_Match='"1"').post(f"/posts/{drafted['id']}/submit")
    ).of(200)
    refused = await api.approve(post, by="zorc")
    assert (refused.status, refused.code) == (403, "self_approval")
    assert (await api.approve(post, by="hocevar")).code == "permission_denied"
    assert (await api.approve(post, by="vidmar")).of(200)["state"] == "scheduled"


async def test_an_approval_names_the_content_that_was_read(api: Api) -> None:
    post = await api.submitted()
    other = "sha256:" + "0" * 64
    stale = await api.approve(post | {"digest": other})
    assert (stale.status, stale.code, stale.json["digest"]) == (
        409,
        "content_changed",
        post["digest"],
    )
    assert (await api.approve(post | {"digest": "0"})).code == "body_invalid"
    async with api.world.app.open_uow() as uow:
        row = (await uow.session.scalars(select(Post))).one()
        row.post_class = "statement"
    assert (await api.approve(post)).code == "content_changed"


async def test_a_post_is_returned_with_a_comment(api: Api) -> None:
    post = await api.submitted()
    supervisor = api.as_("zorc")
    assert (
        await supervisor.post(f"/posts/{post['id']}/return", {"comment": "  "})
    ).code == "comment_missing"
    returned = (
        await supervisor.post(f"/posts/{post['id']}/return", {"comment": "Name the minister."})
    ).of(200)
    assert (returned["state"], returned["revision"]) == ("draft", 2)
    [comment] = returned["comments"]
    assert (comment["person"], comment["kind"], comment["text"]) == (
        "Petra Zorc",
        "return",
        "Name the minister.",
    )
    assert (
        await supervisor.post(f"/posts/{post['id']}/return", {"comment": "Again"})
    ).code == "move_not_allowed"


async def test_a_post_is_withdrawn_scheduled_and_cancelled(api: Api) -> None:
    when = {"local": "2090-03-22T09:00", **LJUBLJANA}
    post = await api.submitted(when=when, schedule_on_approval=False)
    withdrawn = (await api.act(post, "withdraw")).of(200)
    assert withdrawn["state"] == "draft"
    assert (await api.act(withdrawn, "withdraw")).code == "move_not_allowed"
    post = (await api.submit(withdrawn)).of(200)
    assert (await api.act(post, "schedule")).code == "move_not_allowed"
    assert (await api.approve(post)).of(200)["state"] == "approved"
    assert (await api.act(post, "schedule")).of(200)["state"] == "scheduled"
    cancelled = (await api.act(post, "cancel")).of(200)
    assert cancelled["state"] == "cancelled"
    assert cancelled["deliveries"][0]["state"] == "cancelled"
    assert (await api.act(post, "cancel")).code == "move_not_allowed"


async def test_a_delivery_in_a_workers_hands_holds_the_post(api: Api) -> None:
    post = (await api.approve(await api.submitted())).of(200)
    async with api.world.app.open_uow() as uow:
        await publishing.claim(uow, worker="w", ahead=timedelta(seconds=3), limit=5)
    assert (await api.act(post, "cancel")).code == "delivery_started"
    assert (await api.act(post, "withdraw")).code == "delivery_started"


async def test_what_cannot_be_submitted_says_why(api: Api) -> None:
    unknown = "0" * 64
    for fields, code in (
        ({"targets": []}, "targets_missing"),
        ({"texts": {"sl": [{"text": "Dobro jutro"}]}}, "text_missing"),
        ({"texts": {"en": [{"text": "x" * 501}]}}, "content_unfit"),
        (
            {"texts": {"en": [{"text": "A picture", "media": [{"sha256": unknown, "alt": "?"}]}]}},
            "media_unknown",
        ),
        ({"texts": {"en": [{"text": "From Kiev with love"}]}}, "policy_blocked"),
    ):
        post = await api.draft(**fields)
        refused = await api.submit(post)
        assert (refused.status, refused.code) == (422, code), fields
        explained = (await api.as_("hocevar").get(f"/posts/{post['id']}/explain")).of(200)
        problems = {each["code"] for each in explained["problems"]} | {
            each["code"] for each in explained["obstacles"]
        }
        assert problems & {code, "text_too_long", "too_long"}, (code, problems)
        assert post["problems"] or post["findings"], code


async def test_a_wall_time_that_is_no_instant_is_refused_with_both_choices(api: Api) -> None:
    officer = api.as_("hocevar")
    for when, code in (
        ({"local": "2090-03-26T02:30", **LJUBLJANA}, "time_gap"),
        ({"local": "2090-10-29T02:30", **LJUBLJANA}, "time_fold"),
        ({"local": "2020-01-01T09:00", **LJUBLJANA}, "time_past"),
        ({"local": "2090-01-01T24:00", **LJUBLJANA}, "time_invalid"),
        ({"local": "2090-01-01T09:00", "zone": "Europe/Lipovec"}, "time_zone_unknown"),
        ({"local": "2200-01-01T09:00", **LJUBLJANA}, "time_out_of_range"),
        ({"local": None, "not_after": "2020-01-01T00:00:00Z"}, "time_past"),
        ({"local": None, "not_after": "9999-12-31T23:59:59-14:00"}, "body_invalid"),
        ({"local": None, "not_after": "2090-01-01T00:00:00"}, "body_invalid"),
    ):
        refused = await officer.post("/posts", {"mission": "krv.hq", "when": when})
        assert (refused.status, refused.code) == (422, code), when
        if code in {"time_gap", "time_fold"}:
            assert len(refused.json["choices"]) == 2
    chosen = await api.draft(when={"local": "2090-10-29T02:30", "choice": "later", **LJUBLJANA})
    assert chosen["when"]["due_at"] == "2090-10-29T01:30:00Z"


async def test_what_nobody_can_see_is_refused_or_shown_to_the_reviewer(api: Api) -> None:
    officer = api.as_("hocevar")
    for text, code in (
        ("a\x00b", "text_control"),
        ("a\ud800b", "text_surrogate"),
        ("a\u202eb", "text_bidi"),
        ("a\x07b", "text_control"),
        ("a\U000e0041b", "text_tag"),
    ):
        refused = await officer.post(
            "/posts", {"mission": "krv.hq", "texts": {"en": [{"text": text}]}}
        )
        assert (refused.status, refused.code) == (422, code), ascii(text)
    post = await api.submitted(texts={"en": [{"text": "Lipovec\u200bForum"}]})
    review = (await api.as_("zorc").get(f"/approvals/{post['id']}")).of(200)
    assert review["hidden_characters"] == [
        {"field": "texts.en[0].text", "start": 7, "end": 8, "name": "ZERO WIDTH SPACE"}
    ]


async def test_a_review_shows_every_text_and_alt_text(api: Api) -> None:
    stored = (
        await api.as_("hocevar").send_raw(
            "POST", "/media?mission=krv.hq", picture("PNG"), content_type="image/png"
        )
    ).of(201)
    image = {"sha256": stored["sha256"], "alt": "The\u00a0garden"}
    post = await api.submitted(
        texts={"en": [{"text": "Our garden", "media": [image]}]},
        variants={"hq.mastodon": [{"text": "Our garden, for Mastodon", "media": [image]}]},
    )
    review = (await api.as_("zorc").get(f"/approvals/{post['id']}")).of(200)
    assert review["variants"]["hq.mastodon"][0]["media"] == [image]
    assert {each["field"] for each in review["hidden_characters"]} == {
        "texts.en[0].media[0].alt",
        "variants.hq.mastodon[0].media[0].alt",
    }
    [payload] = review["payloads"]
    assert payload["parts"][0]["media"][0]["alt"] == image["alt"]
    assert "Our garden, for Mastodon" in str(payload["parts"][0]["request"])


async def test_posts_are_listed_newest_first_page_by_page(api: Api) -> None:
    made = [(await api.draft(title=f"No {n}"))["id"] for n in range(5)]
    seen, path = [], "/posts?limit=2"
    while path:
        page = (await api.as_("zorc").get(path)).of(200)
        seen += [each["id"] for each in page["items"]]
        path = f"/posts?limit=2&cursor={page['next']}" if page["next"] else ""
    assert seen == made[::-1]
    await api.submit({"id": made[0], "revision": 1})
    [only] = (await api.as_("zorc").get("/posts?state=in_review")).of(200)["items"]
    assert only["id"] == made[0]


async def test_the_calendar_goes_by_the_clocks_at_each_mission(api: Api) -> None:
    late = {"mission": "krv.hq", "when": {"local": "2090-03-27T23:30", **LJUBLJANA}}
    post = (await api.as_("hocevar").post("/posts", late)).of(201)
    tokyo = {"mission": "krv.tyo", "when": {"local": "2090-03-28T01:00"}}
    early = (await api.as_("sato").post("/posts", tokyo)).of(201)
    assert early["when"]["due_at"] == "2090-03-27T16:00:00Z"
    days = (await api.as_("zorc").get("/calendar?from=2090-03-27&to=2090-03-28")).of(200)["items"]
    assert [(each["post"]["id"], each["local"], each["zone"]) for each in days] == [
        (post["id"], "2090-03-27T23:30", "Europe/Ljubljana")
    ]
    both = (await api.as_("zorc").get("/calendar?from=2090-03-27&to=2090-03-29&limit=1")).of(200)
    assert [each["post"]["id"] for each in both["items"]] == [early["id"]]
    assert both["next"] == early["id"]
    for query in (
        "from=2090-03-27&to=2090-03-27",
        "from=2090-01-01&to=2091-01-01",
        "from=0001-01-01&to=0001-01-02",
    ):
        assert (await api.as_("zorc").get(f"/calendar?{query}")).code == "time_out_of_range", query
    assert (await api.as_("zorc").get("/calendar?from=2090-03-27")).code == "query_invalid"


async def test_explaining_names_what_a_post_waits_for(api: Api) -> None:
    async def obstacles(post_id: str) -> list[tuple[str | None, str]]:
        found = (await api.as_("hocevar").get(f"/posts/{post_id}/explain")).of(200)["obstacles"]
        return [(each["account"], each["code"]) for each in found]

    post = await api.draft(
        when={"local": "2090-03-22T09:00", **LJUBLJANA}, schedule_on_approval=False
    )
    path = f"/posts/{post['id']}"
    assert await obstacles(post["id"]) == [(None, "not_submitted")]
    post = (await api.submit(post)).of(200)
    assert await obstacles(post["id"]) == [(None, "not_approved"), (None, "decision_missing")]
    await api.approve(post)
    assert await obstacles(post["id"]) == [(None, "not_scheduled")]
    (await api.act(post, "schedule")).of(200)
    assert await obstacles(post["id"]) == []
    account = api.world.accounts["hq.mastodon"]
    (await api.as_("bizjak").post(f"/accounts/{account}/pause", {"reason": "new password"})).of(200)
    (await api.as_("hocevar").post("/posture/stop", {"reason": "mourning"})).of(200)
    assert await obstacles(post["id"]) == [
        (None, "stopped"),
        ("hq.mastodon", "account_out_of_service"),
    ]
    await api.as_("zorc").post("/posture/resume", {"reason": "over"})
    await api.as_("bizjak").post(f"/accounts/{account}/resume", {"reason": "done"})
    (await api.as_("bizjak").post("/persons/zorc/deactivate")).of(200)
    assert await obstacles(post["id"]) == [("hq.mastodon", "approval_lost")]
    (await api.act(post, "cancel")).of(200)
    assert await obstacles(post["id"]) == [(None, "cancelled")]
    rules = (await api.as_("hocevar").get(f"{path}/explain")).of(200)["findings"]
    assert [(each["rule"], each["outcome"]) for each in rules] == [("kyiv", "passed")]


async def test_a_time_that_has_passed_is_an_obstacle(api: Api) -> None:
    post = await api.draft(when={"local": "2090-03-22T09:00", **LJUBLJANA})
    async with api.world.app.open_uow() as uow:
        row = (await uow.session.scalars(select(Post))).one()
        row.due_at = row.created_at.replace(year=2020)
    found = (await api.as_("hocevar").get(f"/posts/{post['id']}/explain")).of(200)["obstacles"]
    assert [each["code"] for each in found] == ["not_submitted", "time_past"]


async def test_a_payload_changed_by_hand_is_not_shown_as_if_it_were_approved(api: Api) -> None:
    post = (await api.approve(await api.submitted())).of(200)
    async with api.world.app.open_uow() as uow:
        [delivery] = await api.world.deliveries(await uow.session.get_one(Post, UUID(post["id"])))
        merged = await uow.session.merge(delivery)
        merged.payload = b"not json"
    shown = (await api.as_("zorc").get(f"/posts/{post['id']}")).of(200)
    assert shown["payloads"][0]["parts"] == []
    explained = (await api.as_("zorc").get(f"/posts/{post['id']}/explain")).of(200)
    assert [each["code"] for each in explained["obstacles"]] == ["content_changed"]


async def test_a_post_has_a_bounded_number_of_accounts_and_a_resolved_time(api: Api) -> None:
    officer = api.as_("hocevar")
    many = {"mission": "krv.hq", "targets": [f"hq.{number}" for number in range(200)]}
    assert (await officer.post("/posts", many)).code == "targets_too_many"
    post = await api.draft(when={"local": "2090-03-22T09:00", **LJUBLJANA})
    async with api.world.app.open_uow() as uow:
        (await uow.session.scalars(select(Post))).one().due_at = None
    assert (await api.submit(post)).code == "time_missing"


async def test_the_language_of_an_account_can_be_chosen_for_one_post(api: Api) -> None:
    texts = {"en": [{"text": "Good morning"}], "sl": [{"text": "Dobro jutro"}]}
    post = await api.submitted(texts=texts, languages={"hq.mastodon": "sl"})
    assert [each["language"] for each in post["deliveries"]] == ["sl"]
    assert [each["language"] for each in post["payloads"]] == ["sl"]
    assert "Dobro jutro" in str(post["payloads"][0]["parts"])
