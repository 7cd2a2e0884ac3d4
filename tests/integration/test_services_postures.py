"""Postures: who sets and lifts them, what they catch, and how it is released."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from scheduler.audit.record import parse_record
from scheduler.canonical import sha256_hex
from scheduler.db import rules
from scheduler.db.postures import Met
from scheduler.db.tables import Attempt, AuditOutbox, Delivery, Post, Posture
from scheduler.domain.people import Permission
from scheduler.services import postures, release, releasing
from scheduler.services.postures import NewPosture
from scheduler.services.writing import When
from tests.integration.services_fixtures import (
    come_due,
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOON = When(local="2090-06-01T09:00", zone="UTC")
SOON_AT = datetime(2090, 6, 1, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
UKRAINIAN = {"uk": [{"text": "Добрий ранок", "media": []}]}


async def _stop(world: World, by: str = "zorc", **new: object) -> postures.StopReceipt:
    async with world.as_(by) as (uow, actor):
        return await postures.stop(uow, actor, reason="why", new=NewPosture(**new))  # type: ignore[arg-type]


async def _lift(world: World, receipt: postures.StopReceipt, by: str = "vidmar") -> None:
    async with world.as_(by) as (uow, actor):
        await postures.resume(uow, actor, reason="over", posture_id=receipt.posture.id)


async def _in_force(world: World) -> list[str]:
    async with world.app.open_uow.read() as uow:
        return [each.kind for each in await rules.load_postures(uow)]


def _posts(met: Sequence[Met]) -> list[str]:
    return [each.title for each in met]


@pytest.mark.parametrize(
    ("by", "other"), [("hocevar", "bizjak"), ("zorc", "hocevar"), ("bizjak", "zorc")]
)
async def test_whoever_works_at_the_headquarters_may_stop_and_another_of_them_resume(
    own: World, by: str, other: str
) -> None:
    async with recording(own) as actions, own.as_(by) as (uow, actor):
        receipt = await postures.stop(uow, actor, reason="A day of mourning")
    assert actions == ["posture.stop"]
    assert receipt.posture.started_by == actor.person_id
    async with own.app.open_uow.read() as uow:
        [stop] = await rules.load_postures(uow)
    assert (stop.reason, stop.stops_everything) == ("A day of mourning", True)
    async with refused(own, "already_stopped"), own.as_(other) as (uow, actor):
        await postures.stop(uow, actor, reason="again")
    async with recording(own) as actions, own.as_(other) as (uow, actor):
        ended = await postures.resume(uow, actor, reason="The day is over")
    assert actions == ["posture.resume"]
    assert (ended.ended_by, ended.end_proposed_by) == (actor.person_id, None)
    assert await _in_force(own) == []


async def test_who_lifts_a_posture_is_not_who_set_it(own: World) -> None:
    receipt = await _stop(own, "zorc")
    async with recording(own) as actions, own.as_("zorc") as (uow, actor):
        proposed = await postures.resume(uow, actor, reason="it is over, I think")
    assert actions == ["posture.propose_resume"]
    assert (proposed.end_proposed_by, proposed.ended_at) == (actor.person_id, None)
    assert await _in_force(own) == ["stop"]
    async with refused(own, "second_person_needed"), own.as_("zorc") as (uow, actor):
        await postures.resume(uow, actor, reason="now, please")
    async with recording(own) as actions:
        await _lift(own, receipt, by="hocevar")
    assert actions == ["posture.resume"]
    assert await _in_force(own) == []
    async with refused(own, "not_stopped"):
        await _lift(own, receipt, by="hocevar")


async def test_what_is_not_stopped_is_not_resumed(own: World) -> None:
    for by in ("zorc", "olena"):
        async with refused(own, "not_stopped"), own.as_(by) as (uow, actor):
            await postures.resume(uow, actor, reason="to be sure")


@pytest.mark.parametrize(
    ("by", "reason", "code"),
    [
        ("vidmar", "", "reason_missing"),
        ("vidmar", " \t\n", "reason_missing"),
        ("mlakar", "an auditor only looks", "permission_denied"),
        ("olena", "an embassy stops nobody else", "permission_denied"),
    ],
)
async def test_a_stop_and_its_end_are_refused(own: World, by: str, reason: str, code: str) -> None:
    async with refused(own, code), own.as_(by) as (uow, actor):
        await postures.stop(uow, actor, reason=reason)
    await _stop(own, "zorc")
    async with refused(own, code), own.as_(by) as (uow, actor):
        await postures.resume(uow, actor, reason=reason)


async def test_of_several_postures_the_one_to_lift_is_named(own: World) -> None:
    mourning = await _stop(own, kind="mourning", allowed_classes=("consular_alert",))
    await _stop(own, kind="freeze", mission="krv.tyo")
    async with refused(own, "posture_ambiguous") as caught, own.as_("vidmar") as (uow, actor):
        await postures.resume(uow, actor, reason="over")
    assert str(mourning.posture.id) in caught.value.details["postures"]
    await _lift(own, mourning)
    assert await _in_force(own) == ["freeze"]
    async with own.as_("vidmar") as (uow, actor):
        await postures.resume(uow, actor, reason="over")
    assert await _in_force(own) == []


async def test_the_same_stop_twice_is_refused_but_a_longer_or_wider_one_is_not(own: World) -> None:
    await _stop(own, ends_at=SOON_AT)
    await _stop(own, kind="freeze")
    await _stop(own)  # the first one ends by itself
    await _stop(own, mission="krv.kyi")
    for new in ({}, {"mission": "krv.kyi"}, {"mission": "krv.kyi", "ends_at": SOON_AT}):
        async with refused(own, "already_stopped"):
            await _stop(own, "vidmar", **new)
    assert len(await _in_force(own)) == 4


@pytest.mark.parametrize(
    ("by", "new", "code"),
    [
        ("olena", {}, "permission_denied"),
        ("olena", {"language": "uk"}, "permission_denied"),
        ("olena", {"mission": "krv.hq"}, "not_found"),
        ("olena", {"mission": "krv.tyo"}, "not_found"),
        ("olena", {"account": "hq.mastodon"}, "not_found"),
        ("olena", {"mission": "krv.kyi", "account": "hq.mastodon"}, "not_found"),
        ("olena", {"account": "nobody.mastodon"}, "not_found"),
        ("mlakar", {"mission": "krv.kyi"}, "permission_denied"),
        ("mlakar", {"account": "kyi.mastodon"}, "permission_denied"),
        ("zorc", {"ends_at": datetime(2020, 1, 1, tzinfo=UTC)}, "posture_times"),
        ("zorc", {"starts_at": SOON_AT, "ends_at": SOON_AT}, "posture_times"),
    ],
)
async def test_a_posture_is_refused(
    shared: World, by: str, new: dict[str, object], code: str
) -> None:
    async with refused(shared, code):
        await _stop(shared, by, **new)


@pytest.mark.parametrize(
    "new", [{"mission": "krv.kyi"}, {"account": "kyi.mastodon"}, {"account": "kyi.bluesky", "language": "uk"}]
)  # fmt: skip
async def test_an_embassy_stops_itself_and_the_headquarters_lifts_it(
    own: World, new: dict[str, object]
) -> None:
    receipt = await _stop(own, "olena", **new)
    async with refused(own, "not_found"):
        await _lift(own, receipt, by="sato")
    async with own.as_("sato") as (uow, actor):
        assert await postures.find_visible(uow, actor) == []
    await _lift(own, receipt, by="hocevar")


async def test_what_the_headquarters_has_stopped_for_an_embassy_the_embassy_does_not_lift(
    own: World,
) -> None:
    receipt = await _stop(own, "zorc", mission="krv.kyi")
    async with own.as_("olena") as (uow, actor):
        [(seen, _)] = await postures.find_visible(uow, actor)
    assert seen.id == receipt.posture.id
    async with refused(own, "permission_denied"):
        await _lift(own, receipt, by="olena")
    async with refused(own, "permission_denied"), own.as_("olena") as (uow, actor):
        await postures.resume(uow, actor, reason="please")
    async with refused(own, "token_scope"), own.as_("vidmar") as (uow, actor):
        narrow = type(actor)(
            person_id=actor.person_id,
            grants=actor.grants,
            via="test",
            scopes=frozenset({Permission.READ}),
        )
        await postures.resume(uow, narrow, reason="over", posture_id=receipt.posture.id)


async def test_a_stop_tells_what_it_caught_and_what_it_came_too_late_for(own: World) -> None:
    made = {}
    for state in ("ready", "claimed", "preparing", "sending", "unknown"):
        post = await own.scheduled(when=SOON, title=state)
        async with own.app.open_uow() as uow:
            query = update(Delivery).where(col(Delivery.post_id) == post.id)
            in_hand = state not in {"ready", "unknown"}
            lease = datetime(2090, 1, 1, tzinfo=UTC) if in_hand else None
            await uow.session.execute(query.values(state=state, lease_until=lease))
        made[state] = (await own.deliveries(post))[0].id
    await own.draft()
    receipt = await _stop(own)
    assert _posts(receipt.caught) == ["ready", "claimed", "preparing"]
    assert [each.delivery_id for each in receipt.in_flight] == [made["sending"], made["unknown"]]
    assert {each.account for each in receipt.caught} == {"hq.mastodon"}
    assert {each.due_at for each in receipt.caught} == {SOON_AT}
    async with own.app.open_uow.read() as uow:
        query = select(AuditOutbox).order_by(col(AuditOutbox.id).desc()).limit(1)
        told = parse_record((await uow.session.scalars(query)).one().body).detail
    lines = "\n".join(sorted(str(made[each]) for each in ("ready", "claimed", "preparing")))
    assert (told["caught"], told["in_flight"]) == (3, 2)
    assert told["caught_sha256"] == sha256_hex(lines.encode())


@pytest.mark.parametrize(
    ("new", "caught"),
    [
        ({}, ["hq", "kyi", "alert", "later"]),
        ({"mission": "krv.hq"}, ["hq", "kyi", "alert", "later"]),
        ({"mission": "krv.kyi"}, ["kyi"]),
        ({"mission": "krv.tyo"}, []),
        ({"account": "hq.mastodon"}, ["hq", "alert", "later"]),
        ({"language": "uk"}, ["kyi"]),
        ({"language": "uk", "account": "hq.mastodon"}, []),
        ({"allowed_classes": ("consular_alert",)}, ["hq", "kyi", "later"]),
        ({"ends_at": SOON_AT + HOUR}, ["hq", "kyi", "alert"]),
        ({"starts_at": SOON_AT + HOUR}, ["later"]),
        ({"starts_at": SOON_AT + 2 * HOUR, "ends_at": SOON_AT + 3 * HOUR}, []),
    ],
)
async def test_a_posture_catches_what_it_forbids_and_nothing_else(
    own: World, new: dict[str, object], caught: list[str]
) -> None:
    await own.scheduled(title="hq", when=SOON)
    await own.scheduled(title="kyi", when=SOON, targets=("kyi.mastodon",), texts=UKRAINIAN)
    await own.scheduled(title="alert", when=SOON, post_class="consular_alert")
    await own.scheduled(title="later", when=When(local="2090-06-01T10:00", zone="UTC"))
    receipt = await _stop(own, **new)
    assert _posts(receipt.caught) == caught
    async with own.app.open_uow.read() as uow:
        query = select(Delivery, col(Post.title)).join(Post, col(Post.id) == col(Delivery.post_id))
        rows = (await uow.session.execute(query)).all()
        stops = await release.find_stops(uow, [delivery for delivery, _ in rows])
    assert sorted(caught) == sorted(title for delivery, title in rows if delivery.id in stops)


async def test_what_is_due_when_a_posture_ends_by_itself_leaves(own: World) -> None:
    """It is prepared some seconds ahead, while the posture still stands: its own time counts."""
    post = await own.scheduled(when=SOON)
    await _stop(own, ends_at=SOON_AT)
    async with own.app.open_uow() as uow:
        delivery = await uow.session.get_one(Delivery, (await own.deliveries(post))[0].id)
        assert await release.find_stops(uow, [delivery]) == {}
        delivery.due_at = SOON_AT - timedelta(seconds=1)
        await uow.session.flush()
        assert set(await release.find_stops(uow, [delivery])) == {delivery.id}
        uow.now = SOON_AT
        assert await release.find_stops(uow, [delivery]) == {}


async def test_what_a_posture_has_held_is_released_by_a_person_spread_evenly(own: World) -> None:
    for number in range(4):
        await own.scheduled(title=str(number))
    receipt = await _stop(own)
    assert len(receipt.caught) == 4
    await come_due(own)
    async with refused(own, "posture_in_force"):
        await _release(own, receipt, "zorc")
    await _lift(own, receipt)
    states = {each.state for each in await _all(own)}
    assert states == {"held"}
    async with refused(own, "permission_denied"):
        await _release(own, receipt, "hocevar")
    async with refused(own, "reason_missing"):
        await _release(own, receipt, "zorc", reason=" ")
    async with recording(own) as actions:
        done = await _release(own, receipt, "zorc")
    assert actions == ["delivery.release"] * 4
    assert done.skipped == ()
    first = done.released[0].due_at
    gaps = [each.due_at - first for each in done.released]
    assert gaps == [timedelta(minutes=15) * number for number in range(4)]
    rows = await _all(own)
    assert [(each.state, each.due_at, each.wake_at) for each in rows] == [
        ("ready", told.due_at, told.due_at) for told in done.released
    ]
    assert (await _release(own, receipt, "zorc")).released == ()


async def test_a_release_leaves_held_what_may_not_go_and_names_it(own: World) -> None:
    names = ("free", "over", "soon over", "forbidden", "by another", "doubtful")
    for name in names:
        alert = {"post_class": "consular_alert"} if name == "forbidden" else {}
        await own.scheduled(title=name, **alert)
    receipt = await _stop(own)
    await come_due(own)
    rows = dict(zip(names, await _all(own), strict=True))
    async with own.app.open_uow() as uow:
        for name, values in (
            ("over", {"expires_at": uow.now - HOUR}),
            ("soon over", {"expires_at": uow.now + timedelta(minutes=1)}),
            ("by another", {"reason": "late: the machine was off"}),
        ):
            query = update(Delivery).where(col(Delivery.id) == rows[name].id)
            await uow.session.execute(query.values(**values))
        uow.session.add(_doubt(rows["doubtful"], uow.now))
    await _lift(own, receipt)
    not_alerts = await _stop(own, allowed_classes=("routine",))
    done = await _release(own, receipt, "zorc")
    title = {row.id: name for name, row in rows.items()}
    assert [title[each.delivery_id] for each in done.released] == ["free"]
    assert {title[each.delivery_id]: each.code for each in done.skipped} == {
        "over": "window_over",
        "soon over": "window_over",
        "forbidden": "stopped",
        "doubtful": "maybe_public",
    }
    [stopped] = [each for each in done.skipped if each.code == "stopped"]
    assert str(not_alerts.posture.id) in stopped.message
    assert [each.state for each in await _all(own)] == ["ready", *["held"] * 5]


async def test_a_posture_that_has_ended_by_itself_releases_nothing_by_itself(own: World) -> None:
    await own.scheduled()
    receipt = await _stop(own, kind="mourning", ends_at=SOON_AT)
    await come_due(own)
    async with own.app.open_uow() as uow:  # two hours go by
        posture = (await uow.session.scalars(select(Posture))).one()
        posture.started_at, posture.ends_at = uow.now - 2 * HOUR, uow.now
    assert await _in_force(own) == []
    async with own.as_("vidmar") as (uow, actor):
        assert await postures.find_visible(uow, actor) == []
    assert [each.state for each in await _all(own)] == ["held"]
    async with refused(own, "not_stopped"):
        await _lift(own, receipt)
    assert len((await _release(own, receipt, "zorc")).released) == 1


async def test_what_is_not_ones_own_to_repair_stays_held(own: World) -> None:
    """A token without the scope releases nothing, a posture of others does not exist."""
    receipt = await _stop(own, mission="krv.kyi")
    await _lift(own, receipt)
    async with refused(own, "token_scope"), own.as_("zorc") as (uow, actor):
        narrow = type(actor)(
            person_id=actor.person_id,
            grants=actor.grants,
            via="test",
            scopes=frozenset({Permission.READ}),
        )
        await releasing.release_caught(uow, narrow, receipt.posture.id, reason="over", spread=HOUR)


async def _release(
    world: World, receipt: postures.StopReceipt, by: str, *, reason: str = "over"
) -> releasing.ReleaseReceipt:
    async with world.as_(by) as (uow, actor):
        return await releasing.release_caught(
            uow, actor, receipt.posture.id, reason=reason, spread=HOUR
        )


async def _all(world: World) -> list[Delivery]:
    async with world.app.open_uow.read() as uow:
        return list(await uow.session.scalars(select(Delivery).order_by(col(Delivery.id))))


def _doubt(delivery: Delivery, now: datetime) -> Attempt:
    return Attempt(
        delivery_id=delivery.id,
        number=1,
        part=0,
        fence=0,
        idempotency_key="k",
        request=b"{}",
        request_sha256=sha256_hex(b"{}"),
        started_at=now,
        deadline=now,
        outcome="unknown",
        evidence={},
        ended_at=now,
    )
