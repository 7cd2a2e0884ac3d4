"""Edges of the protocol where a post could go out changed, twice, by the wrong person, or never."""

import asyncio
import json
from datetime import timedelta

import pytest
import structlog
from sqlalchemy import text, update
from sqlmodel import col, select

from adapters.errors import RateLimitedError
from scheduler.audit.export import ExportRequest
from scheduler.clock import utc_now
from scheduler.db import attempts, persons
from scheduler.db import deliveries as rows
from scheduler.db.tables import Account, Attempt, Delivery, Enrolment
from scheduler.domain.people import Permission, Role
from scheduler.logs import configure_logs
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.publishing.delivering import Courier
from scheduler.services import (
    accounts,
    approvals,
    deliveries,
    evidence,
    holds,
    media,
    outcomes,
    people,
    posts,
    postures,
    publishing,
    secrets,
    tokens,
)
from scheduler.services.accounts import NewAccount, ServerAddressError
from scheduler.services.deliveries import Resolution
from scheduler.services.holds import Claimed
from scheduler.services.people import NewGrant
from scheduler.services.publishing import Work
from scheduler.services.release import Obstacle
from scheduler.services.tokens import EnrolmentRejectedError
from scheduler.services.writing import LateMinutesError, TargetDeniedError, When, Writing
from tests.support.pictures import picture
from tests.support.world import World

AHEAD = timedelta(seconds=3)


async def _claimed(world: World) -> Claimed:
    async with world.app.open_uow() as uow:
        [claimed] = await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9)
    return claimed


async def _upload(world: World) -> str:
    stored = await media.upload(
        world.app.open_uow,
        world.app.kit,
        await world.actor("hocevar"),
        "krv.hq",
        picture("JPEG"),
        "image/jpeg",
    )
    return stored.sha256


def _with_picture(sha256: str, alt: str) -> dict[str, object]:
    return {"en": [{"text": "The Forum opens", "media": [{"sha256": sha256, "alt": alt}]}]}


async def test_an_upload_made_for_an_older_description_is_not_used_for_the_new_one(
    world: World,
) -> None:
    sha256 = await _upload(world)
    post = await world.scheduled(texts=_with_picture(sha256, "the wrong description"))
    claimed = await _claimed(world)
    courier = Courier(world.app.open_uow, world.app.kit, asyncio.Event())
    assert await courier._make_ready(claimed) is not None
    async with world.app.open_uow() as uow:
        await holds.unclaim(uow, claimed)
    async with world.as_("hocevar") as (uow, actor):
        changed = Writing(texts=_with_picture(sha256, "Flags at the Forum"))  # type: ignore[arg-type]
        post = await posts.edit(uow, actor, post.id, changed, revision=post.revision)
    await world.approve(await world.submit(post))
    async with world.working():
        await world.settle(post, lambda each: each.state == "verified")
    [public] = world.practice.posts()
    assert [each["alt"] for each in public["media"]] == ["Flags at the Forum"]  # type: ignore[attr-defined]


async def test_a_receipt_that_somebody_wrote_into_the_database_is_not_used(world: World) -> None:
    sha256 = await _upload(world)
    await world.scheduled(texts=_with_picture(sha256, "Flags"))
    claimed = await _claimed(world)
    courier = Courier(world.app.open_uow, world.app.kit, asyncio.Event())
    ready = await courier._make_ready(claimed)
    assert ready is not None
    async with world.app.open_uow() as uow:
        delivery = (await uow.session.scalars(select(Delivery))).one()
        forged = json.loads(json.dumps(delivery.progress))
        forged["media"][sha256]["ref"] = "another picture"
        delivery.progress = forged
    async with world.app.open_uow() as uow:
        [work] = await publishing.prepare(uow, world.app.kit, [claimed])
    assert isinstance(work, Work)
    assert work.media_receipts == {}


async def test_an_admin_cannot_act_as_somebody_by_keeping_a_second_code(world: World) -> None:
    async with world.as_("bizjak") as (uow, actor):
        kept = await people.enrol_person(uow, actor, "vidmar")
    async with world.as_("bizjak") as (uow, actor):
        handed_over = await people.enrol_person(uow, actor, "vidmar")
    with pytest.raises(EnrolmentRejectedError):
        async with world.app.open_uow() as uow:
            await tokens.redeem(uow, kept.code)
    async with world.app.open_uow() as uow:
        await tokens.redeem(uow, handed_over.code)
        open_codes = await uow.session.scalars(
            select(Enrolment).where(
                col(Enrolment.redeemed_at).is_(None), col(Enrolment.expires_at) > uow.now
            )
        )
        assert [
            each.person_id for each in open_codes if each.person_id == handed_over.person.id
        ] == []


async def test_enrolment_after_a_log_out_suspends_all_the_same(world: World) -> None:
    async with world.as_("bizjak") as (uow, actor):
        first = await people.enrol_person(uow, actor, "zorc")
    async with world.app.open_uow() as uow:
        token = await tokens.redeem(uow, first.code)
    async with world.app.open_uow() as uow:
        await tokens.log_out(uow, await tokens.authenticate(uow, token.token, via="test"))
    async with world.as_("bizjak") as (uow, actor):
        await people.enrol_person(uow, actor, "zorc")
    async with world.as_("zorc") as (uow, actor):
        root = (await persons.find_grants(uow, person_id=actor.person_id))[0][1]
        assert not actor.may(Permission.APPROVE, root.path, now=uow.now)
        assert actor.may(Permission.WRITE, root.path, now=uow.now)


async def test_an_admin_enrolled_by_another_manages_nothing_for_a_day(world: World) -> None:
    async with world.as_("bizjak") as (uow, actor):
        await people.enrol_person(uow, actor, "oblak")
        grant = await people.propose_grant(
            uow, actor, NewGrant(person="hocevar", mission="krv.hq", role=Role.SUPERVISOR)
        )
    with pytest.raises(people.ForbiddenError):
        async with world.as_("oblak") as (uow, actor):
            await people.confirm_grant(uow, actor, grant.id)


async def test_the_accounts_of_a_post_need_the_permission_as_well_as_its_mission(
    world: World,
) -> None:
    async with world.as_("hocevar") as (uow, actor):
        post = await posts.draft(
            uow,
            actor,
            "krv.kyi",
            Writing(
                texts={"en": [{"text": "Hello", "media": []}]},
                targets=("hq.mastodon",),
                when=When(local=None),
            ),
        )
    with pytest.raises(TargetDeniedError):
        async with world.as_("olena") as (uow, actor):
            await posts.edit(uow, actor, post.id, Writing(title="mine"), revision=post.revision)
    await world.submit(post)
    async with world.app.open_uow() as uow:
        person = await persons.get_by_code(uow, "olena")
        [(_, mission, _)] = await persons.find_grants(uow, person_id=person.id)
        await people.insert_bootstrap_grant(
            uow, person, mission, NewGrant(person="olena", mission="krv.kyi", role=Role.SUPERVISOR)
        )
    with pytest.raises(TargetDeniedError):
        async with world.as_("olena") as (uow, actor):
            await approvals.decide(uow, actor, post.id, digest=str(post.digest))


async def test_a_doubtful_delivery_never_expires_by_itself(world: World) -> None:
    await _doubtful(world)
    async with world.app.open_uow() as uow:
        await uow.session.execute(update(Delivery).values(expires_at=uow.now - timedelta(hours=1)))
        delivery = (await uow.session.scalars(select(Delivery))).one()
        assert await rows.find_overdue(uow, limit=9) == []
        assert delivery.state == "held"
    async with world.as_("zorc") as (uow, actor):
        delivery = await deliveries.resolve(
            uow,
            actor,
            delivery.id,
            reason="it is there",
            resolution=Resolution.POSTED,
            url="https://social.karvenia.example/@mfa/2",
        )


async def test_a_look_up_never_takes_another_post_of_ours_for_the_one_in_doubt(
    world: World,
) -> None:
    post = await world.scheduled()
    async with world.working():
        await world.settle(post, lambda each: each.state == "verified")
    [public] = world.practice.posts()
    async with world.app.open_uow() as uow:
        [first] = await uow.session.scalars(select(Delivery))
        taken = await rows.find_remote_ids(uow, first.account_id, uow.now - timedelta(hours=1))
    assert taken == {public["id"]}
    async with world.app.open_uow.read() as uow:
        account = await uow.session.get_one(Account, first.account_id)
        [attempt] = (await attempts.find(uow, [first.id]))[first.id]
        credentials = await secrets.open_credentials(uow, world.app.kit, account)
    adapter, since = world.app.kit.platform("mastodon"), utc_now() - timedelta(minutes=1)
    assert await adapter.find(credentials, attempt.request, "key", since) is not None
    assert await adapter.find(credentials, attempt.request, "key", since, taken) is None


async def test_a_platform_that_asks_to_wait_past_the_late_limit_brings_the_post_to_a_person(
    world: World,
) -> None:
    await world.scheduled()
    claimed = await _claimed(world)
    async with world.app.open_uow() as uow:
        [work] = await publishing.prepare(uow, world.app.kit, [claimed])
    assert isinstance(work, Work)
    wait = RateLimitedError("wait", code="rate_limited", retry_after=timedelta(hours=6))
    async with world.app.open_uow() as uow:
        await outcomes.record_unprepared(uow, claimed, wait)
    async with world.app.open_uow.read() as uow:
        delivery = (await uow.session.scalars(select(Delivery))).one()
    assert delivery.state == "held"
    assert delivery.reason.startswith("late")


async def test_a_thread_public_in_part_is_not_cancelled_with_its_post(world: World) -> None:
    segments = [{"text": f"{n}/2", "media": []} for n in (1, 2)]
    world.practice.turn(Platform.MASTODON, Turn(latency_ms=800, when="after", count=1))
    post = await world.scheduled(texts={"en": segments})
    async with world.working():
        await world.settle(post, lambda each: each.state == "sending")
        async with world.as_("zorc") as (uow, actor):
            await postures.stop(uow, actor, reason="wrong")
        [delivery] = await world.settle(post, lambda each: each.state == "held")
    assert delivery.remote_url
    async with world.as_("hocevar") as (uow, actor):
        await posts.cancel(uow, actor, post.id)
    assert [each.state for each in await world.deliveries(post)] == ["held"]


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE delivery SET remote_id = 'another'", "remote_changed"),
        ("UPDATE attempt SET outcome = 'rejected'", "attempt_changed"),
        ("UPDATE attempt SET request = '{}'", "attempt_changed"),
        ("UPDATE approval SET decided_at = '2026-01-01T00:00:00.000000Z'", "approval_changed"),
        ("DELETE FROM attempt", "row_gone"),
        ("DELETE FROM approval", "row_gone"),
    ],
)
async def test_verification_names_what_was_changed_or_deleted_by_hand(
    world: World, statement: str, code: str
) -> None:
    post = await world.scheduled()
    async with world.working():
        await world.settle(post, lambda each: each.state == "verified")
    async with world.app.open_uow() as uow:
        if "'{}'" in statement:
            await uow.session.execute(update(Attempt).values(request=b"{}"))
        else:
            await uow.session.execute(text(statement))
    async with world.app.open_uow.read() as uow:
        request = ExportRequest(requested_by="mlakar", reason="test", at=utc_now())
        verdict = await evidence.verify(uow, trust=world.app.trust, request=request)
    assert verdict.log.ok
    assert {each.code for each in verdict.mismatches} == {code}
    assert all(each.seq is not None for each in verdict.mismatches)


async def test_a_post_has_some_minutes_to_leave(world: World) -> None:
    with pytest.raises(LateMinutesError):
        await world.draft(when=When(local=None, late_minutes=0))


@pytest.mark.parametrize(
    "address",
    [
        "social.karvenia.example",
        "ftp://karvenia.example",
        "https://a@b.example",
        "https://b.example/x",
        "https://b.example:port",
    ],
)
async def test_a_server_is_given_by_its_origin(world: World, address: str) -> None:
    new = NewAccount(
        code="x", mission="krv.hq", platform="mastodon", base_url=address, language="en", secret="s"
    )
    with pytest.raises(ServerAddressError):
        await accounts.connect(world.app.open_uow, world.app.kit, await world.actor("bizjak"), new)


def test_a_log_of_an_accident_shows_no_local_variable(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO")
    try:
        _break("a-token-of-the-" + "ministry")
    except RuntimeError:
        structlog.get_logger().exception("it.broke")
    finally:
        structlog.reset_defaults()
    shown = capsys.readouterr().err
    assert "it.broke" in shown
    assert "a-token-of-the-ministry" not in shown


def _break(token: str) -> None:
    raise RuntimeError(f"{len(token)} characters")


async def _doubtful(world: World) -> None:
    """A delivery whose answer was lost, on a platform that cannot be asked."""
    await world.scheduled()
    claimed = await _claimed(world)
    courier = Courier(world.app.open_uow, world.app.kit, asyncio.Event())
    intent = await courier._reach_intent(claimed)
    assert intent is not None
    world.practice.turn(Platform.MASTODON, Turn(lose_answer=True, count=1))
    await courier._record(intent, await courier._send(intent))
    async with world.app.open_uow() as uow:
        delivery = (await uow.session.scalars(select(Delivery).with_for_update())).one()
        assert delivery.state == "unknown"
        await holds.hold(uow, delivery, Obstacle(code="outcome_unknown", message="look"))
