"""What an auditor asks: the record verifies, and whatever row was changed by hand is named."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from sqlalchemy import delete, select, text, update
from sqlmodel import col

from scheduler.audit import tree
from scheduler.audit.export import ExportRequest
from scheduler.audit.tree import verify_inclusion
from scheduler.db import log, persons
from scheduler.db.tables import (
    Approval,
    Attempt,
    AuditLeaf,
    AuditNode,
    AuditOutbox,
    Delivery,
    Post,
    PostText,
    Variant,
)
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Permission
from scheduler.ids import new_id
from scheduler.services import evidence, proofs, publishing, sequencing
from scheduler.services.evidence import Verdict
from scheduler.services.publishing import Intent, Work
from scheduler.services.scope import require_at_the_top
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
BAD = [{"text": "Bad evening from Lipovec!", "media": []}]


@dataclass(frozen=True, slots=True)
class Sent:
    """A world with one post on its way, sealed, and one approval that is not sealed yet."""

    world: World
    post: Post
    delivery: Delivery
    unsealed: Post


async def _seal(world: World) -> None:
    async with world.app.open_uow() as uow:
        assert await sequencing.seal(uow, world.app.log_keys, owner="test") is not None
        assert await sequencing.count_unsealed(uow) == 0


@pytest_asyncio.fixture(name="sent", scope="module", loop_scope="session")
async def sent_fixture(shared: World) -> Sent:
    variant = [{"text": "Good morning, Fediverse!", "media": []}]
    post = await shared.scheduled(variants={"hq.mastodon": variant})
    async with (app := shared.app).open_uow() as uow:
        [claimed] = await publishing.claim(uow, worker="test", ahead=sequencing.LEASE * 0, limit=1)
        [work] = cast("list[Work]", await publishing.prepare(uow, app.kit, [claimed]))
        [intent] = await publishing.intend(uow, app.kit, [(work, b'{"status":"Good morning"}')])
    assert isinstance(intent, Intent)
    await _seal(shared)
    return Sent(shared, post, (await shared.deliveries(post))[0], await shared.scheduled())


def _request(uow: UnitOfWork) -> ExportRequest:
    return ExportRequest(requested_by="mlakar", reason="yearly review", at=uow.now)


async def _verify(world: World, uow: UnitOfWork) -> Verdict:
    return await evidence.verify(uow, trust=world.app.trust, request=_request(uow))


@asynccontextmanager
async def _tampering(sent: Sent) -> AsyncIterator[UnitOfWork]:
    """As somebody with the database's own password, whose changes are undone at the end."""
    async with sent.world.app.open_uow.read() as uow:
        yield uow


async def _as_dba(uow: UnitOfWork) -> None:
    """Take the triggers out of the way."""
    if uow.session.get_bind().dialect.name == "postgresql":
        await uow.session.execute(text("ALTER TABLE audit_leaf DISABLE TRIGGER ALL"))
        return
    for name in ("update", "delete"):
        await uow.session.execute(text(f"DROP TRIGGER audit_leaf_{name}"))


async def _action_at(uow: UnitOfWork, seq: int | None) -> str:
    assert seq is not None
    leaf = await uow.session.get_one(AuditLeaf, seq)
    return str(json.loads(leaf.line)["rec"]["act"])


async def test_what_nobody_touched_verifies(sent: Sent) -> None:
    async with sent.world.app.open_uow.read() as uow:
        verdict = await _verify(sent.world, uow)
    assert verdict.ok, (verdict.mismatches, verdict.log.findings)
    assert verdict.log.keys_given
    assert verdict.log.records == verdict.log.size


@pytest.mark.parametrize(
    ("table", "values", "subject", "code", "record"),
    [
        (PostText, {"segments": BAD}, "post", "content_changed", "post.submit"),
        (PostText, {"language": "sl"}, "post", "content_changed", "post.submit"),
        (Variant, {"segments": BAD}, "post", "content_changed", "post.submit"),
        (Post, {"not_after": None, "late_minutes": 99}, "post", "content_changed", "post.submit"),
        (Post, {"digest": "sha256:00"}, "post", "content_changed", "post.submit"),
        (Post, {"policy": "sha256:00"}, "post", "content_changed", "post.submit"),
        (Post, {"link_card": {"uri": "x"}}, "post", "content_changed", "post.submit"),
        (Post, {"state": "closed"}, "post", "state_changed", "post.schedule"),
        (Delivery, {"payload": b"[]"}, "post", "content_changed", "post.submit"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_changed_row_of_a_post_is_named_with_the_record_it_contradicts(
    sent: Sent, table: type, values: dict[str, object], subject: str, code: str, record: str
) -> None:
    key = Post.id if table is Post else table.post_id  # type: ignore[attr-defined] - one of ours
    async with _tampering(sent) as uow:
        await uow.session.execute(update(table).where(key == sent.post.id).values(**values))
        verdict = await _verify(sent.world, uow)
        [found] = verdict.mismatches
        assert (found.subject, found.code) == (f"{subject}:{sent.post.id}", code)
        assert await _action_at(uow, found.seq) == record
    assert verdict.log.ok
    assert not verdict.ok


@pytest.mark.parametrize(
    "field", ["digest", "policy", "revision", "person_id", "post_id", "decided_at"]
)
async def test_a_changed_approval_is_named(sent: Sent, field: str) -> None:
    async with _tampering(sent) as uow:
        other = await persons.get_by_code(uow, "vidmar")
        values = {
            "digest": "sha256:00",
            "policy": "sha256:00",
            "revision": 2,
            "person_id": other.id,
            "post_id": sent.unsealed.id,
            "decided_at": uow.now,
        }
        query = select(Approval).where(col(Approval.post_id) == sent.post.id)
        [approval] = await uow.session.scalars(query)
        change = update(Approval).where(col(Approval.id) == approval.id)
        if field == "post_id":  # one decision a person, post and revision
            change = change.values(revision=7)
        await uow.session.execute(change.values(**{field: values[field]}))
        [found] = (await _verify(sent.world, uow)).mismatches
        assert (found.subject, found.code) == (f"approval:{approval.id}", "approval_changed")
        assert await _action_at(uow, found.seq) == "post.approve"


async def test_an_approval_put_in_by_hand_is_named_as_unrecorded(sent: Sent) -> None:
    async with _tampering(sent) as uow:
        person = await persons.get_by_code(uow, "vidmar")
        forged = Approval(
            id=new_id(),
            post_id=sent.post.id,
            revision=1,
            digest=str(sent.post.digest),
            policy=str(sent.post.policy),
            person_id=person.id,
            decided_at=uow.now,
        )
        uow.session.add(forged)
        await uow.session.flush()
        [found] = (await _verify(sent.world, uow)).mismatches
        assert (found.subject, found.code, found.seq) == (
            f"approval:{forged.id}",
            "approval_unrecorded",
            None,
        )


async def test_a_changed_state_of_a_delivery_is_named(sent: Sent) -> None:
    async with _tampering(sent) as uow:
        change = update(Delivery).where(col(Delivery.id) == sent.delivery.id)
        await uow.session.execute(change.values(state="sent", remote_id="1"))
        [found] = (await _verify(sent.world, uow)).mismatches
        assert (found.subject, found.code) == (f"delivery:{sent.delivery.id}", "state_changed")
        assert "it is sent, but the last record says sending" in found.message
        assert await _action_at(uow, found.seq) == "delivery.intent"


@pytest.mark.parametrize(
    "values",
    [
        {"request_sha256": "0" * 64},
        {"request": b'{"status":"Bad morning"}'},
        {"outcome": "sent", "ended_at": datetime(2026, 11, 24, tzinfo=UTC)},
    ],
    ids=lambda values: next(iter(values)),
)
async def test_a_changed_attempt_is_named(sent: Sent, values: dict[str, object]) -> None:
    async with _tampering(sent) as uow:
        query = select(Attempt).where(col(Attempt.delivery_id) == sent.delivery.id)
        [attempt] = await uow.session.scalars(query)
        await uow.session.execute(
            update(Attempt).where(col(Attempt.id) == attempt.id).values(**values)
        )
        [found] = (await _verify(sent.world, uow)).mismatches
        assert (found.subject, found.code) == (f"attempt:{attempt.id}", "attempt_changed")


async def test_one_bit_of_a_sealed_record_is_found_and_the_record_named(sent: Sent) -> None:
    async with _tampering(sent) as uow:
        await _as_dba(uow)
        [leaf] = await uow.session.scalars(
            select(AuditLeaf)
            .where(col(AuditLeaf.subject) == str(sent.post.id))
            .order_by(col(AuditLeaf.seq).desc())
            .limit(1)
        )
        seq, line = leaf.seq, bytes(leaf.line)
        at = line.index(b'"from":"') + len(b'"from":"')
        changed = line[:at] + bytes((line[at] ^ 1,)) + line[at + 1 :]
        change = update(AuditLeaf).where(col(AuditLeaf.seq) == seq)
        await uow.session.execute(change.values(line=changed))
        uow.session.expunge_all()
        verdict = await _verify(sent.world, uow)
    assert not verdict.ok
    assert verdict.log.first_bad == seq
    assert ("record_changed", seq) in {(each.code, each.seq) for each in verdict.log.findings}


async def test_a_record_changed_with_its_hash_does_not_make_the_signed_root(sent: Sent) -> None:
    async with _tampering(sent) as uow:
        await _as_dba(uow)
        leaf = await uow.session.get_one(AuditLeaf, 3)
        line = bytes(leaf.line).replace(b'"via":"', b'"via":"x', 1)
        change = update(AuditLeaf).where(col(AuditLeaf.seq) == 3)
        await uow.session.execute(change.values(line=line, hash=tree.leaf_hash(line)))
        uow.session.expunge_all()
        verdict = await _verify(sent.world, uow)
    codes = {each.code for each in verdict.log.findings}
    assert {"root_wrong", "transaction_signature"} <= codes
    assert not verdict.ok


async def test_a_record_that_waits_to_be_sealed_counts_already_and_its_change_is_found(
    sent: Sent,
) -> None:
    async with _tampering(sent) as uow:
        rows = await uow.session.scalars(select(AuditOutbox).where(col(AuditOutbox.seq).is_(None)))
        [row] = [each for each in rows if b'"post.approve"' in each.body]
        digest = str(sent.unsealed.digest).encode()
        body = bytes(row.body).replace(digest, digest[:-1] + bytes((digest[-1] ^ 1,)))
        change = update(AuditOutbox).where(col(AuditOutbox.id) == row.id)
        await uow.session.execute(change.values(body=body))
        uow.session.expunge_all()
        [found] = (await _verify(sent.world, uow)).mismatches
        assert (found.code, found.seq) == ("approval_changed", None)


async def test_a_lost_record_leaves_its_row_unexplained(sent: Sent) -> None:
    async with _tampering(sent) as uow:
        await uow.session.execute(delete(AuditOutbox).where(col(AuditOutbox.seq).is_(None)))
        found = (await _verify(sent.world, uow)).mismatches
    codes = {each.code for each in found}
    assert codes == {"content_changed", "state_changed", "approval_unrecorded", "row_unrecorded"}


@pytest.mark.parametrize(
    ("tables", "subjects", "actions"),
    [
        ([Attempt], ["attempt"], ["delivery.intent"]),
        ([Approval], ["approval"], ["post.approve"]),
        ([Attempt, Delivery], ["attempt", "delivery", "post"], []),
    ],
    ids=["attempt", "approval", "delivery"],
)
async def test_a_deleted_row_is_missed(
    sent: Sent, tables: list[type], subjects: list[str], actions: list[str]
) -> None:
    async with _tampering(sent) as uow:
        for table in tables:
            key, value = (
                (table.delivery_id, sent.delivery.id)  # type: ignore[attr-defined] - one of ours
                if table is Attempt
                else (table.post_id, sent.post.id)  # type: ignore[attr-defined] - one of ours
            )
            await uow.session.execute(delete(table).where(key == value))
        found = (await _verify(sent.world, uow)).mismatches
        assert sorted({each.subject.split(":")[0] for each in found}) == subjects
        gone = [each for each in found if each.code == "row_gone"]
        assert gone
        for each, action in zip(gone, actions, strict=False):
            assert await _action_at(uow, each.seq) == action


async def test_a_record_changed_before_it_was_sealed_is_found_afterwards(own: World) -> None:
    await own.scheduled()
    async with own.app.open_uow() as uow:
        query = select(AuditOutbox).order_by(col(AuditOutbox.id).desc()).limit(1)
        [row] = await uow.session.scalars(query)
        row.body = bytes(row.body).replace(b'"ready"', b'"reads"', 1)
    await _seal(own)
    async with own.app.open_uow.read() as uow:
        verdict = await _verify(own, uow)
    assert "transaction_signature" in {each.code for each in verdict.log.findings}


async def test_a_row_that_cannot_be_read_any_more_is_named(sent: Sent) -> None:
    async with _tampering(sent) as uow:
        change = update(PostText).where(col(PostText.post_id) == sent.post.id)
        await uow.session.execute(change.values(segments=[1.5]))
        [found] = (await _verify(sent.world, uow)).mismatches
    assert (found.subject, found.code) == (f"post:{sent.post.id}", "content_changed")


async def test_nothing_is_exported_or_verified_before_the_first_seal(
    own: World, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    async with refused(own, "nothing_sealed"), own.app.open_uow.read() as uow:
        await evidence.export(uow, folder, trust=own.app.trust, request=_request(uow))
    assert not folder.exists()
    async with refused(own, "nothing_sealed"), own.app.open_uow.read() as uow:
        await _verify(own, uow)
    async with refused(own, "not_found"), own.app.open_uow.read() as uow:
        await proofs.get_proven(uow, 0)


async def test_an_export_fills_a_new_folder_and_spares_a_used_one(
    sent: Sent, tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "export"
    async with sent.world.app.open_uow.read() as uow:
        trust = sent.world.app.trust
        size = await evidence.export(uow, folder, trust=trust, request=_request(uow))
    assert len((folder / "entries.jsonl").read_bytes().splitlines()) == size
    assert (folder / "checkpoint").stat().st_size
    names = sorted(each.name for each in folder.iterdir())
    assert names == ["checkpoint", "entries.jsonl", "leaves.bin", "manifest.json", "trust"]
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    async with refused(sent.world, "folder_in_use"), sent.world.app.open_uow.read() as uow:
        await evidence.export(uow, folder, trust=trust, request=_request(uow))
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before


async def test_only_an_auditor_of_the_headquarters_reads_the_record(sent: Sent) -> None:
    async with sent.world.as_("mlakar") as (uow, actor):
        await require_at_the_top(uow, actor, Permission.AUDIT)
    for by, code in (("bizjak", "permission_denied"), ("olena", "permission_denied")):
        async with refused(sent.world, code), sent.world.as_(by) as (uow, actor):
            await require_at_the_top(uow, actor, Permission.AUDIT)


async def test_records_are_listed_newest_first_and_by_subject(sent: Sent) -> None:
    async with sent.world.app.open_uow.read() as uow:
        page = await evidence.find_records(uow, subject=None, before=None, limit=3)
        older = await evidence.find_records(uow, subject=None, before=page[-1].seq, limit=1)
        mine = await evidence.find_records(uow, subject=str(sent.post.id), before=None, limit=99)
    seqs = [each.seq for each in page]
    assert seqs == sorted(seqs, reverse=True)
    assert older[0].seq == seqs[-1] - 1
    actions = [json.loads(each.line)["rec"]["act"] for each in mine]
    assert actions == ["post.schedule", "post.approve", "post.submit", "post.draft"]


async def test_each_record_is_proven_to_be_in_the_signed_log(sent: Sent) -> None:
    async with sent.world.app.open_uow.read() as uow:
        for seq in (0, 1, 7):
            proven = await proofs.get_proven(uow, seq)
            root = tree.root_of(
                each.hash
                for each in await uow.session.scalars(
                    select(AuditLeaf).order_by(col(AuditLeaf.seq))
                )
            )
            assert verify_inclusion(
                leaf=tree.leaf_hash(proven.leaf.line),
                index=seq,
                size=proven.checkpoint.size,
                proof=proven.proof,
                root=root,
            )
    async with refused(sent.world, "not_found"), sent.world.app.open_uow.read() as uow:
        await proofs.get_proven(uow, 10**6)


async def test_a_gap_in_the_tree_is_told(sent: Sent) -> None:
    async with refused(sent.world, "log_damaged"), _tampering(sent) as uow:
        await uow.session.execute(delete(AuditNode).where(col(AuditNode.level) == 0))
        await proofs.get_proven(uow, 0)


async def test_only_one_sequencer_is_at_work(sent: Sent) -> None:
    app = sent.world.app
    async with app.open_uow.read() as uow:
        await log.take_lease(uow, "test", sequencing.LEASE)
        assert await sequencing.seal(uow, app.log_keys, owner="another") is None
        uow.now += sequencing.LEASE * 2
        await uow.session.execute(delete(AuditOutbox).where(col(AuditOutbox.seq).is_(None)))
        assert await sequencing.seal(uow, app.log_keys, owner="another") == 0


async def test_what_was_published_verifies_and_its_changed_address_is_named(own: World) -> None:
    segments = [{"text": f"{n}/2 from the Lipovec Forum", "media": []} for n in (1, 2)]
    post = await own.scheduled(texts={"en": segments})
    async with own.working():
        [delivery] = await own.settle(post, lambda each: each.state == "verified")
    async with own.app.open_uow() as uow:
        await sequencing.seal(uow, own.app.log_keys, owner="test-worker")
    async with own.app.open_uow.read() as uow:
        assert (await _verify(own, uow)).ok
        change = update(Delivery).where(col(Delivery.id) == delivery.id)
        await uow.session.execute(change.values(remote_id="another"))
        [found] = (await _verify(own, uow)).mismatches
        assert (found.subject, found.code) == (f"delivery:{delivery.id}", "remote_changed")
        assert await _action_at(uow, found.seq) == "delivery.part_sent"


async def test_a_narrow_token_reads_no_record(sent: Sent) -> None:
    async with refused(sent.world, "token_scope"), sent.world.as_("mlakar") as (uow, actor):
        narrow = replace(actor, scopes=frozenset({Permission.READ}))
        await require_at_the_top(uow, narrow, Permission.AUDIT)
