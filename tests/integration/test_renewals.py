"""Sign-ins are renewed before they end, once over all workers, and a dead one is told apart from a dead network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from adapters.base import Adapter, Credentials
from adapters.bluesky_api import read_session
from adapters.errors import UnavailableError
from scheduler.app import App
from scheduler.audit.record import parse_record
from scheduler.clock import utc_now
from scheduler.db import accounts as rows
from scheduler.db import sign_ins as renewals
from scheduler.db.tables import Account, AuditOutbox, SignIn
from scheduler.db.uow import DatabaseUnavailableError
from scheduler.practice.admin import Turn
from scheduler.practice.knobs import Reach
from scheduler.practice.model import Kind, Platform
from scheduler.practice.network import PracticeNetwork
from scheduler.publishing.renewing import Renewer
from scheduler.services import accounts, secrets, sign_ins
from scheduler.services.kit import Kit
from scheduler.services.sign_ins import End
from tests.support.world import World, found_world

CODE = "hq.bluesky"


@dataclass
class Tide:
    """A clock for the platforms that can be put back: a session from then ends soon today."""

    back_ns: int = 0

    def now_ns(self) -> int:
        return int(utc_now().timestamp() * 1e9) - self.back_ns


@pytest.fixture
def tide() -> Tide:
    return Tide()


@pytest.fixture
async def practice(tmp_path: Path, tide: Tide) -> AsyncIterator[PracticeNetwork]:
    async with PracticeNetwork(tmp_path / "practice", limits=False, now_ns=tide.now_ns) as network:
        yield network


@pytest.fixture
async def ending(app: App, practice: PracticeNetwork, tide: Tide) -> World:
    """The small Karvenia, signed in on Bluesky 100 minutes ago; its sessions last two hours."""
    tide.back_ns = int(100 * 60 * 1e9)
    world = await found_world(app, practice)
    tide.back_ns = 0
    await _age_seals(world)
    return world


@dataclass
class Counted:
    """The real adapter, with each of its renewals counted or replaced."""

    real: Adapter
    asked: list[Credentials]
    behave: Callable[[Credentials], Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def refresh(self, credentials: Credentials) -> Credentials:
        self.asked.append(credentials)
        if self.behave is not None:
            return await self.behave(credentials)
        return await self.real.refresh(credentials)


def _counting(
    world: World, behave: Callable[[Credentials], Any] | None = None
) -> tuple[Kit, list[Credentials]]:
    asked: list[Credentials] = []
    kit = world.app.kit
    platforms = {name: Counted(real, asked, behave) for name, real in kit.platforms.items()}
    return replace(kit, platforms=platforms), asked


async def _age_seals(world: World) -> None:
    async with world.app.open_uow() as uow:
        for account_id in world.accounts.values():
            found = await rows.lock_sealed(uow, account_id, "session")
            if found is not None:
                found[0].updated_at = uow.now - timedelta(minutes=100)


async def _credentials(world: World, code: str = CODE) -> Credentials:
    async with world.app.open_uow.read() as uow:
        return await secrets.open_credentials(uow, world.app.kit, await _account(world, code))


async def _account(world: World, code: str = CODE) -> Account:
    async with world.app.open_uow.read() as uow:
        return await uow.session.get_one(Account, world.accounts[code])


async def _row(world: World, code: str = CODE) -> SignIn:
    async with world.app.open_uow.read() as uow:
        return await uow.session.get_one(SignIn, world.accounts[code])


async def _actions(world: World, code: str = CODE) -> list[tuple[str, Any]]:
    async with world.app.open_uow.read() as uow:
        bodies = await uow.session.scalars(select(col(AuditOutbox.body)).order_by(AuditOutbox.id))
        records = [parse_record(body) for body in bodies]
    subject = str(world.accounts[code])
    return [(each.action, each.detail) for each in records if each.on["id"] == subject]


async def _rotations(world: World) -> int:
    found = await _actions(world)
    return sum(action == "token.rotate" for action, _ in found)


async def _renew(world: World, kit: Kit | None = None, **options: Any) -> sign_ins.Renewal:
    return await sign_ins.renew(
        world.app.open_uow, kit or world.app.kit, world.accounts[CODE], **options
    )


async def test_a_session_is_renewed_ahead_of_its_end_and_sealed(ending: World) -> None:
    before = await _credentials(ending)
    renewal = await _renew(ending)
    assert renewal.end is End.RENEWED
    after = await _credentials(ending)
    assert after == renewal.credentials
    session = read_session(after)
    assert session is not None
    assert session.expires_at() > utc_now() + timedelta(minutes=115)  # type: ignore[operator]
    assert after.session != before.session
    assert await _rotations(ending) == 1
    assert (await _renew(ending)).end is End.CURRENT


async def test_a_session_that_lasts_is_left_alone(world: World) -> None:
    await _age_seals(world)
    kit, asked = _counting(world)
    assert (await _renew(world, kit)).end is End.CURRENT
    assert (asked, await _rotations(world)) == ([], 0)


async def test_a_session_that_is_always_short_is_not_renewed_without_end(ending: World) -> None:
    kit, asked = _counting(ending)
    assert (await _renew(ending, kit)).end is End.RENEWED
    for platform in kit.platforms.values():
        platform.real.needs_refresh = lambda *_: True  # type: ignore[attr-defined]
    try:
        assert (await _renew(ending, kit)).end is End.CURRENT
    finally:
        for platform in kit.platforms.values():
            del platform.real.needs_refresh  # type: ignore[attr-defined]
    assert len(asked) == 1


async def test_many_at_once_burn_one_refresh_token_and_all_get_the_same_session(
    ending: World,
) -> None:
    """The platform answers slowly, so that all of them are under way together."""
    ending.practice.turn(Platform.BLUESKY, Turn(latency_ms=400, only=Reach.ALL))
    kit, asked = _counting(ending)
    before = await _credentials(ending)
    found = await asyncio.gather(
        *(_renew(ending, kit, instead_of=before, wait=timedelta(seconds=10)) for _ in range(6))
    )
    assert len(asked) == 1
    assert sorted(each.end for each in found) == [End.CURRENT] * 5 + [End.RENEWED]
    assert {each.credentials for each in found} == {await _credentials(ending)}
    rotated = [each for each in ending.practice.log() if each.kind == Kind.SESSION_ROTATED]
    assert len(rotated) == 1
    assert await _rotations(ending) == 1


async def test_whoever_does_not_wait_hears_that_it_is_in_hand(ending: World) -> None:
    ending.practice.turn(Platform.BLUESKY, Turn(latency_ms=500, only=Reach.ALL))
    found = await asyncio.gather(_renew(ending), _renew(ending))
    assert sorted(each.end for each in found) == [End.BUSY, End.RENEWED]


async def test_two_workers_renew_each_account_once(ending: World) -> None:
    ending.practice.turn(Platform.BLUESKY, Turn(latency_ms=100, only=Reach.ALL))
    kit, asked = _counting(ending)
    stopping = asyncio.Event()
    workers = [Renewer(ending.app.open_uow, kit, pass_s=0.02) for _ in range(2)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for each in workers:
            each.look_every = timedelta(0)
            group.create_task(each.run(stopping))
        for code in ("hq.bluesky", "kyi.bluesky"):
            while sign_ins.ends_soon(kit, "bluesky", await _credentials(ending, code), utc_now()):
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
    assert (await _renew(ending)).end is End.BUSY
    async with ending.app.open_uow() as uow:
        row = await renewals.lock(uow, ending.accounts[CODE])
        row.lease_until = uow.now - timedelta(seconds=1)
    assert (await _renew(ending)).end is End.RENEWED


async def test_a_newer_session_is_not_overwritten_by_an_older_renewal(ending: World) -> None:
    """A send renewed it by itself while the platform was being asked."""
    newer = '{"access": "newer", "refresh": "newer"}'

    async def slow(credentials: Credentials) -> Credentials:
        async with ending.app.open_uow() as uow:
            account = await uow.session.get_one(Account, ending.accounts[CODE])
            await secrets.seal(uow, ending.app.kit, account, "session", newer, actor=None)
        return replace(credentials, session='{"access": "older", "refresh": "older"}')

    kit, _ = _counting(ending, slow)
    renewal = await _renew(ending, kit)
    assert renewal.end is End.CURRENT
    assert renewal.credentials is not None
    assert renewal.credentials.session == newer == (await _credentials(ending)).session


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
    kit, asked = _counting(ending)
    renewal = await _renew(ending, kit)
    assert (renewal.end, len(refused), len(asked)) == (End.RENEWED, 3, 1)
    assert renewal.credentials == await _credentials(ending)
    assert (await _row(ending)).lease_until is None
    assert await _rotations(ending) == 1


@pytest.mark.parametrize("database", ["postgresql"])  # SQLite has one writer at a time
async def test_a_renewal_begins_while_somebody_seals_a_session(ending: World) -> None:
    """Whoever seals has the account first, its sign-in then and its secrets last: no ring of waits."""
    kit, asked = _counting(ending)
    async with asyncio.TaskGroup() as group, ending.app.open_uow() as uow:
        account = await uow.session.get_one(Account, ending.accounts[CODE], with_for_update=True)
        await secrets.seal(uow, kit, account, "session", "newer", actor=None)
        await uow.session.flush()
        renewing = group.create_task(_renew(ending, kit))
        async with asyncio.timeout(5):
            while not asked:
                await asyncio.sleep(0.01)
    assert renewing.result().end is End.CURRENT
    assert (await _credentials(ending)).session == "newer"


async def test_an_empty_answer_overwrites_nothing(ending: World) -> None:
    before = await _credentials(ending)

    async def empty(credentials: Credentials) -> Credentials:
        return replace(credentials, session="")

    kit, _ = _counting(ending, empty)
    renewal = await _renew(ending, kit)
    assert renewal.error is not None
    assert (renewal.end, renewal.error.code) == (End.FAILED, "session_empty")
    assert await _credentials(ending) == before
    async with ending.app.open_uow() as uow:
        account = await uow.session.get_one(Account, ending.accounts[CODE])
        with pytest.raises(ValueError, match="empty"):
            await secrets.seal(uow, ending.app.kit, account, "secret", "", actor=None)


async def test_a_refused_sign_in_pauses_the_account_and_says_why(ending: World) -> None:
    ending.practice.turn(Platform.BLUESKY, Turn(revoke="hq.karvenia.example"))
    renewal = await _renew(ending)
    assert renewal.end is End.REFUSED
    account = await _account(ending)
    assert account.state == "paused"
    assert account.state_reason.startswith("sign-in refused: ")
    assert (await _account(ending, "kyi.bluesky")).state == "active"
    assert (await _renew(ending)).end is End.CURRENT  # a paused account is asked no more


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"lose_answer": True}, {"html": True}, {"truncate": True}],
    ids=lambda fault: next(iter(fault)),
)
async def test_a_transient_failure_pauses_nothing_and_is_tried_again_later(
    ending: World, fault: dict[str, Any]
) -> None:
    before = await _credentials(ending)
    ending.practice.turn(Platform.BLUESKY, Turn(only=Reach.ALL, **fault))
    assert (await _renew(ending)).end is End.FAILED
    assert (await _account(ending)).state == "active"
    assert await _credentials(ending) == before
    row = await _row(ending)
    assert (row.tries, row.lease_until) == (1, None)
    assert row.retry_at is not None
    assert row.retry_at > utc_now() + timedelta(seconds=30)
    ending.practice.clear_knobs()
    assert (await _renew(ending)).end is End.BUSY  # it rests
    assert (await _renew(ending, instead_of=before)).end is End.RENEWED  # but a send needs it now
    assert (await _row(ending)).tries == 0


async def test_whoever_needs_the_session_waits_for_a_renewal_under_way_and_no_longer(
    ending: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await _credentials(ending)
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
    assert fresh == await _credentials(ending) != before
    assert await sign_ins.require(uow, kit, account, instead_of=before) == fresh


async def test_a_paused_account_still_gets_the_session_that_a_look_up_needs(ending: World) -> None:
    before = await _credentials(ending)
    async with ending.as_("bizjak") as (uow, actor):
        await accounts.pause(uow, actor, ending.accounts[CODE], reason="the server moves")
    assert (await _renew(ending)).end is End.CURRENT
    assert (await _renew(ending, instead_of=before)).end is End.RENEWED


async def test_a_limited_renewal_rests_as_long_as_the_platform_asks(ending: World) -> None:
    ending.practice.turn(Platform.BLUESKY, Turn(only=Reach.ALL, status=429, retry_after=600))
    assert (await _renew(ending)).end is End.FAILED
    row = await _row(ending)
    assert row.retry_at is not None
    assert row.retry_at > utc_now() + timedelta(minutes=9)


async def test_a_bug_in_an_adapter_is_no_refused_sign_in(ending: World) -> None:
    async def broken(credentials: Credentials) -> Credentials:
        raise RuntimeError("broken")

    kit, _ = _counting(ending, broken)
    renewal = await _renew(ending, kit)
    assert renewal.error is not None
    assert (renewal.end, renewal.error.code) == (End.FAILED, "internal_error")
    assert (await _account(ending)).state == "active"


async def test_an_account_removed_meanwhile_gets_no_key_again(ending: World) -> None:
    async def slow(credentials: Credentials) -> Credentials:
        async with ending.as_("bizjak") as (uow, actor):
            await accounts.remove(uow, actor, ending.accounts[CODE], reason="closed")
        return await ending.app.kit.platform("bluesky").refresh(credentials)

    kit, _ = _counting(ending, slow)
    renewal = await _renew(ending, kit)
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

    kit, _ = _counting(ending, hang)
    async with ending.app.open_uow() as uow:
        account = await uow.session.get_one(Account, ending.accounts["kyi.bluesky"])
        account.base_url = "https://dead.karvenia.example"
    stopping = asyncio.Event()
    renewer = Renewer(ending.app.open_uow, kit, pass_s=0.05)
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        group.create_task(renewer.run(stopping))
        while not await _rotations(ending):
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
            for action, detail in await _actions(world)
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
    actions = [action for action, _ in await _actions(world) if action.startswith("account.exp")]
    assert actions == ["account.expiry", "account.expiring"] * 2
