"""Publishing against misbehaving platforms: every end is recorded, nothing is doubled, nothing is lost."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text, update
from sqlmodel import col

from scheduler.clock import iso, utc_now
from scheduler.db import attempts, persons, posts
from scheduler.db.tables import Account, Attempt, Delivery, Post
from scheduler.db.uow import UnitOfWork
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.services import deliveries, people, postures
from scheduler.services.deliveries import MaybePublicError, Resolution
from scheduler.services.writing import When
from tests.support.world import POLICY, World

_DONE = {"verified", "held", "rejected", "expired", "drifted"}


def _done(delivery: Delivery) -> bool:
    return delivery.state in _DONE


def _texts(world: World) -> list[str]:
    return [str(each["text"]) for each in world.practice.posts()]


def _in(seconds: float) -> When:
    zone = "Europe/Ljubljana"
    local = (utc_now() + timedelta(seconds=seconds)).astimezone(ZoneInfo(zone))
    return When(local=local.strftime("%Y-%m-%dT%H:%M:%S"), zone=zone)


async def _attempts(world: World, delivery: Delivery) -> list[Attempt]:
    async with world.app.open_uow.read() as uow:
        return (await attempts.find(uow, [delivery.id]))[delivery.id]


async def test_a_post_is_never_early_and_leaves_at_its_instant(world: World) -> None:
    post = await world.scheduled(when=_in(3))
    async with world.working():
        await world.settle(post, _done)
    [entry] = [each for each in world.practice.log() if each.kind == "post"]
    assert post.due_at is not None
    late = entry.at_ns / 1e9 - post.due_at.timestamp()
    assert 0 <= late < 2


async def test_a_thread_becomes_public_part_by_part_in_order(world: World) -> None:
    segments = [{"text": f"{n}/3 of the Lipovec Forum", "media": []} for n in (1, 2, 3)]
    post = await world.scheduled(texts={"en": segments}, targets=("hq.mastodon", "hq.bluesky"))
    async with world.working():
        found = await world.settle(post, _done)
    assert [each.state for each in found] == ["verified", "verified"]
    for platform in Platform:
        made = [
            each
            for each in world.practice.log()
            if each.kind == "post" and each.platform == platform
        ]
        assert [each.text for each in made] == [segment["text"] for segment in segments]
        assert not made[0].reply_to
        assert all(each.reply_to for each in made[1:])


@pytest.mark.parametrize("platform", list(Platform))
async def test_a_definite_failure_is_tried_again_with_the_same_key(
    world: World, platform: Platform
) -> None:
    """Before the headers left nothing can be public: the port is closed, then open again."""
    post = await world.scheduled(targets=(f"hq.{platform.value}",))
    world.practice.turn(platform, Turn(status=429, retry_after=1, count=2))
    async with world.working():
        [delivery] = await world.settle(post, _done)
    assert delivery.state == "verified"
    tries = await _attempts(world, delivery)
    assert [each.outcome for each in tries] == ["not_sent", "not_sent", "sent"]
    assert len({each.idempotency_key for each in tries}) == 1
    assert len({each.request_sha256 for each in tries}) == 1
    assert len(_texts(world)) == 1


@pytest.mark.parametrize("platform", list(Platform))
@pytest.mark.parametrize(
    "fault",
    [
        {"lose_answer": True},
        {"html": True},
        {"truncate": True},
        {"status": 500, "when": "after"},
        {"status": 503, "when": "before"},
    ],
    ids=lambda fault: next(iter(fault)) + str(fault.get("when", "")),
)
async def test_an_ambiguous_answer_is_looked_up_and_never_blindly_repeated(
    world: World, platform: Platform, fault: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    _settle_soon(world, monkeypatch)
    world.practice.turn(platform, Turn(count=1, **fault))
    post = await world.scheduled(targets=(f"hq.{platform.value}",))
    async with world.working():
        [delivery] = await world.settle(post, _done, within_s=40)
    assert delivery.state == "verified", delivery.reason
    assert len(_texts(world)) == 1
    attempts = await _attempts(world, delivery)
    assert [each.outcome for each in attempts] in (["found"], ["absent", "sent"])
    *_, look = attempts[0].evidence["looks"]
    assert look["saw"] == {"found": "public", "absent": "absent"}[str(attempts[0].outcome)]
    assert look["at"] >= iso(attempts[0].deadline)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("platform", list(Platform))
async def test_a_post_that_appears_long_after_its_request_was_given_up_is_public_once(
    world: World, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ignores the key, so a second request would be a second post: only patience avoids it."""
    _settle_soon(world, monkeypatch, settle_s=5)
    fault = Turn(late_effect_ms=3_000, honour_key=False, count=1)
    world.practice.turn(platform, fault)
    post = await world.scheduled(targets=(f"hq.{platform.value}",))
    async with world.working():
        await world.settle(post, lambda each: each.state == "unknown")
        assert _texts(world) == []  # the request has failed, and nothing is public yet
        [delivery] = await world.settle(post, _done, within_s=120)
    assert delivery.state == "verified", delivery.reason
    assert len(_texts(world)) == 1
    assert [each.outcome for each in await _attempts(world, delivery)] == ["found"]


async def test_without_a_look_up_an_ambiguous_end_waits_for_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _settle_soon(world, monkeypatch, lookup=False)
    world.practice.turn(Platform.MASTODON, Turn(lose_answer=True, count=1))
    post = await world.scheduled()
    async with world.working():
        [delivery] = await world.settle(post, _done, within_s=40)
        assert delivery.state == "held"
        assert delivery.reason.startswith("outcome_unknown")
        async with world.as_("zorc") as (uow, actor):
            with pytest.raises(MaybePublicError):
                await deliveries.release(uow, actor, delivery.id, reason="again", not_public=False)
        async with world.as_("zorc") as (uow, actor):
            await deliveries.resolve(
                uow,
                actor,
                delivery.id,
                reason="seen on the timeline",
                resolution=Resolution.POSTED,
                url="https://social.karvenia.example/@mfa/1",
            )
        [delivery] = await world.deliveries(post)
    assert delivery.state == "sent"
    assert len(_texts(world)) == 1


async def test_a_released_delivery_goes_once_more_although_it_is_late(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _settle_soon(world, monkeypatch, lookup=False)
    world.practice.turn(Platform.MASTODON, Turn(status=500, when="before", count=1))
    post = await world.scheduled()
    async with world.working():
        [delivery] = await world.settle(post, _done, within_s=40)
        async with world.as_("zorc") as (uow, actor):
            await deliveries.release(uow, actor, delivery.id, reason="not there", not_public=True)
        [delivery] = await world.settle(post, lambda each: each.state == "verified")
    assert len(_texts(world)) == 1


async def test_a_refused_token_pauses_the_account_and_keeps_the_post(world: World) -> None:
    world.practice.turn(Platform.MASTODON, Turn(revoke="hq"))
    post = await world.scheduled()
    async with world.working():
        await world.settle(post, lambda each: each.state == "ready" and each.attempts == 1)
        async with world.app.open_uow.read() as uow:
            account = await uow.session.get_one(Account, world.accounts["hq.mastodon"])
        assert account.state == "paused"
        assert "sign-in" in account.state_reason
    assert _texts(world) == []


async def test_an_expired_session_is_renewed_and_the_post_leaves(world: World) -> None:
    world.practice.turn(Platform.BLUESKY, Turn(expire_sessions=True))
    post = await world.scheduled(targets=("hq.bluesky",))
    async with world.working():
        [delivery] = await world.settle(post, _done)
    assert delivery.state == "verified"


async def test_a_stop_holds_what_comes_due_and_resume_releases_nothing(world: World) -> None:
    post = await world.scheduled(when=_in(2))
    async with world.as_("zorc") as (uow, actor):
        receipt = await postures.stop(uow, actor, reason="a mourning day")
    assert len(receipt.caught) == 1
    async with world.working():
        [delivery] = await world.settle(post, _done)
        assert delivery.state == "held"
        async with world.as_("vidmar") as (uow, actor):
            await postures.resume(uow, actor, reason="over")
        [delivery] = await world.deliveries(post)
    assert delivery.state == "held"
    assert _texts(world) == []


async def test_a_late_post_is_held_and_one_past_its_window_expires(world: World) -> None:
    late = await world.scheduled(texts={"en": [{"text": "late", "media": []}]})
    over = await world.scheduled(texts={"en": [{"text": "over", "media": []}]})
    async with world.app.open_uow() as uow:
        for post, age in ((late, timedelta(hours=1)), (over, timedelta(hours=25))):
            then = uow.now - age
            await _age(uow, post, then)
    async with world.working():
        [one] = await world.settle(late, _done)
        [other] = await world.settle(over, _done)
    assert (one.state, other.state) == ("held", "expired")
    assert _texts(world) == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            'UPDATE post_text SET segments = \'[{"text": "Good evening", "media": []}]\'',
            "content_changed",
        ),
        ("UPDATE delivery SET payload = '[]'", "content_changed"),
        ("UPDATE post SET late_minutes = 9999", "content_changed"),
        ("UPDATE post SET digest = 'sha256:00'", "content_changed"),
        ("UPDATE approval SET digest = 'sha256:00'", "approval_lost"),
        ("DELETE FROM approval", "approval_lost"),
        (
            "UPDATE account SET external_id = 'another' WHERE code = 'hq.mastodon'",
            "content_changed",
        ),
        ("UPDATE account SET base_url = 'https://evil.example'", "content_changed"),
        ("UPDATE account SET identifier = 'another'", "token_unavailable"),
        ("UPDATE person SET active = false WHERE code = 'zorc'", "approval_lost"),
    ],
)
async def test_a_row_changed_by_hand_after_approval_is_not_published(
    world: World, statement: str, reason: str
) -> None:
    post = await world.scheduled()
    async with world.app.open_uow() as uow:
        await uow.session.execute(text(statement))
    async with world.working():
        [delivery] = await world.settle(post, _done)
    assert delivery.state == "held"
    assert delivery.reason.startswith(reason)
    assert _texts(world) == []


async def test_the_token_of_an_account_moved_to_another_server_stays_here(world: World) -> None:
    elsewhere = world.practice.bluesky_url
    async with world.app.open_uow() as uow:
        change = update(Account).where(col(Account.code) == "hq.mastodon")
        await uow.session.execute(change.values(base_url=elsewhere))
    post = await world.scheduled()  # its digest has the changed address in it
    before = len(world.practice.log())
    async with world.working():
        [delivery] = await world.settle(post, _done)
    assert (delivery.state, delivery.reason.split(":")[0]) == ("held", "token_unavailable")
    assert len(world.practice.log()) == before


async def test_a_revoked_grant_takes_its_approvals_along(world: World) -> None:
    post = await world.scheduled(when=_in(3))
    async with world.as_("bizjak") as (uow, actor):
        person = await persons.get_by_code(uow, "zorc")
        [(grant, _, _)] = await persons.find_grants(uow, person_id=person.id)
        await people.revoke_grant(uow, actor, grant.id)
    async with world.working():
        [delivery] = await world.settle(post, _done)
    assert delivery.reason.startswith("approval_lost")


async def test_a_policy_that_forbids_an_approved_post_holds_it(world: World) -> None:
    post = await world.scheduled(when=_in(3))
    stricter = POLICY.replace(b"karvenia-test-1", b"karvenia-test-2").replace(
        b"[Kiev]", b"[Lipovec]"
    )
    await world.activate(stricter)
    async with world.working():
        [delivery] = await world.settle(post, _done)
    assert delivery.reason.startswith("policy_blocked")
    assert _texts(world) == []


async def test_two_workers_publish_every_post_once(world: World) -> None:
    made = [
        await world.scheduled(
            texts={"en": [{"text": f"Number {n} from Lipovec", "media": []}]},
            targets=("hq.mastodon", "hq.bluesky"),
        )
        for n in range(8)
    ]
    async with world.working("one"), world.working("two"):
        for post in made:
            await world.settle(post, _done, within_s=40)
    assert sorted(_texts(world)) == sorted(
        f"Number {n} from Lipovec" for n in range(8) for _ in range(2)
    )


async def test_a_later_thread_part_waits_for_a_stop_with_what_is_public_on_record(
    world: World,
) -> None:
    segments = [{"text": f"{n}/2 of the statement", "media": []} for n in (1, 2)]
    world.practice.turn(Platform.MASTODON, Turn(latency_ms=1500, when="after", count=1))
    post = await world.scheduled(texts={"en": segments})
    async with world.working():
        await world.settle(post, lambda each: each.state == "sending")
        async with world.as_("zorc") as (uow, actor):
            receipt = await postures.stop(uow, actor, reason="wrong statement")
        assert len(receipt.in_flight) == 1
        [delivery] = await world.settle(post, _done)
    assert delivery.state == "held"
    assert [part["id"] for part in delivery.progress["parts"]]
    assert _texts(world) == ["1/2 of the statement"]


def _settle_soon(
    world: World, monkeypatch: pytest.MonkeyPatch, *, lookup: bool = True, settle_s: float = 1
) -> None:
    """The real capabilities with a settle time that a test can wait for."""
    for adapter in world.app.kit.platforms.values():
        changed = replace(
            adapter.capabilities,
            settle=timedelta(seconds=settle_s),
            publish_timeout=timedelta(seconds=2),
            lookup=lookup,
        )
        monkeypatch.setattr(type(adapter), "capabilities", changed)


async def _age(uow: UnitOfWork, post: Post, then: datetime) -> None:
    """Move an approved post into the past, as if the worker had been away: content and digest stay."""
    await uow.session.execute(
        update(Delivery)
        .where(col(Delivery.post_id) == post.id)
        .values(due_at=then, wake_at=then, expires_at=then + timedelta(hours=24))
    )
    for approval in (await posts.find_approvals(uow, [post.id]))[post.id]:
        approval.decided_at = then
