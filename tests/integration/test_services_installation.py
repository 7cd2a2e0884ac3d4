"""`chancery init` from nothing, once; and what an empty installation answers."""

import pytest

from scheduler.app import App
from scheduler.clock import utc_now
from scheduler.db import missions, persons
from scheduler.domain.people import Actor, Permission, Role
from scheduler.errors import ChanceryError, NotFoundError
from scheduler.ids import new_id
from scheduler.services import installation, people, policies, postures, tokens
from scheduler.services.installation import Installed, NewAdmin
from scheduler.services.people import NewMission
from scheduler.services.scope import require_at_the_top
from tests.integration.services_fixtures import recording
from tests.support.world import POLICY, World

ROK, SABINA = NewAdmin(code="bizjak", name="Rok Bizjak"), NewAdmin(code="oblak", name="Sabina")


async def _install(app: App, *admins: NewAdmin, zone: str = "Europe/Ljubljana") -> Installed:
    mission = NewMission(
        code="krv.hq", name="Karvenia", kind="headquarters", zone=zone, languages=("sl",)
    )
    async with app.open_uow() as uow:
        return await installation.install(
            uow, mission=mission, admins=admins, policy=POLICY, public_keys={"log": "k"}
        )


async def test_an_installation_has_a_mission_two_admins_and_a_policy(app: App) -> None:
    async with recording(World(app, None)) as actions:  # type: ignore[arg-type] - no platform is needed
        made = await _install(app, ROK, SABINA)
    admin = ["person.add", "grant.bootstrap", "person.enrol"]
    assert actions == ["mission.add", "installation.init", "policy.activate", *admin, *admin]
    assert [each.person.code for each in made.codes] == ["bizjak", "oblak"]
    for issued in made.codes:
        async with app.open_uow() as uow:
            token = await tokens.redeem(uow, issued.code)
            actor = await tokens.authenticate(uow, token.token, via="api")
            assert [grant.role for grant in actor.grants] == [Role.ADMIN]
            assert actor.may(Permission.MANAGE, made.mission.path, now=uow.now)


async def test_the_same_call_again_changes_nothing_and_shows_no_code(app: App) -> None:
    first = await _install(app, ROK, SABINA)
    async with recording(World(app, None)) as actions:  # type: ignore[arg-type] - no platform is needed
        again = await _install(app, NewAdmin(code="intruder", name="x"), SABINA)
    assert actions == []
    assert (again.mission.id, again.codes) == (first.mission.id, ())
    async with app.open_uow.read() as uow:
        assert await persons.find_by_code(uow, "intruder") is None


@pytest.mark.parametrize(
    ("admins", "zone", "code"),
    [
        ((ROK,), "UTC", "two_admins_needed"),
        ((ROK, ROK), "UTC", "two_admins_needed"),
        ((ROK, NewAdmin(code="bizjak", name="A Twin")), "UTC", "two_admins_needed"),
        ((ROK, SABINA), "Europe/Lipovec", "time_zone_unknown"),
        ((ROK, SABINA, ROK), "UTC", "code_taken"),
    ],
)
async def test_a_refused_installation_leaves_nothing(
    app: App, admins: tuple[NewAdmin, ...], zone: str, code: str
) -> None:
    async with recording(World(app, None)) as actions:  # type: ignore[arg-type] - no platform is needed
        with pytest.raises(ChanceryError) as caught:
            await _install(app, *admins, zone=zone)
    assert (caught.value.code, actions) == (code, [])
    async with app.open_uow.read() as uow:
        assert await missions.find_root(uow) is None


async def test_where_nothing_is_installed_nothing_is_found(app: App) -> None:
    actor = Actor(person_id=new_id(), grants=(), via="test")
    async with app.open_uow.read() as uow:
        for refusal in (
            policies.activate(uow, actor, POLICY),
            people.add_person(uow, actor, "kovac", "Ana Kovač", ()),
            require_at_the_top(uow, actor, Permission.AUDIT),
            postures.stop(uow, actor, reason="to be sure"),
        ):
            with pytest.raises(NotFoundError):
                await refusal
        with pytest.raises(NotFoundError):
            await persons.get(uow, new_id())
        assert uow.now <= utc_now()
