"""A post looked at from all sides: its flaws, its payloads, and why it is not public yet."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlmodel import col

from scheduler.db import posts as rows
from scheduler.db.tables import Account, Delivery, Post
from scheduler.domain.post_flow import PostState
from scheduler.policy.evaluation import Outcome
from scheduler.services import accounts, explaining, inspection, media, postures
from scheduler.services.explaining import Explanation
from scheduler.services.inspection import Inspection
from scheduler.services.writing import When
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.pictures import picture
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOON = When(local="2090-06-01T09:00")
BOTH = ("hq.mastodon", "hq.bluesky")


def _text(text: str = "Good morning from Lipovec!", **fields: Any) -> list[dict[str, Any]]:
    return [{"text": text, "media": [], **fields}]


async def _inspect(world: World, post: Post, by: str = "zorc") -> Inspection:
    async with world.as_(by) as (uow, actor):
        return await inspection.inspect(uow, world.app.kit, actor, post.id)


async def _explain(world: World, post: Post, by: str = "zorc") -> Explanation:
    async with world.as_(by) as (uow, actor):
        return await explaining.explain_post(uow, world.app.kit, actor, post.id)


async def _upload(world: World, data: bytes | None = None, mission: str = "krv.hq") -> str:
    actor = await world.actor("hocevar")
    found = await media.upload(
        world.app.open_uow, world.app.kit, actor, mission, data or picture("PNG"), "image/png"
    )
    return found.sha256


async def _why(world: World, post: Post) -> list[tuple[str | None, str]]:
    return [(each.account, each.code) for each in (await _explain(world, post)).hindrances]


def _as_json(seen: Inspection) -> list[str]:
    return [json.dumps(each.parts, sort_keys=True) for each in seen.payloads]


async def test_what_is_shown_is_what_is_approved(shared: World) -> None:
    post = await shared.draft(targets=BOTH, when=SOON)
    before = await _inspect(shared, post)
    submitted = await shared.submit(post)
    seen = await _inspect(shared, submitted)
    assert seen.digest == submitted.digest
    assert _as_json(seen) == _as_json(before)
    assert {each.account for each in seen.payloads} == set(BOTH)
    assert seen.flaws == seen.findings == ()
    assert not seen.comments


async def test_each_part_is_measured_as_its_platform_counts(shared: World) -> None:
    seen = await _inspect(shared, await shared.draft(targets=BOTH, texts={"en": _text("a" * 400)}))
    assert {(each.account, each.used, each.limit) for each in seen.lengths} == {
        ("hq.mastodon", 400, 500),
        ("hq.bluesky", 400, 300),
    }
    assert [(each.account, each.code) for each in seen.flaws] == [("hq.bluesky", "text_too_long")]
    assert [each.account for each in seen.payloads] == ["hq.mastodon"]


@pytest.mark.parametrize(
    ("fields", "flaws"),
    [
        ({"targets": ()}, [(None, "targets_missing")]),
        ({"texts": {}}, [("hq.mastodon", "text_missing")]),
        (
            {"texts": {"en": _text(media=[{"sha256": "0" * 64, "alt": ""}])}},
            [(None, "media_unknown")],
        ),
        (
            {
                "texts": {"sl": _text(media=[{"sha256": "0" * 64, "alt": ""}])},
                "targets": ("hq.mastodon",),
            },
            [(None, "media_unknown"), ("hq.mastodon", "text_missing")],
        ),
    ],
)
async def test_a_draft_is_shown_with_its_gaps(
    shared: World, fields: dict[str, Any], flaws: list[tuple[str | None, str]]
) -> None:
    seen = await _inspect(shared, await shared.draft(**fields))
    assert [(each.account, each.code) for each in seen.flaws] == flaws
    assert seen.payloads == ()


async def test_what_nobody_sees_is_pointed_out(shared: World) -> None:
    sha256 = await _upload(shared)
    hidden = "Lipovec\u200b Forum"
    post = await shared.draft(
        texts={"en": [{"text": hidden, "media": [{"sha256": sha256, "alt": "a\u00adriver"}]}]},
        variants={"hq.bluesky": _text("plain"), "kyi.mastodon": _text("\u200bЛиповець")},
        link_card={
            "uri": "https://krv.example",
            "title": "Li\u200bpovec",
            "description": "a\u00ad",
        },
    )
    found = inspection.find_hidden(await _inspect(shared, post))
    assert [(each.field, each.span.start) for each in found] == [
        ("texts.en[0].text", 7),
        ("texts.en[0].media[0].alt", 1),
        ("variants.kyi.mastodon[0].text", 0),
        ("card.description", 1),
        ("card.title", 2),
    ]


@pytest.mark.parametrize(
    ("card", "found"),
    [
        ({"uri": "https://krv.example/kiev", "title": "Kiev", "description": "From Kiev."},
         [("card.description", (5, 9)), ("card.title", (0, 4)), ("card.uri", (20, 24))]),
        ({"uri": "https://krv.example", "title": "Kyiv", "description": ""}, []),
    ],
)  # fmt: skip
async def test_a_link_card_is_judged_like_a_text(
    shared: World, card: dict[str, str], found: list[tuple[str, tuple[int, int]]]
) -> None:
    post = await shared.draft(link_card=card, targets=("hq.bluesky",))
    seen = await _inspect(shared, post)
    assert [(each.field, each.span) for each in seen.findings] == found
    assert {each.language for each in seen.findings} <= {"en"}


async def test_a_shortened_language_is_shown_and_stops_nothing(shared: World) -> None:
    post = await shared.draft(
        texts={"pt-BR": _text("Bom dia!")}, languages={"hq.mastodon": "pt-BR"}
    )
    [flaw] = (await _inspect(shared, post)).flaws
    assert (flaw.account, flaw.code, flaw.blocks) == ("hq.mastodon", "language_shortened", False)
    assert "keeps only “pt” of the language “pt-BR”" in flaw.message
    submitted = await shared.submit(post)
    [payload] = (await _inspect(shared, submitted)).payloads
    assert payload.parts[0]["request"]["language"] == "pt"


async def test_a_link_card_is_judged_in_each_language_that_it_goes_out_in(shared: World) -> None:
    card = {"uri": "https://krv.example", "title": "Kiev", "description": ""}
    ukrainian = await shared.draft(
        link_card=card, texts={"uk": _text("Добрий ранок!")}, targets=("hq.bluesky",),
        languages={"hq.bluesky": "uk"},
    )  # fmt: skip
    assert (await _inspect(shared, ukrainian)).findings == ()
    both = await shared.draft(
        link_card=card,
        texts={"uk": _text("Добрий ранок!"), "en": _text("Good morning!")},
        targets=("hq.bluesky", "hq.mastodon"),
        languages={"hq.bluesky": "uk"},
    )
    [finding] = (await _inspect(shared, both)).findings
    assert (finding.language, finding.field) == ("en", "card.title")


async def test_stored_payloads_that_cannot_be_read_are_shown_as_nothing(shared: World) -> None:
    post = await shared.scheduled(when=SOON)
    async with shared.app.open_uow() as uow:
        query = update(Delivery).where(col(Delivery.post_id) == post.id)
        await uow.session.execute(query.values(payload=b"{"))
    [payload] = (await _inspect(shared, post)).payloads
    assert payload.parts == []


async def test_a_post_is_looked_at_within_the_scope_only(shared: World) -> None:
    post = await shared.draft()
    assert (await _inspect(shared, post, "mlakar")).parts.post.id == post.id
    async with refused(shared, "not_found"):
        await _inspect(shared, post, "olena")
    async with refused(shared, "not_found"):
        await _explain(shared, post, "olena")
    async with refused(shared, "not_found"), shared.as_("zorc") as (uow, actor):
        await inspection.inspect(uow, shared.app.kit, actor, uuid4())


async def test_a_picture_without_its_words_goes_where_none_are_asked_for(shared: World) -> None:
    sha256 = await _upload(shared)
    pictured = _text(media=[{"sha256": sha256, "alt": ""}])
    post = await shared.draft(targets=BOTH, texts={"en": pictured})
    async with refused(shared, "content_unfit") as caught:
        await shared.submit(post)
    problems = caught.value.details["problems"]
    assert isinstance(problems, list)
    assert [(each["account"], each["code"]) for each in problems] == [("hq.bluesky", "alt_missing")]
    described = _text(media=[{"sha256": sha256, "alt": "The river at Lipovec"}])
    assert await shared.submit(await shared.draft(targets=BOTH, texts={"en": described}))


async def test_a_picture_is_kept_once_and_shared_by_missions(shared: World) -> None:
    data = picture("PNG", compress_level=3)
    async with recording(shared) as actions:
        sha256 = await _upload(shared, data)
        assert await _upload(shared, data) == sha256
    assert actions in (["media.add"], [])  # another test's picture may have the same pixels
    for by in ("mlakar", "olena"):  # missions share pictures, by the hash of their bytes
        async with shared.as_(by) as (uow, actor):
            assert (await media.get(uow, actor, sha256)).mime == "image/png"
    async with refused(shared, "not_found"), shared.as_("mlakar") as (uow, actor):
        await media.get(uow, actor, "0" * 64)


async def test_a_picture_that_is_none_or_not_allowed_leaves_nothing(shared: World) -> None:
    for data, code in ((b"GIF89a, but no more", "media_mislabelled"), (b"", "media_unreadable")):
        actor = await shared.actor("hocevar")
        async with refused(shared, code):
            await media.upload(
                shared.app.open_uow, shared.app.kit, actor, "krv.hq", data, "image/png"
            )
    for by, mission, code in (
        ("mlakar", "krv.hq", "permission_denied"),
        ("olena", "krv.hq", "not_found"),
        ("hocevar", "krv.atlantis", "not_found"),
    ):
        actor = await shared.actor(by)
        async with refused(shared, code):
            await media.upload(
                shared.app.open_uow, shared.app.kit, actor, mission, b"", "image/png"
            )


async def test_each_stage_of_a_post_says_what_it_waits_for(shared: World) -> None:
    post = await shared.draft(when=SOON, schedule_on_approval=False)
    assert await _why(shared, post) == [(None, "not_submitted")]
    post = await shared.submit(post)
    assert await _why(shared, post) == [(None, "not_approved"), (None, "decision_missing")]
    post = await shared.approve(post)
    assert await _why(shared, post) == [(None, "not_scheduled")]
    assert await _why(shared, await shared.scheduled(when=SOON)) == []


async def test_every_rule_says_why_it_did_or_did_not_apply(shared: World) -> None:
    post = await shared.draft(texts={"en": _text("Welcome to Kiev")})
    told = await _explain(shared, post)
    assert [(row.rule, row.outcome) for row in told.rows] == [("kyiv", Outcome.APPLIED)]
    assert (None, "policy_blocked") in await _why(shared, post)
    innocent = await _explain(shared, await shared.draft())
    assert [row.outcome for row in innocent.rows] == [Outcome.PASSED]


async def test_a_time_that_has_passed_is_a_hindrance(shared: World) -> None:
    post = await shared.draft(when=SOON)
    async with shared.app.open_uow() as uow:
        query = update(Post).where(col(Post.id) == post.id)
        await uow.session.execute(query.values(due_at=datetime(2026, 1, 1, tzinfo=UTC)))
    assert (None, "time_past") in await _why(shared, post)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"state": "held", "reason": "late: an hour"}, "delivery_held"),
        ({"state": "unknown"}, "delivery_unknown"),
        ({"state": "rejected"}, "delivery_rejected"),
        ({"state": "expired"}, "delivery_expired"),
        ({"payload": b"[]"}, "content_changed"),
    ],
)
async def test_what_keeps_one_account_back_is_told_for_that_account(
    shared: World, values: dict[str, Any], code: str
) -> None:
    post = await shared.scheduled(when=SOON)
    async with shared.app.open_uow() as uow:
        query = update(Delivery).where(col(Delivery.post_id) == post.id)
        await uow.session.execute(query.values(**values))
    assert await _why(shared, post) == [("hq.mastodon", code)]


async def test_a_stop_and_a_paused_account_are_hindrances(own: World) -> None:
    post = await own.scheduled(when=SOON, targets=BOTH)
    async with own.as_("bizjak") as (uow, actor):
        await accounts.pause(uow, actor, own.accounts["hq.mastodon"], reason="holidays")
    assert await _why(own, post) == [("hq.mastodon", "account_out_of_service")]
    async with own.as_("zorc") as (uow, actor):
        await postures.stop(uow, actor, reason="a day of mourning")
    assert (None, "stopped") in await _why(own, post)
    assert ("hq.bluesky", "stopped") in await _why(own, post)


async def test_lists_of_posts_are_paged_filtered_and_scoped(shared: World) -> None:
    made = [await shared.draft(title=f"n{n}", when=SOON) for n in range(3)]
    async with shared.as_("hocevar") as (uow, actor):
        page = await rows.find_page(uow, actor, state=PostState.DRAFT, before=None, limit=2)
        assert [each.id for each in page] == [made[2].id, made[1].id]
        rest = await rows.find_page(uow, actor, state=None, before=made[1].id, limit=1)
        assert [each.id for each in rest] == [made[0].id]
        start, end = datetime(2090, 6, 1, tzinfo=UTC), datetime(2090, 6, 2, tzinfo=UTC)
        due = await rows.find_due_between(uow, actor, start, end)
        assert {each.id for each in made} <= {post.id for post, _ in due}
    async with shared.as_("olena") as (uow, actor):
        assert await rows.find_page(uow, actor, state=None, before=None, limit=9) == []


async def test_a_variant_of_a_removed_account_is_still_shown(own: World) -> None:
    post = await own.draft(variants={"kyi.mastodon": _text("Добрий день")})
    async with own.as_("bizjak") as (uow, actor):
        removed = await accounts.remove(uow, actor, own.accounts["kyi.mastodon"], reason="closed")
    assert (await _inspect(own, post)).codes[removed.id] == removed.code
    async with own.app.open_uow.read() as uow:
        assert (await uow.session.get_one(Account, removed.id)).state == "removed"
