"""Rows that give power act only with our seal: whoever writes to the database alone gains nothing by it."""

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, insert, select, text, update
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.audit.export import ExportRequest
from scheduler.audit.record import build, seal_transaction
from scheduler.canonical import canonical
from scheduler.db import persons, rules
from scheduler.db import posts as post_rows
from scheduler.db.tables import (
    Account,
    ApiToken,
    Approval,
    AuditOutbox,
    DataKey,
    Enrolment,
    Grant,
    Mission,
    Person,
    PolicyVersion,
    Posture,
    SealedToken,
)
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission, Role
from scheduler.ids import new_id
from scheduler.services import (
    adopting,
    evidence,
    inspection,
    people,
    posts,
    postures,
    secrets,
    sequencing,
    tokens,
)
from scheduler.services.people import NewGrant
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import POLICY, World

pytestmark = pytest.mark.asyncio(loop_scope="session")
_LATER = datetime(2099, 1, 1, tzinfo=UTC)


async def _token(world: World, code: str) -> tuple[str, Person]:
    async with world.as_("bizjak") as (uow, actor):
        issued = await people.enrol_person(uow, actor, code)
    async with world.app.open_uow() as uow:
        return (await tokens.redeem(uow, issued.code)).token, issued.person


async def _by_hand(world: World, statement: Any) -> None:
    async with world.app.open_uow() as uow:
        await uow.session.execute(statement)


async def _actor_of(world: World, token: str) -> Actor:
    async with world.app.open_uow.read() as uow:
        return await tokens.authenticate(uow, token, via="test")


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@pytest.mark.parametrize(
    "values",
    [{"token_sha256": _sha256("chancery_EEEE")}, {"expires_at": _LATER}, {"scopes": ["approve"]}],
    ids=lambda values: next(iter(values)),
)
async def test_a_token_changed_by_hand_lets_nobody_in(own: World, values: dict[str, Any]) -> None:
    token, person = await _token(own, "zorc")
    assert (await _actor_of(own, token)).person_id == person.id
    await _by_hand(
        own, update(ApiToken).where(col(ApiToken.person_id) == person.id).values(**values)
    )
    for each in (token, "chancery_EEEE"):
        async with refused(own, "token_rejected"):
            await _actor_of(own, each)


async def test_a_revoked_token_does_not_come_back(own: World) -> None:
    token, person = await _token(own, "zorc")
    async with own.app.open_uow() as uow:
        await tokens.log_out(uow, await tokens.authenticate(uow, token, via="test"))
    await _by_hand(own, update(ApiToken).values(revoked_at=None))
    async with refused(own, "token_rejected"):
        await _actor_of(own, token)
    async with own.app.open_uow.read() as uow:
        assert [each.person_id for each in await persons.find_tokens(uow, person.id)] == [person.id]


async def test_a_planted_enrolment_code_makes_no_token(own: World) -> None:
    async with own.app.open_uow() as uow:
        person = await persons.get_by_code(uow, "zorc")
        planted = {"person_id": person.id, "code_sha256": _sha256("ABC"), "issued_at": uow.now}
        await uow.session.execute(
            insert(Enrolment).values(id=new_id(), expires_at=_LATER, **planted)
        )
    async with refused(own, "enrolment_rejected"), own.app.open_uow() as uow:
        await tokens.redeem(uow, "abc")


async def test_a_forged_grant_gives_nothing_and_its_revocation_does_not_mend_it(
    own: World,
) -> None:
    async with own.as_("bizjak") as (uow, actor):
        new = NewGrant(person="hocevar", mission="krv.hq", role=Role.SUPERVISOR)
        grant = await people.propose_grant(uow, actor, new)
    await _by_hand(own, update(Grant).where(col(Grant.id) == grant.id).values(bootstrap=True))
    assert {each.role for each in (await own.actor("hocevar")).grants} == {Role.OFFICER}
    async with own.as_("bizjak") as (uow, actor):
        await people.revoke_grant(uow, actor, grant.id)
    await _by_hand(own, update(Grant).where(col(Grant.id) == grant.id).values(revoked_at=None))
    assert {each.role for each in (await own.actor("hocevar")).grants} == {Role.OFFICER}


async def test_a_grant_put_in_by_hand_gives_nothing(own: World) -> None:
    async with own.app.open_uow() as uow:
        [grant] = await uow.session.scalars(
            select(Grant)
            .join(Person, col(Person.id) == col(Grant.person_id))
            .where(col(Person.code) == "zorc")
        )
        other = await persons.get_by_code(uow, "sato")
        values = grant.model_dump() | {"id": new_id(), "person_id": other.id}
        await uow.session.execute(insert(Grant).values(**values))  # with the other's seal
    assert [each.role for each in (await own.actor("sato")).grants] == [Role.OFFICER]


async def test_a_person_or_mission_changed_by_hand_gives_no_rights(own: World) -> None:
    root = (await own.actor("zorc")).grants[0].mission_path
    await _by_hand(own, update(Mission).where(col(Mission.code) == "krv.tyo").values(path="/"))
    assert (await own.actor("sato")).grants == ()
    later = datetime(2026, 1, 1, tzinfo=UTC)
    change = update(Person).where(col(Person.code) == "zorc")
    await _by_hand(own, change.values(approvals_suspended_until=later))
    assert not (await own.actor("zorc")).may(Permission.APPROVE, root, now=_LATER)


async def test_nothing_is_judged_or_sent_by_a_policy_changed_by_hand(own: World) -> None:
    post, other = await own.scheduled(), await own.draft()
    laxer = POLICY.replace(b"Kiev", b"Kyjiw")
    await _by_hand(own, update(PolicyVersion).values(body=laxer))
    async with refused(own, "policy_changed"), own.as_("hocevar") as (uow, actor):
        await posts.submit(uow, own.app.kit, actor, other.id, revision=1)
    async with own.app.open_uow.read() as uow:
        seen = await inspection.inspect(uow, own.app.kit, await own.actor("zorc"), other.id)
    assert seen.findings == ()
    async with own.working():
        [delivery] = await own.settle(post, lambda each: each.state in {"verified", "held"})
    assert (delivery.state, delivery.reason.split(":")[0]) == ("held", "policy_changed")
    await own.activate(POLICY)
    async with own.app.open_uow.read() as uow:
        assert (await rules.get_policy(uow)).body == POLICY


async def test_a_stop_lifted_or_narrowed_by_hand_still_stops(own: World) -> None:
    post = await own.scheduled()
    async with own.as_("zorc") as (uow, actor):
        await postures.stop(uow, actor, reason="mourning")
        other = await persons.get_by_code(uow, "vidmar")
    lifted = update(Posture).values(ended_at=Posture.started_at, ended_by=other.id)
    narrowed = update(Posture).values(ended_at=None, ended_by=None, allowed_classes=["routine"])
    for change in (lifted, narrowed):
        await _by_hand(own, change)
        async with own.app.open_uow.read() as uow:
            [found] = await rules.load_postures(uow)
        assert found.stops_everything
        assert found.is_in_force(uow.now)
    async with own.working():
        [delivery] = await own.settle(post, lambda each: each.state in {"verified", "held"})
    assert (delivery.state, delivery.reason.split(":")[0]) == ("held", "stopped")


async def test_an_older_row_put_back_with_its_seal_acts_but_is_named(own: World) -> None:
    """The limit of a seal: it does not say how new it is. The record does."""
    async with own.as_("bizjak") as (uow, actor):
        person = await persons.get_by_code(uow, "zorc")
        [(grant, _, _)] = await persons.find_grants(uow, person_id=person.id)
        older = {"revoked_at": None, "seal": grant.seal}
        await people.revoke_grant(uow, actor, grant.id)
    await _by_hand(own, update(Grant).where(col(Grant.id) == grant.id).values(**older))
    assert [each.role for each in (await own.actor("zorc")).grants] == [Role.SUPERVISOR]
    assert await _mismatches(own) == {(f"grant:{grant.id}", "row_changed")}


async def _mismatches(world: World) -> set[tuple[str, str]]:
    async with world.app.open_uow() as uow:
        await sequencing.seal(uow, world.app.log_keys, owner="test")
    async with world.app.open_uow.read() as uow:
        request = ExportRequest(requested_by="mlakar", reason="yearly review", at=uow.now)
        verdict = await evidence.verify(uow, trust=world.app.trust, request=request)
        assert verdict.log.ok
        return {(each.subject, each.code) for each in verdict.mismatches}


async def test_an_installation_of_an_older_release_is_sealed_once(own: World) -> None:
    token, _ = await _token(own, "zorc")
    await _make_old(own)
    async with refused(own, "token_rejected"):
        await _actor_of(own, token)
    async with own.app.open_uow() as uow:
        adopted = await adopting.adopt(uow, own.app.kit)
    assert adopted is not None
    assert adopted.rows > 30
    assert adopted.doubted == ("kyi.mastodon",)
    assert await _mismatches(own) == set()
    assert (await _actor_of(own, token)).grants
    async with own.app.open_uow.read() as uow:
        account = await uow.session.get_one(Account, own.accounts["hq.bluesky"])
        assert (await secrets.open_credentials(uow, own.app.kit, account)).session
    async with refused(own, "token_unavailable"), own.app.open_uow.read() as uow:
        account = await uow.session.get_one(Account, own.accounts["kyi.mastodon"])
        await secrets.open_credentials(uow, own.app.kit, account)
    await _by_hand(own, update(Grant).values(seal=""))
    async with own.app.open_uow() as uow:
        assert await adopting.adopt(uow, own.app.kit) is None
    assert (await own.actor("zorc")).grants == ()


async def test_approvals_of_the_release_before_are_sealed_if_their_records_say_the_same(
    own: World,
) -> None:
    lawful, forged = await own.scheduled(), await own.scheduled()
    await _by_hand(own, update(Approval).values(seal=""))
    other = {"digest": "sha256:00"}
    await _by_hand(own, update(Approval).where(col(Approval.post_id) == forged.id).values(**other))
    async with own.app.open_uow() as uow:
        adopted = await adopting.adopt(uow, own.app.kit)
    assert adopted is not None
    assert adopted.rows == 1
    async with own.app.open_uow.read() as uow:
        found = await post_rows.find_approvals(uow, [lawful.id, forged.id])
    assert {post_id for post_id, of_post in found.items() if of_post} == {lawful.id}
    assert {code for _, code in await _mismatches(own)} == {"approval_changed"}


async def test_an_installation_that_began_with_seals_is_not_sealed_again(own: World) -> None:
    await _by_hand(own, update(Grant).values(seal=""))
    async with own.app.open_uow() as uow:
        assert await adopting.adopt(uow, own.app.kit) is None


async def test_an_operator_may_believe_rows_and_the_record_goes_on_naming_them(own: World) -> None:
    change = update(Person).where(col(Person.code) == "zorc")
    await _by_hand(own, change.values(seal=""))
    await _by_hand(own, update(Person).where(col(Person.code) == "vidmar").values(name="Luka"))
    people_ = {}
    async with own.app.open_uow() as uow:
        for code in ("zorc", "vidmar"):
            people_[code] = (await persons.get_by_code(uow, code)).id
        names = await adopting.believe(uow)
    assert sorted(names) == sorted(f"person:{each}" for each in people_.values())
    async with own.app.open_uow() as uow:
        assert await adopting.believe(uow) == []
    assert (await own.actor("zorc")).grants
    assert (await own.actor("vidmar")).grants
    assert await _mismatches(own) == {(f"person:{people_['vidmar']}", "row_changed_before")}


async def _make_old(world: World) -> None:
    """Take out what this release has added: seals, digests on record, what binds a token to its server."""
    app = world.app
    async with app.open_uow() as uow:
        for name in ("mission", "person", '"grant"', "enrolment", "api_token", "policy_version"):
            await uow.session.execute(text(f"UPDATE {name} SET seal = ''"))  # noqa: S608 - our own names
        found = await uow.session.execute(
            select(SealedToken, DataKey, Account)
            .join(DataKey, col(DataKey.id) == col(SealedToken.data_key_id))
            .join(Account, col(Account.id) == col(SealedToken.account_id))
        )
        for token, key, account in found.all():
            blob = _older_blob(world, token, key, account)
            change = update(SealedToken).where(col(SealedToken.id) == token.id)
            await uow.session.execute(change.values(blob=blob))
        await uow.session.execute(delete(AuditOutbox))
        accounts = (await uow.session.scalars(select(Account))).all()
        records = [_account_record(uow, account) for account in accounts]
        bodies = seal_transaction(records, app.instance, service="cli", version="0.0.1")
        await uow.session.execute(insert(AuditOutbox), [{"body": body} for body in bodies])
        moved = update(Account).where(col(Account.code) == "kyi.mastodon")
        await uow.session.execute(moved.values(base_url="https://evil.example"))


def _account_record(uow: UnitOfWork, account: Account) -> Any:
    detail = {
        "platform": account.platform,
        "server": account.base_url,
        "external": account.external_id,
        "mission": str(account.mission_id),
    }
    return build(
        record_id=str(new_id()),
        at=uow.now - timedelta(days=30),
        action=Action.ACCOUNT_ADD,
        by={"via": "cli"},
        on={"t": "account", "id": str(account.id)},
        detail=detail,
        result="ok",
    )


def _older_blob(world: World, token: SealedToken, key: DataKey, account: Account) -> bytes:
    wrapped = secrets.wrapped_key(key)
    context = secrets._context(token, account)
    secret = world.app.kit.vault.open(token.blob, wrapped, context)
    place: Mapping[str, Any] = {
        "tbl": "sealed_token",
        "row": str(token.id),
        "acct": str(account.id),
        "platform": account.platform,
        "kind": token.kind,
        "gen": token.generation,
    }
    header = b"MT1" + token.blob[3:8]
    bound = b"chancery/token/v1\0" + header + canonical(place)
    padded = secret.encode() + b"\x80"
    padded += bytes(-len(padded) % 64)
    nonce = os.urandom(12)
    dek = world.app.kit.vault._unwrap(wrapped)
    return header + nonce + AESGCM(dek).encrypt(nonce, padded, bound)
