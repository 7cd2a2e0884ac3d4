"""Missions, persons and grants: made by admins, scoped by the tree, confirmed by a second one."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from scheduler.clock import iso
from scheduler.db import missions, persons
from scheduler.domain.people import Permission, Role
from scheduler.services import directory, people, tokens
from scheduler.services.people import NewGrant, NewMission
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    later,
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
TICK = timedelta(microseconds=1)


def _mission(code: str, **fields: object) -> NewMission:
    values: dict[str, object] = {
        "code": code,
        "name": code,
        "kind": "consulate",
        "parent": "krv.hq",
        "zone": "Europe/Vienna",
        "languages": ("de", "en"),
        **fields,
    }
    return NewMission(**values)  # type: ignore[arg-type]


async def _person(world: World, role: Role | None = None, mission: str = "krv.hq") -> str:
    """Somebody new; with a role, as if made at the set-up."""
    code = f"new-{uuid4().hex[:8]}"
    async with world.as_("bizjak") as (uow, actor):
        person = await people.add_person(uow, actor, code, "Nova Oseba", ("sl",))
        if role is not None:
            place = await missions.get_by_code(uow, actor, mission)
            grant = NewGrant(person=code, mission=mission, role=role)
            await people.insert_bootstrap_grant(uow, person, place, grant)
    return code


async def _propose(
    world: World, person: str, role: Role = Role.SUPERVISOR, **dates: object
) -> UUID:
    async with world.as_("bizjak") as (uow, actor):
        new = NewGrant(person=person, mission="krv.hq", role=role, **dates)  # type: ignore[arg-type]
        return (await people.propose_grant(uow, actor, new)).id


async def _confirm(world: World, grant: UUID, *, by: str = "oblak") -> None:
    async with world.as_(by) as (uow, actor):
        await people.confirm_grant(uow, actor, grant)


async def _may(
    world: World, person: str, permission: Permission, delay: timedelta = timedelta(0)
) -> bool:
    async with later(world, person, delay) as (uow, actor):
        root = await missions.find_root(uow)
        assert root is not None
        return actor.may(permission, root.path, now=uow.now)


async def test_a_mission_is_added_below_another_and_lies_in_its_scope(shared: World) -> None:
    async with recording(shared) as actions, shared.as_("bizjak") as (uow, actor):
        added = await people.add_mission(uow, actor, _mission("krv.vie"))
        below = await people.add_mission(uow, actor, _mission("krv.vie.desk", parent="krv.vie"))
    assert actions == ["mission.add", "mission.add"]
    assert below.path == f"{added.path}{below.id.hex}/"
    async with shared.as_("hocevar") as (uow, actor):
        seen = {each.code for each in await missions.find_all(uow, actor)}
    assert {"krv.hq", "krv.vie", "krv.vie.desk"} <= seen
    async with shared.as_("olena") as (uow, actor):
        assert [each.code for each in await missions.find_all(uow, actor)] == ["krv.kyi"]


@pytest.mark.parametrize(
    ("by", "fields", "code"),
    [
        ("bizjak", {"code": "krv.kyi"}, "code_taken"),
        ("bizjak", {"zone": "Europe/Lipovec"}, "time_zone_unknown"),
        ("bizjak", {"zone": "../etc/passwd"}, "time_zone_unknown"),
        ("bizjak", {"parent": None}, "invalid"),
        ("bizjak", {"parent": "krv.atlantis"}, "not_found"),
        ("hocevar", {}, "permission_denied"),
        ("olena", {}, "not_found"),
    ],
)
async def test_a_mission_is_refused(
    shared: World, by: str, fields: dict[str, object], code: str
) -> None:
    async with refused(shared, code), shared.as_(by) as (uow, actor):
        await people.add_mission(uow, actor, _mission(**{"code": "krv.new", **fields}))  # type: ignore[arg-type]


async def test_a_person_is_added_by_an_admin_of_the_headquarters(shared: World) -> None:
    async with recording(shared) as actions:
        code = await _person(shared)
    assert actions == ["person.add"]
    assert not await _may(shared, code, Permission.READ)


async def test_a_person_is_refused_to_whoever_does_not_manage_the_headquarters(
    shared: World,
) -> None:
    local = await _person(shared, Role.ADMIN, "krv.kyi")
    for by, code in (("zorc", "permission_denied"), (local, "permission_denied")):
        async with refused(shared, code), shared.as_(by) as (uow, actor):
            await people.add_person(uow, actor, "kovac", "Ana Kovač", ())
        async with refused(shared, code), shared.as_(by) as (uow, actor):
            await people.enrol_person(uow, actor, "hocevar")
        async with refused(shared, code), shared.as_(by) as (uow, actor):
            await people.deactivate_person(uow, actor, "hocevar")
    async with refused(shared, "code_taken"), shared.as_("bizjak") as (uow, actor):
        await people.add_person(uow, actor, "hocevar", "Tina Hočevar", ())
    async with refused(shared, "not_found"), shared.as_("bizjak") as (uow, actor):
        await people.enrol_person(uow, actor, "nobody")


async def test_a_grant_is_in_force_only_when_a_second_admin_has_confirmed_it(
    shared: World,
) -> None:
    person = await _person(shared)
    async with recording(shared) as actions:
        grant = await _propose(shared, person)
    assert actions == ["grant.propose"]
    assert not await _may(shared, person, Permission.READ)
    async with refused(shared, "second_admin_needed"):
        await _confirm(shared, grant, by="bizjak")
    assert not await _may(shared, person, Permission.READ)
    async with recording(shared) as actions:
        await _confirm(shared, grant)
    assert actions == ["grant.confirm"]
    assert await _may(shared, person, Permission.WRITE)
    async with refused(shared, "conflict"):
        await _confirm(shared, grant)


async def test_nobody_confirms_a_grant_of_their_own(shared: World) -> None:
    grant = await _propose(shared, "oblak")
    async with refused(shared, "second_admin_needed"):
        await _confirm(shared, grant, by="oblak")
    own = await _propose(shared, "bizjak")
    async with refused(shared, "second_admin_needed"):
        await _confirm(shared, own, by="bizjak")


async def test_a_confirmed_grant_approves_a_day_later_and_not_before(shared: World) -> None:
    person = await _person(shared)
    grant = await _propose(shared, person)
    await _confirm(shared, grant)
    async with shared.as_(person) as (_, actor):
        [held] = actor.grants
    async with shared.app.open_uow.read() as uow:
        ripe_in = held.may_approve_from - uow.now
    assert timedelta(hours=23, minutes=59) < ripe_in < timedelta(hours=24)
    assert await _may(shared, person, Permission.WRITE)
    assert not await _may(shared, person, Permission.APPROVE)
    assert not await _may(shared, person, Permission.APPROVE, ripe_in - timedelta(minutes=1))
    assert await _may(shared, person, Permission.APPROVE, timedelta(hours=24))


async def test_a_young_supervisor_is_told_until_when_to_wait(shared: World) -> None:
    person = await _person(shared)
    await _confirm(shared, await _propose(shared, person))
    post = await shared.submit(await shared.draft())
    async with refused(shared, "grant_too_young") as caught:
        await shared.approve(post, by=person)
    async with shared.as_(person) as (uow, actor):
        [(_, _, _, ripe)] = (await directory.identify(uow, actor)).grants
    assert ripe is not None
    assert caught.value.details["until"] == iso(ripe)
    assert iso(ripe) in str(caught.value)


async def test_whoever_was_enrolled_again_is_told_until_when_to_wait(shared: World) -> None:
    for code in ("zorc", "bizjak"):
        async with shared.app.open_uow() as uow:
            person = await persons.get_by_code(uow, code)
            person.approvals_suspended_until = uow.now + timedelta(hours=5)
    try:
        post = await shared.submit(await shared.draft())
        async with refused(shared, "approvals_suspended"):
            await shared.approve(post)
        async with refused(shared, "approvals_suspended"), shared.as_("bizjak") as (uow, actor):
            await people.enrol_person(uow, actor, "hocevar")
    finally:
        for code in ("zorc", "bizjak"):
            async with shared.app.open_uow() as uow:
                (await persons.get_by_code(uow, code)).approvals_suspended_until = None


async def test_a_grant_holds_between_its_dates(shared: World) -> None:
    person = await _person(shared)
    async with shared.app.open_uow.read() as uow:
        now = uow.now
    start, end = now + timedelta(days=2), now + timedelta(days=9)
    await _confirm(
        shared, await _propose(shared, person, Role.OFFICER, not_before=start, not_after=end)
    )
    for moment, holds in ((start - TICK, False), (start, True), (end - TICK, True), (end, False)):
        async with shared.app.open_uow.read() as uow:
            uow.now = moment
            found = await persons.get_by_code(uow, person)
            actor = await persons.load_actor(uow, found, via="test")
            assert bool(actor.grants) is holds, moment


async def test_a_grant_for_the_future_approves_from_its_beginning(shared: World) -> None:
    person = await _person(shared)
    async with shared.app.open_uow.read() as uow:
        start = uow.now + timedelta(days=5)
    await _confirm(shared, await _propose(shared, person, not_before=start))
    assert await _may(shared, person, Permission.APPROVE, timedelta(days=5, seconds=5))


async def test_a_revoked_grant_is_over_at_once_and_for_good(shared: World) -> None:
    person = await _person(shared)
    grant = await _propose(shared, person)
    await _confirm(shared, grant)
    async with recording(shared) as actions, shared.as_("bizjak") as (uow, actor):
        await people.revoke_grant(uow, actor, grant)
    assert actions == ["grant.revoke"]
    assert not await _may(shared, person, Permission.READ)
    for act in (people.revoke_grant, people.confirm_grant):
        async with refused(shared, "not_found"), shared.as_("oblak") as (uow, actor):
            await act(uow, actor, grant)


async def test_a_grant_of_the_set_up_is_in_force_and_approves_at_once(shared: World) -> None:
    person = await _person(shared, Role.SUPERVISOR)
    assert await _may(shared, person, Permission.APPROVE)
    async with shared.app.open_uow.read() as uow:
        found = await persons.get_by_code(uow, person)
        [(grant, _, _)] = await persons.find_grants(uow, person_id=found.id)
    async with refused(shared, "conflict"):
        await _confirm(shared, grant.id)


@pytest.mark.parametrize(
    ("by", "person", "mission", "code"),
    [
        ("zorc", "hocevar", "krv.hq", "permission_denied"),
        ("olena", "hocevar", "krv.hq", "not_found"),
        ("bizjak", "nobody", "krv.hq", "not_found"),
        ("bizjak", "hocevar", "krv.atlantis", "not_found"),
    ],
)
async def test_a_grant_is_refused(
    shared: World, by: str, person: str, mission: str, code: str
) -> None:
    async with refused(shared, code), shared.as_(by) as (uow, actor):
        new = NewGrant(person=person, mission=mission, role=Role.OFFICER)
        await people.propose_grant(uow, actor, new)


async def test_an_embassys_admin_manages_its_grants_and_no_others(shared: World) -> None:
    local = await _person(shared, Role.ADMIN, "krv.kyi")
    grant = await _propose(shared, "hocevar")
    async with refused(shared, "not_found"):
        await _confirm(shared, grant, by=local)
    async with shared.as_(local) as (uow, actor):
        new = NewGrant(person="hocevar", mission="krv.kyi", role=Role.OFFICER)
        mine = await people.propose_grant(uow, actor, new)
    await _confirm(shared, mine.id)
    async with refused(shared, "permission_denied"), shared.as_("zorc") as (uow, actor):
        await people.revoke_grant(uow, actor, mine.id)
    async with refused(shared, "not_found"), shared.as_("bizjak") as (uow, actor):
        await people.revoke_grant(uow, actor, uuid4())


async def test_a_deactivated_person_loses_tokens_and_rights_at_once(shared: World) -> None:
    code = await _person(shared, Role.OFFICER)
    async with shared.app.open_uow() as uow:
        person = await persons.get_by_code(uow, code)
        issued = await tokens.redeem(uow, (await tokens.enrol(uow, person, issued_by=None)).code)
    assert await _may(shared, code, Permission.WRITE)
    async with recording(shared) as actions, shared.as_("bizjak") as (uow, actor):
        await people.deactivate_person(uow, actor, code)
    assert actions == ["token.revoke", "person.deactivate"]
    assert not await _may(shared, code, Permission.READ)
    async with refused(shared, "token_rejected"), shared.app.open_uow() as uow:
        await tokens.authenticate(uow, issued.token, via="api")


async def test_a_person_is_told_who_they_are(shared: World) -> None:
    code = await _person(shared, Role.SUPERVISOR, "krv.tyo")
    async with shared.app.open_uow() as uow:
        person = await persons.get_by_code(uow, code)
        issued = await tokens.redeem(uow, (await tokens.enrol(uow, person, issued_by=None)).code)
    async with shared.app.open_uow.read() as uow:
        actor = await tokens.authenticate(uow, issued.token, via="api")
        me = await directory.identify(uow, actor)
    assert (me.person.code, me.grants) == (code, (("supervisor", "", "krv.tyo", None),))
    assert me.token_expires_at == issued.expires_at
    async with shared.as_("hocevar") as (uow, actor):
        assert (await directory.identify(uow, actor)).token_expires_at is None


async def test_only_admins_and_auditors_see_everybody(shared: World) -> None:
    for by in ("bizjak", "mlakar"):
        async with shared.as_(by) as (uow, actor):
            assert {"hocevar", "zorc", "sato"} <= {
                each.code for each in await directory.find_persons(uow, actor)
            }
    async with refused(shared, "permission_denied"), shared.as_("hocevar") as (uow, actor):
        await directory.find_persons(uow, actor)


async def test_people_see_their_own_grants_and_those_they_manage(shared: World) -> None:
    async with shared.as_("olena") as (uow, actor):
        seen = await directory.find_grants(uow, actor)
        assert [(person.code, mission.code) for _, mission, person in seen] == [
            ("olena", "krv.kyi")
        ]
    local = await _person(shared, Role.ADMIN, "krv.tyo")
    async with shared.as_(local) as (uow, actor):
        seen = await directory.find_grants(uow, actor)
        assert {person.code for _, _, person in seen} >= {local, "sato"}
        assert {mission.code for _, mission, _ in seen} == {"krv.tyo"}
    async with shared.as_("mlakar") as (uow, actor):
        assert {"zorc", "olena", "bizjak"} <= {
            person.code for _, _, person in await directory.find_grants(uow, actor)
        }


async def test_names_are_found_for_the_ids_that_are_there(shared: World) -> None:
    async with shared.as_("hocevar") as (uow, actor):
        mission = await missions.get_by_code(uow, actor, "krv.kyi")
        names = await directory.find_names(
            uow, person_ids=[actor.person_id, None, uuid4()], mission_ids=[mission.id]
        )
        assert [each.code for each in names.persons.values()] == ["hocevar"]
        assert names.missions == {mission.id: "krv.kyi"}
        assert (await persons.find_names(uow, [actor.person_id])) == {
            actor.person_id: "Tina Hočevar"
        }
