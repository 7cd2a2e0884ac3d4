"""Policies: in force for everybody at once, and on record."""

import pytest

from scheduler.services import policies
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import POLICY, World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECOND = POLICY.replace(b"karvenia-test-1", b"karvenia-test-2")


async def test_a_policy_is_in_force_once_it_is_activated(own: World) -> None:
    async with recording(own) as actions, own.as_("bizjak") as (uow, actor):
        activated = await policies.activate(uow, actor, SECOND)
    assert actions == ["policy.activate"]
    async with own.app.open_uow.read() as uow:
        active = await policies.get_active(uow)
    assert (active.version, active.body) == ("karvenia-test-2", SECOND)
    assert active.digest == activated.digest
    assert active.activated_by is not None
    async with refused(own, "policy_unchanged"), own.as_("oblak") as (uow, actor):
        await policies.activate(uow, actor, SECOND)


async def test_an_earlier_policy_may_be_put_back(own: World) -> None:
    for body in (SECOND, POLICY):
        async with own.as_("bizjak") as (uow, actor):
            await policies.activate(uow, actor, body)
    async with own.app.open_uow.read() as uow:
        assert (await policies.get_active(uow)).body == POLICY


@pytest.mark.parametrize(
    ("by", "body", "code"),
    [
        ("bizjak", POLICY, "policy_unchanged"),
        ("bizjak", b"", "policy_invalid"),
        ("bizjak", b"format = 1\n[[rules]]\nid = 'x'", "policy_invalid"),
        ("bizjak", b"\xff\xfe", "policy_invalid"),
        ("bizjak", SECOND.replace(b"effect: block", b"effect: perhaps"), "policy_invalid"),
        ("bizjak", b"{}", "policy_invalid"),
        ("bizjak", b"{", "policy_invalid"),
        ("zorc", SECOND, "permission_denied"),
        ("mlakar", SECOND, "permission_denied"),
        ("olena", SECOND, "permission_denied"),
    ],
)
async def test_a_policy_is_refused(shared: World, by: str, body: bytes, code: str) -> None:
    async with refused(shared, code), shared.as_(by) as (uow, actor):
        await policies.activate(uow, actor, body)
    async with shared.app.open_uow.read() as uow:
        assert (await policies.get_active(uow)).version == "karvenia-test-1"


async def test_the_policy_of_the_set_up_was_activated_by_nobody(shared: World) -> None:
    async with shared.app.open_uow.read() as uow:
        assert (await policies.get_active(uow)).activated_by is None
