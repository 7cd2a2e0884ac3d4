"""Enrolment and tokens: nobody holds another's, only hashes are kept, and every end of one is an end."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from scheduler.db import missions, persons
from scheduler.domain.people import Actor, Permission, Role
from scheduler.services import people, tokens
from scheduler.services.people import NewGrant
from scheduler.services.tokens import IssuedCode, IssuedToken
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
TICK = timedelta(microseconds=1)


@pytest.fixture
def code() -> str:
    return f"new-{uuid4().hex[:8]}"


async def _supervisor(world: World, code: str) -> None:
    async with world.as_("bizjak") as (uow, actor):
        person = await people.add_person(uow, actor, code, "Nova Oseba", ())
        root = await missions.find_root(uow)
        assert root is not None
        grant = NewGrant(person=code, mission=root.code, role=Role.SUPERVISOR)
        await people.insert_bootstrap_grant(uow, person, root, grant)


async def _enrol(world: World, code: str) -> IssuedCode:
    async with world.as_("bizjak") as (uow, actor):
        return await people.enrol_person(uow, actor, code)


async def _redeem(world: World, code: str, **fields: object) -> IssuedToken:
    async with world.app.open_uow() as uow:
        return await tokens.redeem(uow, code, **fields)  # type: ignore[arg-type]


async def _authenticate(world: World, token: str) -> Actor:
    async with world.app.open_uow.read() as uow:
        return await tokens.authenticate(uow, token, via="api")


async def test_a_code_is_turned_into_a_token_that_opens_what_the_person_may(
    shared: World, code: str
) -> None:
    await _supervisor(shared, code)
    async with recording(shared) as actions:
        enrolled = await _enrol(shared, code)
    assert actions == ["person.suspend_approvals", "person.enrol"]
    async with recording(shared) as actions:
        issued = await _redeem(shared, enrolled.code)
    assert actions == ["person.redeem"]
    actor = await _authenticate(shared, issued.token)
    assert actor.person_id == enrolled.person.id
    assert actor.via == "api"
    assert actor.scopes == frozenset(Permission)
    assert [grant.role for grant in actor.grants] == [Role.SUPERVISOR]


async def test_a_code_works_once(shared: World, code: str) -> None:
    await _supervisor(shared, code)
    enrolled = await _enrol(shared, code)
    await _redeem(shared, enrolled.code)
    async with refused(shared, "enrolment_rejected"):
        await _redeem(shared, enrolled.code)


async def test_a_code_works_for_24_hours_and_not_an_instant_longer(
    shared: World, code: str
) -> None:
    await _supervisor(shared, code)
    enrolled = await _enrol(shared, code)
    async with refused(shared, "enrolment_rejected"), shared.app.open_uow() as uow:
        uow.now = enrolled.expires_at
        await tokens.redeem(uow, enrolled.code)
    async with shared.app.open_uow() as uow:
        assert (
            timedelta(hours=23, minutes=59) < enrolled.expires_at - uow.now <= timedelta(hours=24)
        )
        uow.now = enrolled.expires_at - TICK
        assert (await tokens.redeem(uow, enrolled.code)).person.code == code


async def test_a_code_may_be_typed_in_small_letters_and_with_spaces_around(
    shared: World, code: str
) -> None:
    await _supervisor(shared, code)
    enrolled = await _enrol(shared, code)
    assert len(enrolled.code) == 27
    issued = await _redeem(shared, f"  {enrolled.code.lower()}\n")
    assert issued.person.code == code


@pytest.mark.parametrize("typed", ["", "ABCDEF-ABCDEF-ABCDEF-ABCDEF", "'; DROP TABLE enrolment"])
async def test_a_code_that_was_never_issued_opens_nothing(shared: World, typed: str) -> None:
    async with refused(shared, "enrolment_rejected") as caught:
        await _redeem(shared, typed)
    assert caught.value.status == 401


async def test_enrolling_again_ends_the_tokens_and_suspends_approvals_for_a_day(
    shared: World, code: str
) -> None:
    await _supervisor(shared, code)
    first = await _redeem(shared, (await _enrol(shared, code)).code)
    async with recording(shared) as actions:
        again = await _enrol(shared, code)
    assert sorted(actions) == ["person.enrol", "person.suspend_approvals", "token.revoke"]
    async with refused(shared, "token_rejected"):
        await _authenticate(shared, first.token)
    second = await _redeem(shared, again.code)
    actor = await _authenticate(shared, second.token)
    [grant] = actor.grants
    until = actor.approvals_suspended_until
    assert until is not None
    assert actor.may(Permission.WRITE, grant.mission_path, now=until - TICK)
    assert not actor.may(Permission.APPROVE, grant.mission_path, now=until - TICK)
    assert actor.may(Permission.APPROVE, grant.mission_path, now=until)
    async with shared.app.open_uow.read() as uow:
        assert timedelta(hours=23, minutes=59) < until - uow.now <= timedelta(hours=24)


async def test_who_issued_the_first_code_cannot_approve_with_it(shared: World, code: str) -> None:
    await _supervisor(shared, code)
    issued = await _redeem(shared, (await _enrol(shared, code)).code)
    until = (await _authenticate(shared, issued.token)).approvals_suspended_until
    async with shared.app.open_uow.read() as uow:
        assert until is not None
        assert timedelta(hours=23, minutes=59) < until - uow.now <= timedelta(hours=24)


async def test_a_token_is_good_until_its_expiry(shared: World, code: str) -> None:
    await _supervisor(shared, code)
    issued = await _redeem(shared, (await _enrol(shared, code)).code)
    async with shared.app.open_uow.read() as uow:
        assert timedelta(days=89) < issued.expires_at - uow.now <= timedelta(days=90)
        uow.now = issued.expires_at - TICK
        await tokens.authenticate(uow, issued.token, via="api")
    async with refused(shared, "token_rejected"), shared.app.open_uow.read() as uow:
        uow.now = issued.expires_at
        await tokens.authenticate(uow, issued.token, via="api")


async def test_a_revoked_token_opens_nothing(shared: World, code: str) -> None:
    await _supervisor(shared, code)
    issued = await _redeem(shared, (await _enrol(shared, code)).code)
    actor = await _authenticate(shared, issued.token)
    async with recording(shared) as actions, shared.app.open_uow() as uow:
        await tokens.log_out(uow, actor)
    assert actions == ["token.revoke"]
    async with refused(shared, "token_rejected") as caught:
        await _authenticate(shared, issued.token)
    assert caught.value.status == 401


@pytest.mark.parametrize("token", ["", "chancery_", "chancery_" + "A" * 43, "Bearer x"])
async def test_a_token_that_was_never_issued_opens_nothing(shared: World, token: str) -> None:
    async with refused(shared, "token_rejected"):
        await _authenticate(shared, token)


async def test_a_token_may_be_asked_for_with_less_than_the_person_may(
    shared: World, code: str
) -> None:
    await _supervisor(shared, code)
    enrolled = await _enrol(shared, code)
    wanted = frozenset({Permission.READ, Permission.STOP})
    issued = await _redeem(shared, enrolled.code, scopes=wanted)
    actor = await _authenticate(shared, issued.token)
    assert actor.scopes == wanted
    [grant] = actor.grants
    async with refused(shared, "token_scope"), shared.app.open_uow.read() as uow:
        actor.require(Permission.APPROVE, grant.mission_path, now=uow.now)


async def test_neither_code_nor_token_stands_in_the_database(shared: World, code: str) -> None:
    await _supervisor(shared, code)
    enrolled = await _enrol(shared, code)
    issued = await _redeem(shared, enrolled.code)
    async with shared.app.open_uow.read() as uow:
        held = ""
        for table in ("enrolment", "api_token", "person", "audit_outbox"):
            rows = await uow.session.execute(text(f"SELECT * FROM {table}"))  # noqa: S608 - our own names
            held += str(rows.all())
    assert issued.token not in held
    assert issued.token.removeprefix("chancery_") not in held
    assert enrolled.code not in held
    assert enrolled.code.replace("-", "") not in held


async def test_a_newer_code_makes_the_older_one_worthless(shared: World, code: str) -> None:
    """Else an admin could keep a second code back and act as the person later."""
    await _supervisor(shared, code)
    first, second = await _enrol(shared, code), await _enrol(shared, code)
    async with refused(shared, "enrolment_rejected"):
        await _redeem(shared, first.code)
    assert (await _redeem(shared, second.code)).person.code == code


async def test_logging_out_first_does_not_spare_the_suspension(shared: World, code: str) -> None:
    await _supervisor(shared, code)
    issued = await _redeem(shared, (await _enrol(shared, code)).code)
    async with shared.app.open_uow() as uow:
        await tokens.log_out(uow, await tokens.authenticate(uow, issued.token, via="api"))
    async with recording(shared) as actions:
        again = await _redeem(shared, (await _enrol(shared, code)).code)
    assert "person.suspend_approvals" in actions
    assert (await _authenticate(shared, again.token)).approvals_suspended_until is not None


async def test_an_admin_enrolled_by_another_manages_nothing_for_a_day(
    shared: World, code: str
) -> None:
    await _supervisor(shared, code)
    async with shared.app.open_uow() as uow:
        person = await persons.get_by_code(uow, code)
        root = await missions.find_root(uow)
        assert root is not None
        grant = NewGrant(person=code, mission=root.code, role=Role.ADMIN)
        await people.insert_bootstrap_grant(uow, person, root, grant)
    issued = await _redeem(shared, (await _enrol(shared, code)).code)
    newcomer = await _authenticate(shared, issued.token)
    async with refused(shared, "approvals_suspended"), shared.app.open_uow() as uow:
        await people.add_person(uow, newcomer, f"{code}-2", "Nova Oseba", ())


async def test_the_code_of_a_deactivated_person_opens_nothing(shared: World, code: str) -> None:
    await _supervisor(shared, code)
    enrolled = await _enrol(shared, code)
    async with shared.as_("bizjak") as (uow, actor):
        await people.deactivate_person(uow, actor, code)
    async with refused(shared, "enrolment_rejected"):
        await _redeem(shared, enrolled.code)
