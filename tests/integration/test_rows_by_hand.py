"""Whoever writes to the database alone: every row that decides something is named with the record it contradicts."""

from datetime import UTC, date, datetime

import pytest
import pytest_asyncio
from sqlalchemy import ColumnElement, and_, delete, insert, inspect, select, text, update
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.audit.export import ExportRequest
from scheduler.db import persons
from scheduler.db.seals import RULES, name_of
from scheduler.db.tables import (
    Account,
    ApiToken,
    Attempt,
    AuditLeaf,
    Base,
    Campaign,
    Comment,
    DataKey,
    Delivery,
    Enrolment,
    Grant,
    Media,
    Mission,
    Person,
    PolicyProposal,
    PolicyVersion,
    Post,
    PostEditor,
    Posture,
    SealedToken,
)
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Role
from scheduler.ids import new_id
from scheduler.services import (
    accounts,
    approvals,
    campaigns,
    evidence,
    keys,
    media,
    people,
    posts,
    postures,
    sequencing,
    series,
    tokens,
)
from scheduler.services.chains import Mismatch
from scheduler.services.people import NewGrant
from scheduler.services.series import Repeat
from scheduler.services.writing import Writing
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.pictures import picture
from tests.support.world import POLICY, World, connect

pytestmark = pytest.mark.asyncio(loop_scope="session")
_THEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture(name="lived", scope="module", loop_scope="session")
async def lived_fixture(shared: World) -> World:
    """A ministry in which everything has happened once: a row of every kind, and all of it sealed."""
    await _write_posts(shared)
    await _let_people_in_and_out(shared)
    await _stop_and_resume(shared)
    await _change_the_policy(shared)
    await _change_accounts(shared)
    await _seal(shared)
    return shared


async def _write_posts(shared: World) -> None:
    app = shared.app
    segments = [{"text": f"{n}/2 from the Lipovec Forum", "media": []} for n in (1, 2)]
    async with shared.as_("hocevar") as (uow, actor):
        await campaigns.add(uow, actor, code="forum", title="The forum", mission_code="krv.hq")
    post = await shared.scheduled(texts={"en": segments})
    async with shared.working():
        await shared.settle(post, lambda each: each.state == "verified")
    monday = Repeat(rule="weekly MO 09:00", starts_on=date(2090, 6, 1), count=2)
    async with shared.as_("hocevar") as (uow, actor):
        made = await series.repeat(uow, actor, post.id, monday)
    await series.end(app.open_uow, actor, made.id, reason="the forum is over")
    returned = await shared.submit(await shared.draft(campaign="forum"))
    async with shared.as_("vidmar") as (uow, actor):
        await approvals.send_back(uow, actor, returned.id, comment="name the minister")
    async with shared.as_("hocevar") as (uow, actor):
        moved = Writing(
            targets=("hq.bluesky",), languages={"hq.bluesky": "en"}, title="The minister"
        )
        await posts.edit(uow, actor, returned.id, moved, revision=2)
        await campaigns.close(uow, actor, "forum")
    officer = await shared.actor("hocevar")
    await media.upload(app.open_uow, app.kit, officer, "krv.hq", picture("PNG"), "image/png")


async def _let_people_in_and_out(shared: World) -> None:
    app = shared.app
    async with shared.as_("bizjak") as (uow, actor):
        code = await people.enrol_person(uow, actor, "hocevar")
        await people.propose_grant(
            uow, actor, NewGrant(person="sato", mission="krv.tyo", role=Role.SUPERVISOR)
        )
    async with app.open_uow() as uow:
        token = await tokens.redeem(uow, code.code)
    async with app.open_uow() as uow:
        await tokens.log_out(uow, await tokens.authenticate(uow, token.token, via="test"))


async def _stop_and_resume(shared: World) -> None:
    async with shared.as_("zorc") as (uow, actor):
        await postures.stop(uow, actor, reason="mourning")
    async with shared.as_("vidmar") as (uow, actor):
        await postures.resume(uow, actor, reason="over")


async def _change_the_policy(shared: World) -> None:
    await shared.activate(POLICY.replace(b"karvenia-test-1", b"karvenia-test-2"))


async def _change_accounts(shared: World) -> None:
    app = shared.app
    await connect(shared, "tyo", "krv.tyo", "ja")
    async with shared.as_("bizjak") as (uow, actor):
        await accounts.remove(uow, actor, shared.accounts["tyo.bluesky"], reason="closed")
    await accounts.check(app.open_uow, app.kit, actor, shared.accounts["tyo.mastodon"])
    async with app.open_uow() as uow:
        keys.rotate(uow, app.kit.ring)
    async with app.open_uow() as uow:
        await keys.rewrap(uow, app.kit)


async def _seal(world: World) -> None:
    async with world.app.open_uow() as uow:
        await sequencing.seal(uow, world.app.log_keys, owner="test-worker")


async def _mismatches(world: World, uow: UnitOfWork) -> list[Mismatch]:
    request = ExportRequest(requested_by="mlakar", reason="yearly review", at=uow.now)
    verdict = await evidence.verify(uow, trust=world.app.trust, request=request)
    assert verdict.log.ok
    return list(verdict.mismatches)


def _is(row: Base) -> ColumnElement[bool]:
    table = inspect(type(row))
    return and_(*(column == getattr(row, column.key) for column in table.primary_key))


async def _newest(uow: UnitOfWork, table: type[Base]) -> Base:
    [key, *_] = inspect(table).primary_key
    found = (await uow.session.scalars(select(table).order_by(key.desc()).limit(1))).one()
    uow.session.expunge_all()
    return found


async def test_what_has_happened_lawfully_verifies(lived: World) -> None:
    async with lived.app.open_uow.read() as uow:
        assert await _mismatches(lived, uow) == []
        for table in RULES:
            assert await _newest(uow, table), table


@pytest.mark.parametrize(
    ("table", "values", "action"),
    [
        (Mission, {"path": "/x/"}, "mission.add"),
        (Mission, {"parent_id": None}, "mission.add"),
        (Person, {"name": "Somebody Else"}, "person.add"),
        (Person, {"active": False}, "person.add"),
        (Person, {"approvals_suspended_until": _THEN}, "person.add"),
        (Grant, {"bootstrap": True}, "grant.propose"),
        (Grant, {"role": "admin"}, "grant.propose"),
        (Grant, {"not_before": _THEN}, "grant.propose"),
        (Grant, {"confirmed_at": _THEN}, "grant.propose"),
        (Enrolment, {"redeemed_at": None}, "person.redeem"),
        (Enrolment, {"code_sha256": "0" * 64}, "person.redeem"),
        (ApiToken, {"revoked_at": None}, "token.revoke"),
        (ApiToken, {"expires_at": datetime(2099, 1, 1, tzinfo=UTC)}, "token.revoke"),
        (ApiToken, {"token_sha256": "0" * 64}, "token.revoke"),
        (Account, {"state": "paused"}, "account.remove"),
        (Account, {"base_url": "https://evil.example"}, "account.remove"),
        (Account, {"external_id": "999"}, "account.remove"),
        (Account, {"language": "sl"}, "account.remove"),
        (DataKey, {"wrapped": b"x"}, "key.rewrap"),
        (SealedToken, {"generation": 9}, "token.seal"),
        (SealedToken, {"blob": b"x"}, "token.seal"),
        (Media, {"width": 1}, "media.add"),
        (Media, {"mime": "image/gif"}, "media.add"),
        (Campaign, {"closed_at": None}, "campaign.close"),
        (Campaign, {"code": "cables"}, "campaign.close"),
        (Posture, {"ended_at": _THEN}, "posture.resume"),
        (Posture, {"reason": "none"}, "posture.resume"),
        (PolicyProposal, {"digest": "sha256:00"}, "policy.propose"),
        (PolicyProposal, {"body": b"format = 1"}, "policy.propose"),
        (PolicyVersion, {"body": b"format = 1"}, "policy.activate"),
        (PolicyVersion, {"digest": "sha256:00"}, "policy.activate"),
        (Post, {"title": "x"}, "post.edit"),
        (Post, {"campaign_id": None}, "post.edit"),
        (Post, {"local_time": "2030-01-01T00:00", "zone": "UTC"}, "post.edit"),
        (Comment, {"text": "fine"}, "post.return"),
        (Delivery, {"language": "sl"}, "delivery.plan"),
        (Delivery, {"remote_url": "https://evil.example/"}, "delivery.plan"),
        (Delivery, {"sent_at": _THEN}, "delivery.plan"),
        (Delivery, {"progress": {"parts": [{"id": "1"}]}}, "delivery.plan"),
        (Attempt, {"evidence": {"remote_id": "1"}}, "delivery.sent"),
        (Attempt, {"idempotency_key": "x"}, "delivery.sent"),
        (Attempt, {"message": "x"}, "delivery.sent"),
    ],
    ids=lambda value: (
        "-".join(value) if isinstance(value, dict) else getattr(value, "__name__", str(value))
    ),
)
async def test_a_row_changed_by_hand_is_named_with_its_newest_record(
    lived: World, table: type[Base], values: dict[str, object], action: str
) -> None:
    async with lived.app.open_uow.read() as uow:
        row = await _newest(uow, table)
        await uow.session.execute(update(table).where(_is(row)).values(**values))
        [found] = await _mismatches(lived, uow)
        assert (found.subject, found.code) == (name_of(row), "row_changed")
        assert found.seq is not None
        leaf = await uow.session.get_one(AuditLeaf, found.seq)
        assert f'"act":"{action}"'.encode() in leaf.line


@pytest.mark.parametrize("table", [Posture, Comment, Media, ApiToken, PostEditor, Attempt])
async def test_a_row_deleted_by_hand_is_missed(lived: World, table: type[Base]) -> None:
    async with lived.app.open_uow.read() as uow:
        row = await _newest(uow, table)
        await uow.session.execute(delete(table).where(_is(row)))
        [found] = await _mismatches(lived, uow)
        assert (found.subject, found.code) == (name_of(row), "row_gone")


@pytest.mark.parametrize("table", [Grant, Person, Posture, ApiToken, PolicyVersion])
async def test_a_row_put_in_by_hand_is_named_as_unrecorded(lived: World, table: type[Base]) -> None:
    async with lived.app.open_uow.read() as uow:
        row = await _newest(uow, table)
        others = {"id": new_id(), "code": "nobody", "token_sha256": "1" * 64}
        values = row.model_dump() | {k: v for k, v in others.items() if hasattr(row, k)}
        await uow.session.execute(insert(table).values(**values))
        [found] = await _mismatches(lived, uow)
        name = f"{inspect(table).local_table.name}:{values['id']}"
        assert (found.subject, found.code, found.seq) == (name, "row_unrecorded", None)


async def test_a_lawful_change_does_not_cover_up_an_unlawful_one(own: World) -> None:
    async with own.app.open_uow() as uow:
        change = update(Person).where(col(Person.code) == "hocevar")
        await uow.session.execute(change.values(name="Somebody Else"))
    async with own.as_("bizjak") as (uow, actor):
        person = await people.deactivate_person(uow, actor, "hocevar")
    await _seal(own)
    async with own.app.open_uow.read() as uow:
        [found] = await _mismatches(own, uow)
        assert (found.subject, found.code) == (f"person:{person.id}", "row_changed_before")
        assert found.seq is not None
        leaf = await uow.session.get_one(AuditLeaf, found.seq)
        assert f'"act":"{Action.PERSON_DEACTIVATE}"'.encode() in leaf.line


async def test_a_change_without_a_record_is_named(own: World) -> None:
    async with own.app.open_uow() as uow:
        person = await persons.get_by_code(uow, "hocevar")
        person.name = "Somebody Else"
    await _seal(own)
    async with own.app.open_uow.read() as uow:
        [found] = await _mismatches(own, uow)
    assert (found.subject, found.code) == (f"person:{person.id}", "row_changed")


async def test_rows_that_cannot_be_read_are_named_by_their_table(lived: World) -> None:
    if lived.app.open_uow.engine.dialect.name == "postgresql":
        return  # which stores no such values
    async with lived.app.open_uow.read() as uow:
        await uow.session.execute(text("UPDATE media SET created_at = 'once'"))
        await uow.session.execute(text("UPDATE \"grant\" SET not_before = 'once'"))
        found = await _mismatches(lived, uow)
    assert {(each.subject, each.code) for each in found} == {
        ("grant", "row_unreadable"),
        ("media", "row_unreadable"),
    }
