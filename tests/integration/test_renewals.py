"""Sign-ins are renewed before they end, once over all workers, and a dead one is told apart from a dead network."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.base import Credentials
from adapters.bluesky_api import read_session
from adapters.errors import UnavailableError
from scheduler.clock import utc_now
from scheduler.db import accounts as rows
from scheduler.db import sign_ins as renewals
from scheduler.db.tables import Account
from scheduler.db.uow import DatabaseUnavailableError
from scheduler.practice.admin import Turn
from scheduler.practice.knobs import Reach
from scheduler.practice.model import Kind, Platform
from scheduler.publishing.renewing import Renewer
from scheduler.services import accounts, secrets, sign_ins
from scheduler.services.sign_ins import End
from tests.integration.renewal_fixtures import (  # noqa: F401 - fixtures
    CODE,
    account_of,
    actions_of,
    age_seals,
    counting,
    credentials_of,
    ending_fixture,
    practice,
    renew,
    rotations_of,
    row_of,
    tide,
)
from tests.support.world import World


async def test_a_session_is_renewed_ahead_of_its_end_and_sealed(ending: World) -> None:
    before = await credentials_of(ending)
    renewal = await renew(ending)
    assert renewal.end is End.RENEWED
    after = await credentials_of(ending)
    assert after == renewal.credentials
    session = read_session(after)
    assert session is not None
    assert session.expires_at() > utc_now() + timedelta(minutes=115)  # type: ignore[operator]
    assert after.session != before.session
    assert await rotations_of(ending) == 1
    assert (await renew(ending)).end is End.CURRENT


async def test_a_session_that_lasts_is_left_alone(world: World) -> None:
    await age_seals(world)
    kit, asked = counting(world)
    assert (await renew(world, kit)).end is End.CURRENT
    assert (asked, await rotations_of(world)) == ([], 0)


async def test_a_session_that_is_always_short_is_not_renewed_without_end(ending: World) -> None:
    kit, asked = counting(ending)
    assert (await renew(ending, kit)).end is End.RENEWED
    for platform in kit.platforms.values():
        platform.real.needs_refresh = lambda *_: True  # type: ignore[attr-defined]
    try:
        assert (await renew(ending, kit)).end is End.CURRENT
    finally:
        for platform in kit.platforms.values():
            del platform.real.needs_refresh  # type: ignore[attr-defined]
    assert len(asked) == 1


async def test_many_at_once_burn_one_refresh_token_and_all_get_the_same_session(
    ending: World,
) -> None:
    """The platform answers slowly, so that all of them are under way together."""
    ending.practice.turn(Platform.BLUESKY, Turn(latency_ms=400, only=Reach.ALL))
    kit, asked = counting(ending)
    before = await credentials_of(ending)
    found = await asyncio.gather(
        *(renew(ending, kit, instead_of=before, wait=timedelta(seconds=10)) for _ in range(6))
    )
    assert len(asked) == 1
    assert sorted(each.end for each in found) == [End.CURRENT] * 5 + [End.RENEWED]
    assert {each.credentials for each in found} == {await credentials_of(ending)}
    rotated = [each for each in ending.practice.log() if each.kind == Kind.SESSION_ROTATED]
    assert len(rotated) == 1
    assert await rotations_of(ending) == 1


async def test_whoever_does_not_wait_hears_that_it_is_in_hand(ending: World) -> None:
    ending.practice.turn(Platform.BLUESKY, Turn(latency_ms=500, only=Reach.ALL))
    found = await asyncio.gather(renew(ending), renew(ending))
    assert sorted(each.end for each in found) == [End.BUSY, End.RENEWED]


async def test_two_workers_renew_each_account_once(ending: World) -> None:
    ending.practice.turn(Platform.BLUESKY, Turn(latency_ms=100, only=Reach.ALL))
    kit, asked = counting(ending)
    stopping = asyncio.Event()
    workers = [Renewer(ending.app.open_uow, kit, pass_s=0.02) for _ in range(2)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for each in workers:
            each.look_every = timedelta(0)
            group.create_task(each.run(stopping))
        for code in ("hq.bluesky", "kyi.bluesky"):
            while sign_ins.ends_soon(kit, "bluesky", await credentials_of(ending, code), utc_now()):
                await asyncio.sleep(0.02)
        stopping.set()
    assert len(asked) == 2
    assert len({each.external_id for each in asked}) == 2


async def test_a_dead_worker_keeps_nobody_from_renewing_for_longer_than_its_lease(
    ending: World,
) -> None:
    async with ending.app.open_uow() as uow:
        row = await renewals.lock(uow, ending.accounts[CODE])
        row.lease_owner, row.lease_until = "dead", uow.now + sign_ins.LEASE
    assert (await renew(ending)).end is End.BUSY
    async with ending.app.open_uow() as uow:
        row = await renewals.lock(uow, ending.accounts[CODE])
        row.lease_until = uow.now - timedelta(seconds=1)
    assert (await renew(ending)).end is End.RENEWED


async def test_a_newer_session_is_not_overwritten_by_an_older_renewal(ending: World) -> None:
    """A send renewed it by itself while the platform was being asked."""
    newer = '{"access": "newer", "refresh": "newer"}'

    async def slow(credentials: Credentials) -> Credentials:
        async with ending.app.open_uow() as uow:
            account = await uow.session.get_one(Account, ending.accounts[CODE])
            await secrets.seal(uow, ending.app.kit, account, "session", newer, actor=None)
        return replace(credentials, session='{"access": "older", "refresh": "older"}')

    kit, _ = counting(ending, slow)
    renewal = await renew(ending, kit)
    assert renewal.end is End.CURRENT
    assert renewal.credentials is not None
    assert renewal.credentials.session == newer == (await credentials_of(ending)).session


async def test_a_new_session_is_kept_as_soon_as_the_database_answers_again(
    ending: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform has given it and may not take the old one again."""
    monkeypatch.setattr(sign_ins, "_KEEP_AGAIN_S", 0.01)
    real, refused = secrets.seal, []

    async def seal(*args: Any, **options: Any) -> None:
        await real(*args, **options)
        if len(refused) < 3:
            refused.append(args)
            raise DatabaseUnavailableError("deadlock detected")

    monkeypatch.setattr(secrets, "seal", seal)
    kit, asked = counting(ending)
    renewal = await renew(ending, kit)
    assert (renewal.end, len(refused), len(asked)) == (End.RENEWED, 3, 1)
    assert renewal.credentials == await credentials_of(ending)
    assert (await row_of(ending)).lease_until is None
    assert await rotations_of(ending) == 1


@pytest.mark.parametrize("database", ["postgresql"])  # SQLite has one writer at a time
async def test_a_renewal_begins_while_somebody_seals_a_session(ending: World) -> None:
    """Whoever seals has the account first, its sign-in then and its secrets last: no ring of waits."""
    kit, asked = counting(ending)
    async with asyncio.TaskGroup() as group, ending.app.open_uow() as uow:
        account = await uow.session.get_one(Account, ending.accounts[CODE], with_for_update=True)
        await secrets.seal(uow, kit, account, "session", "newer", actor=None)
        await uow.session.flush()
        renewing = group.create_task(renew(ending, kit))
        async with asyncio.timeout(5):
            while not asked:
                await asyncio.sleep(0.01)
    assert renewing.result().end is End.CURRENT
    assert (await credentials_of(ending)).session == "newer"


async def test_an_empty_answer_overwrites_nothing(ending: World) -> None:
    before = await credentials_of(ending)

    async def empty(credentials: Credentials) -> Credentials:
        return replace(credentials, session="")

    kit, _ = counting(ending, empty)
    renewal = await renew(ending, kit)
    assert renewal.error is not None
    assert (renewal.end, renewal.error.code) == (End.FAILED, "session_empty")
    assert await credentials_of(ending) == before
    async with ending.app.open_uow() as uow:
        account = await uow.session.get_one(Account, ending.accounts[CODE])
        with pytest.raises(ValueError, match="empty"):
            await secrets.seal(uow, ending.app.kit, account, "secret", "", actor=None)


async def test_a_refused_sign_in_pauses_the_account_and_says_why(ending: World) -> None:
    ending.practice.turn(Platform.BLUESKY, Turn(revoke="hq.karvenia.example"))
    renewal = await renew(ending)
    assert renewal.end is End.REFUSED
    account = await account_of(ending)
    assert account.state == "paused"
    assert account.state_reason.startswith("sign-in refused: ")
    assert (await account_of(ending, "kyi.bluesky")).state == "active"
    assert (await renew(ending)).end is End.CURRENT  # a paused account is asked no more


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"lose_answer": True}, {"html": True}, {"truncate": True}],
    ids=lambda fault: next(iter(fault)),
)
async def test_a_transient_failure_pauses_nothing_and_is_tried_again_later(
    ending: World, fault: dict[str, Any]
) -> None:
    before = await credentials_of(ending)
    ending.practice.turn(Platform.BLUESKY, Turn(only=Reach.ALL, **fault))
    assert (await renew(ending)).end is End.FAILED
    assert (await account_of(ending)).state == "active"
    assert await credentials_of(ending) == before
    row = await row_of(ending)
    assert (row.tries, row.lease_until) == (1, None)
    assert row.retry_at is not None
    assert row.retry_at > utc_now() + timedelta(seconds=30)
    ending.practice.clear_knobs()
    assert (await renew(ending)).end is End.BUSY  # it rests
    assert (await renew(ending, instead_of=before)).end is End.RENEWED  # but a send needs it now
    assert (await row_of(ending)).tries == 0


async def test_whoever_needs_the_session_waits_for_a_renewal_under_way_and_no_longer(
    ending: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await credentials_of(ending)
    uow, kit, account = ending.app.open_uow, ending.app.kit, ending.accounts[CODE]
    monkeypatch.setattr(sign_ins, "_PATIENCE", timedelta(seconds=0.5))
    async with uow() as unit:
        row = await renewals.lock(unit, account)
        row.lease_owner, row.lease_until = "dead", unit.now + sign_ins.LEASE
    with pytest.raises(UnavailableError, match="another worker"):
        await sign_ins.require(uow, kit, account, instead_of=before)
    async with uow() as unit:
        (await renewals.lock(unit, account)).lease_until = None
    fresh = await sign_ins.require(uow, kit, account, instead_of=before)
    assert fresh == await credentials_of(ending) != before
    assert await sign_ins.require(uow, kit, account, instead_of=before) == fresh


async def test_a_paused_account_still_gets_the_session_that_a_look_up_needs(ending: World) -> None:
    before = await credentials_of(ending)
    async with ending.as_("bizjak") as (uow, actor):
        await accounts.pause(uow, actor, ending.accounts[CODE], reason="the server moves")
    assert (await renew(ending)).end is End.CURRENT
    assert (await renew(ending, instead_of=before)).end is End.RENEWED


async def test_a_limited_renewal_rests_as_long_as_the_platform_asks(ending: World) -> None:
    ending.practice.turn(Platform.BLUESKY, Turn(only=Reach.ALL, status=429, retry_after=600))
    assert (await renew(ending)).end is End.FAILED
    row = await row_of(ending)
    assert row.retry_at is not None
    assert row.retry_at > utc_now() + timedelta(minutes=9)


async def test_a_bug_in_an_adapter_is_no_refused_sign_in(ending: World) -> None:
    async def broken(credentials: Credentials) -> Credentials:
        raise RuntimeError("broken")

    kit, _ = counting(ending, broken)
    renewal = await renew(ending, kit)
    assert renewal.error is not None
    assert (renewal.end, renewal.error.code) == (End.FAILED, "internal_error")
    assert (await account_of(ending)).state == "active"


async def test_an_account_removed_meanwhile_gets_no_key_again(ending: World) -> None:
    async def slow(credentials: Credentials) -> Credentials:
        async with ending.as_("bizjak") as (uow, actor):
            await accounts.remove(uow, actor, ending.accounts[CODE], reason="closed")
        return await ending.app.kit.platform("bluesky").refresh(credentials)

    kit, _ = counting(ending, slow)
    renewal = await renew(ending, kit)
    assert (renewal.end, renewal.credentials) == (End.CURRENT, None)
    async with ending.app.open_uow.read() as uow:
        assert await rows.lock_sealed(uow, ending.accounts[CODE], "session") is None


async def test_a_dead_server_holds_up_no_other(ending: World) -> None:
    """Every account of one server hangs; the other server's is renewed all the same."""
    dead = asyncio.Event()

    async def hang(credentials: Credentials) -> Credentials:
        if credentials.base_url == "https://dead.karvenia.example":
            await dead.wait()
        return await ending.app.kit.platform("bluesky").refresh(credentials)

    kit, _ = counting(ending, hang)
    async with ending.app.open_uow() as uow:
        account = await uow.session.get_one(Account, ending.accounts["kyi.bluesky"])
        account.base_url = "https://dead.karvenia.example"
    stopping = asyncio.Event()
    renewer = Renewer(ending.app.open_uow, kit, pass_s=0.05)
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        group.create_task(renewer.run(stopping))
        while not await rotations_of(ending):
            await asyncio.sleep(0.02)
        stopping.set()
        dead.set()


async def test_somebody_is_told_once_at_14_7_and_1_days_before_a_sign_in_ends(
    world: World,
) -> None:
    renewer = [Renewer(world.app.open_uow, world.app.kit) for _ in range(2)]
    for left, told in ((20, []), (13.5, [14]), (13, [14]), (6, [14, 7]), (0.5, [14, 7, 1])):
        async with world.app.open_uow() as uow:
            row = await renewals.lock(uow, world.accounts[CODE])
            row.ends_at = uow.now + timedelta(days=left)
        await asyncio.gather(*(each._warn() for each in renewer))
        found = [
            detail["days"]
            for action, detail in await actions_of(world)
            if action == "account.expiring"
        ]
        assert found == told


async def test_an_end_told_by_a_person_is_on_record_and_starts_the_warnings_anew(
    world: World,
) -> None:
    renewer = Renewer(world.app.open_uow, world.app.kit)
    for days in (3, 2):
        async with world.as_("bizjak") as (uow, actor):
            ends = uow.now + timedelta(days=days)
            await sign_ins.set_end(uow, actor, world.accounts[CODE], ends)
        await renewer._warn()
    await renewer._warn()
    actions = [action for action, _ in await actions_of(world) if action.startswith("account.exp")]
    assert actions == ["account.expiry", "account.expiring"] * 2
