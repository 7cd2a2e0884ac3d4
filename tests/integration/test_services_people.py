"""Missions, persons and grants: made by admins, scoped by the tree, confirmed by a second one."""
import pytest
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World
from scheduler.services import people
from scheduler.services.people import NewMission

pytestmark = pytest.mark.asyncio(loop_scope="session")

async def test_x(shared: World) -> None:
    async with recording(shared) as actions:
        async with shared.as_("bizjak") as (uow, actor):
            await people.add_mission(uow, actor, NewMission(code="krv.x", name="x", kind="embassy", parent="krv.hq", zone="Europe/Vienna", languages=("de",)))
    assert actions == ["mission.add"]
    async with refused(shared, "code_taken"):
        async with shared.as_("bizjak") as (uow, actor):
            await people.add_mission(uow, actor, NewMission(code="krv.x", name="x", kind="embassy", parent="krv.hq", zone="Europe/Vienna", languages=("de",)))
