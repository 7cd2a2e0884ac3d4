"""The key that wraps every data key: renewed without connecting an account anew, destroyed only when unused."""

import pytest

from scheduler.db import accounts
from scheduler.services import keys
from scheduler.services.keys import KeyVersionInUseError
from scheduler.services.secrets import open_credentials
from scheduler.vault.keyfile import KeyVersionError
from tests.integration.cli_fixtures import Machine, installation, installed, machine
from tests.support.world import World

__all__ = ["installation", "installed", "machine"]


async def test_after_rotation_and_rewrapping_the_old_version_can_be_destroyed(world: World) -> None:
    ring = world.app.kit.ring
    async with world.app.open_uow() as uow:
        assert keys.rotate(uow, ring) == 2
    async with world.app.open_uow.read() as uow:
        assert await keys.count_outdated(uow, ring) == 4
    async with world.app.open_uow() as uow:
        with pytest.raises(KeyVersionInUseError, match="4 data keys"):
            await keys.retire(uow, ring, 1)

    async with world.app.open_uow() as uow:
        assert await keys.rewrap(uow, world.app.kit) == 4
    async with world.app.open_uow() as uow:
        assert await keys.rewrap(uow, world.app.kit) == 0
        await keys.retire(uow, ring, 1)

    async with world.app.open_uow.read() as uow:
        found = await keys.find_status(uow, ring)
        assert [(row.version, row.state, row.data_keys) for row in found] == [
            (1, "retired", 0),
            (2, "current", 4),
        ]
        actor = await world.actor("bizjak")
        account = await accounts.get(uow, actor, world.accounts["hq.mastodon"])
        world.app.kit.vault.forget()
        assert (await open_credentials(uow, world.app.kit, account)).secret


async def test_the_current_version_is_never_destroyed(world: World) -> None:
    async with world.app.open_uow() as uow:
        await keys.rewrap(uow, world.app.kit)
        with pytest.raises(KeyVersionInUseError):
            await keys.retire(uow, world.app.kit.ring, 1)
        with pytest.raises(KeyVersionError):
            await keys.retire(uow, world.app.kit.ring, 7)


def test_the_operator_renews_the_key_from_the_command_line(installed: Machine) -> None:
    assert installed.ask("keys", "rotate")["current"] == 2
    assert installed.ask("keys", "rewrap")["rewrapped"] == 0
    assert installed.refusal("keys", "retire", 2) == "key_version_refused"
    assert installed.ask("keys", "retire", 1)["retired"] == 1

    states = [(row["version"], row["state"]) for row in installed.ask("keys", "status")]
    assert states == [(1, "retired"), (2, "current")]
