"""Accounts and the keys of their secrets: who it is, is asked; what was sealed, is shredded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlmodel import col

from scheduler.db import accounts as rows
from scheduler.db.tables import Account, DataKey, SealedToken
from scheduler.practice.accounts import NewAccount as PracticeAccount
from scheduler.practice.admin import Turn
from scheduler.practice.knobs import Reach
from scheduler.practice.model import Platform
from scheduler.services import accounts, keys, secrets
from scheduler.services.accounts import NewAccount
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _profile(world: World, on: Platform, **fields: Any) -> NewAccount:
    """A new profile on the practice network, as an admin would connect it."""
    name = f"n{uuid4().hex[:10]}"
    is_mastodon = on is Platform.MASTODON
    handle = name if is_mastodon else f"{name}.karvenia.example"
    made = world.practice.open_account(on, PracticeAccount(handle=handle, display_name=name))
    values: dict[str, Any] = {
        "code": f"{name}.{on.value}",
        "mission": "krv.hq",
        "platform": on.value,
        "base_url": world.practice.mastodon_url if is_mastodon else world.practice.bluesky_url,
        "identifier": "" if is_mastodon else handle,
        "language": "en",
        "secret": str(made["token"] if is_mastodon else made["app_password"]),
        **fields,
    }
    return NewAccount(**values)


async def _connect(world: World, new: NewAccount, by: str = "bizjak") -> Account:
    actor = await world.actor(by)
    return await accounts.connect(world.app.open_uow, world.app.kit, actor, new)


async def _check(world: World, account_id: UUID) -> Account:
    actor = await world.actor("bizjak")
    return await accounts.check(world.app.open_uow, world.app.kit, actor, account_id)


async def _state(world: World, account_id: UUID) -> str:
    async with world.app.open_uow.read() as uow:
        return (await uow.session.get_one(Account, account_id)).state


@asynccontextmanager
async def _turned(world: World, platform: Platform, turn: Turn) -> AsyncIterator[None]:
    """The platform misbehaves for as long as the block lasts."""
    world.practice.turn(platform, turn)
    try:
        yield
    finally:
        world.practice.clear_knobs()


@pytest.mark.parametrize("platform", Platform)
async def test_an_account_is_connected_as_the_profile_that_the_token_belongs_to(
    shared: World, platform: Platform
) -> None:
    new = _profile(shared, platform)
    async with recording(shared) as actions:
        account = await _connect(shared, new)
    sealed = 1 if platform is Platform.MASTODON else 2
    assert actions == ["account.add", *["token.seal"] * sealed]
    assert account.state == "active"
    assert account.external_id
    assert account.handle
    async with shared.app.open_uow.read() as uow:
        credentials = await secrets.open_credentials(uow, shared.app.kit, account)
    assert (credentials.secret, credentials.external_id) == (new.secret, account.external_id)


async def test_what_is_stored_of_a_secret_opens_nothing_by_itself(shared: World) -> None:
    new = _profile(shared, Platform.BLUESKY)
    account = await _connect(shared, new)
    async with shared.app.open_uow.read() as uow:
        tokens = await uow.session.scalars(
            select(SealedToken).where(col(SealedToken.account_id) == account.id)
        )
        blobs = b"".join(bytes(token.blob) for token in tokens)
        rest = str((await uow.session.execute(text("SELECT * FROM account"))).all())
    assert new.secret.encode() not in blobs
    assert new.secret not in rest


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"secret": "not-the-token"}, "sign_in_refused"),
        ({"platform": "x"}, "platform_unknown"),
        ({"base_url": "http://127.0.0.1:1"}, "platform_unavailable"),
        ({"base_url": "https://10.0.0.1"}, "platform_unavailable"),
        ({"base_url": "https://localhost:8443"}, "platform_unavailable"),
        ({"base_url": "http://[::1]:80"}, "platform_unavailable"),
        ({"base_url": "http://169.254.169.254"}, "platform_unavailable"),
        ({"base_url": "ftp://social.karvenia.example"}, "server_address_invalid"),
        ({"base_url": "https://social.karvenia.example/@mfa"}, "server_address_invalid"),
        ({"base_url": "https://mfa:pw@social.karvenia.example"}, "server_address_invalid"),
        ({"base_url": "https://social.karvenia.example:port"}, "server_address_invalid"),
        ({"base_url": "social.karvenia.example"}, "server_address_invalid"),
        ({"base_url": ""}, "server_address_invalid"),
        ({"mission": "krv.atlantis"}, "not_found"),
    ],
)
@pytest.mark.parametrize("platform", Platform)
async def test_an_account_is_not_connected(
    shared: World, platform: Platform, fields: dict[str, str], code: str
) -> None:
    new = _profile(shared, platform, **fields)
    async with refused(shared, code) as caught:
        await _connect(shared, new)
    assert new.secret not in str(caught.value) + str(caught.value.details)
    async with shared.as_("bizjak") as (uow, actor):
        assert new.code not in {each.code for each, _ in await rows.find_all(uow, actor)}


async def test_another_kind_of_server_at_the_address_is_told(shared: World) -> None:
    new = _profile(shared, Platform.MASTODON, base_url=shared.practice.bluesky_url)
    with pytest.raises((accounts.SignInRefusedError, accounts.PlatformUnavailableError)):
        await _connect(shared, new)


async def test_a_server_that_answers_no_use_changes_nothing(shared: World) -> None:
    new = _profile(shared, Platform.MASTODON)
    for fault in ({"html": True}, {"status": 503}):
        turn = Turn(only=Reach.ALL, **fault)  # type: ignore[arg-type]
        async with (
            _turned(shared, Platform.MASTODON, turn),
            refused(shared, "platform_unavailable"),
        ):
            await _connect(shared, new)


@pytest.mark.parametrize(
    ("by", "code"),
    [("zorc", "permission_denied"), ("mlakar", "permission_denied"), ("olena", "not_found")],
)
async def test_only_an_admin_of_the_mission_touches_its_accounts(
    shared: World, by: str, code: str
) -> None:
    async with refused(shared, code):
        await _connect(shared, _profile(shared, Platform.MASTODON), by)
    account_id = shared.accounts["hq.mastodon"]
    for act in (accounts.pause, accounts.resume, accounts.remove):
        async with refused(shared, code), shared.as_(by) as (uow, actor):
            await act(uow, actor, account_id, reason="mine")
    async with refused(shared, code):
        actor = await shared.actor(by)
        await accounts.check(shared.app.open_uow, shared.app.kit, actor, account_id)


async def test_a_profile_and_a_name_are_connected_once(shared: World) -> None:
    new = _profile(shared, Platform.MASTODON)
    await _connect(shared, new)
    async with refused(shared, "account_taken"):
        await _connect(shared, new)
    taken = _profile(shared, Platform.MASTODON, code=new.code)
    async with refused(shared, "account_taken"):
        await _connect(shared, taken)


@pytest.mark.parametrize("platform", Platform)
async def test_a_check_asks_again_and_keeps_what_the_server_says(
    shared: World, platform: Platform
) -> None:
    account = await _connect(shared, _profile(shared, platform))
    async with recording(shared) as actions:
        checked = await _check(shared, account.id)
    renewed = [] if platform is Platform.MASTODON else ["token.rotate"]
    assert actions == ["account.check", *renewed]
    assert checked.checked_at > account.checked_at


async def test_a_refused_sign_in_takes_the_account_out_of_service_once(shared: World) -> None:
    new = _profile(shared, Platform.MASTODON)
    account = await _connect(shared, new)
    shared.practice.turn(Platform.MASTODON, Turn(revoke=new.code.split(".")[0]))
    async with recording(shared) as actions:
        with pytest.raises(accounts.SignInRefusedError):
            await _check(shared, account.id)
    assert actions == ["account.pause"]
    assert await _state(shared, account.id) == "paused"
    async with refused(shared, "sign_in_refused"):
        await _check(shared, account.id)


async def test_a_server_that_is_away_takes_no_account_out_of_service(shared: World) -> None:
    account = await _connect(shared, _profile(shared, Platform.MASTODON))
    turn = Turn(only=Reach.ALL, status=503)
    async with _turned(shared, Platform.MASTODON, turn), refused(shared, "platform_unavailable"):
        await _check(shared, account.id)
    assert await _state(shared, account.id) == "active"


async def test_a_token_of_another_profile_is_noticed(shared: World) -> None:
    account = await _connect(shared, _profile(shared, Platform.MASTODON))
    another = _profile(shared, Platform.MASTODON).secret
    async with shared.app.open_uow() as uow:
        await secrets.seal(uow, shared.app.kit, account, "secret", another, actor=None)
    async with refused(shared, "account_profile_changed"):
        await _check(shared, account.id)


async def test_an_account_is_paused_and_resumed_with_a_reason(shared: World) -> None:
    account = await _connect(shared, _profile(shared, Platform.MASTODON))
    for act, state in ((accounts.pause, "paused"), (accounts.resume, "active")):
        async with recording(shared) as actions, shared.as_("bizjak") as (uow, actor):
            changed = await act(uow, actor, account.id, reason="the ambassador leaves")
        assert actions == [f"account.{act.__name__}"]
        assert (changed.state, changed.state_reason) == (state, "the ambassador leaves")
        async with refused(shared, "account_state"), shared.as_("bizjak") as (uow, actor):
            await act(uow, actor, account.id, reason="again")


async def test_a_removed_account_is_gone_with_its_keys(shared: World) -> None:
    new = _profile(shared, Platform.BLUESKY)
    account = await _connect(shared, new)
    async with recording(shared) as actions, shared.as_("bizjak") as (uow, actor):
        await accounts.remove(uow, actor, account.id, reason="closed")
    assert actions == ["account.remove"]
    async with shared.app.open_uow.read() as uow:
        for table, condition in (
            (SealedToken, col(SealedToken.account_id) == account.id),
            (DataKey, col(DataKey.subject) == str(account.id)),
        ):
            query = select(func.count()).select_from(table).where(condition)
            assert (await uow.session.execute(query)).scalar_one() == 0
    for act in (accounts.pause, accounts.resume, accounts.remove):
        async with refused(shared, "not_found"), shared.as_("bizjak") as (uow, actor):
            await act(uow, actor, account.id, reason="again")
    async with refused(shared, "not_found"):
        await _check(shared, account.id)


async def test_a_removed_accounts_name_and_profile_are_free_again(shared: World) -> None:
    new = _profile(shared, Platform.MASTODON)
    first = await _connect(shared, new)
    async with shared.as_("bizjak") as (uow, actor):
        await accounts.remove(uow, actor, first.id, reason="moved")
    second = await _connect(shared, new)
    assert (second.code, second.external_id) == (new.code, first.external_id)
    assert second.id != first.id


async def test_data_keys_move_to_a_new_version_before_the_old_one_is_destroyed(
    own: World,
) -> None:
    kit, ring = own.app.kit, own.app.kit.ring
    async with own.app.open_uow.read() as uow:
        [status] = await keys.find_status(uow, ring)
        assert (status.version, status.data_keys) == (1, 4)
        assert await keys.count_outdated(uow, ring) == 0
    async with recording(own) as actions, own.app.open_uow() as uow:
        assert keys.rotate(uow, ring) == 2
    assert actions == ["key.rotate"]
    async with refused(own, "key_version_in_use"), own.app.open_uow() as uow:
        await keys.retire(uow, ring, 1)
    async with recording(own) as actions, own.app.open_uow() as uow:
        assert await keys.count_outdated(uow, ring) == 4
        assert await keys.rewrap(uow, kit) == 4
    assert actions == ["key.rewrap"]
    async with recording(own) as actions, own.app.open_uow() as uow:
        assert await keys.rewrap(uow, kit) == 0
    assert actions == []
    async with recording(own) as actions, own.app.open_uow() as uow:
        await keys.retire(uow, ring, 1)
    assert actions == ["key.retire"]
    async with own.app.open_uow.read() as uow:
        account = await uow.session.get_one(Account, own.accounts["hq.bluesky"])
        assert (await secrets.open_credentials(uow, kit, account)).secret
        assert [each.data_keys for each in await keys.find_status(uow, ring)] == [0, 4]
    async with refused(own, "key_version_refused"), own.app.open_uow() as uow:
        await keys.retire(uow, ring, 2 if ring.current_version != 2 else 1)


async def test_a_sealed_secret_opens_for_no_other_account(shared: World) -> None:
    one = await _connect(shared, _profile(shared, Platform.MASTODON))
    other = await _connect(shared, _profile(shared, Platform.MASTODON))
    async with shared.app.open_uow() as uow:
        found = await rows.lock_sealed(uow, one.id, "secret")
        mine = await rows.lock_sealed(uow, other.id, "secret")
        assert found is not None
        assert mine is not None
        found[0].blob, found[0].data_key_id = mine[0].blob, mine[0].data_key_id
    async with refused(shared, "token_unavailable"), shared.app.open_uow.read() as uow:
        await secrets.open_credentials(uow, shared.app.kit, one)
