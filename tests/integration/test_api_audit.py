"""The record over HTTP: an auditor gets everything that is needed to check it without us."""

import json

from sqlalchemy import delete, text, update
from sqlmodel import col

from scheduler.audit.checkpoint import Checkpoint
from scheduler.audit.keys import Trust
from scheduler.audit.notes import Note
from scheduler.audit.tree import leaf_hash, root_of, verify_inclusion
from scheduler.db.tables import AuditLeaf, AuditNode, Post
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name

#: What an intruder with the database's own password does first.
_DISARM = {
    "sqlite": ("DROP TRIGGER audit_leaf_update", "DROP TRIGGER audit_leaf_delete"),
    "postgresql": ("ALTER TABLE audit_leaf DISABLE TRIGGER USER",),
}


async def test_an_auditor_can_prove_a_record_without_us(api: Api) -> None:
    post = await api.submitted()
    await api.seal()
    auditor = api.as_("mlakar")
    [submitted, *_] = (await auditor.get(f"/audit?subject={post['id']}")).of(200)["items"]
    assert submitted["record"]["act"] == "post.submit"
    shown = (await auditor.get(f"/audit/{submitted['seq']}")).of(200)
    line = shown["line"].encode()
    assert json.loads(line)["rec"] == submitted["record"]
    assert leaf_hash(line).hex() == shown["leaf_hash"]
    trust = Trust.parse((await auditor.get("/audit/trust")).body)
    note = Note.parse(shown["checkpoint"].encode())
    assert {key.type for key in note.verify(trust.log)} == {key.type for key in trust.log}
    head = Checkpoint.parse(note.text)
    assert head.size == shown["size"]
    assert verify_inclusion(
        leaf=leaf_hash(line),
        index=shown["seq"],
        size=head.size,
        proof=[bytes.fromhex(each) for each in shown["proof"]],
        root=head.root,
    )


async def test_the_lines_of_the_log_make_the_root_that_was_signed(api: Api) -> None:
    await api.submitted()
    await api.seal()
    auditor = api.as_("mlakar")
    leaves = await auditor.get("/audit/leaves")
    lines = leaves.body.splitlines()
    assert leaves.headers["Content-Type"] == "application/jsonl"
    note = await auditor.get("/audit/checkpoint")
    assert note.headers["Content-Type"] == "text/plain; charset=utf-8"
    head = Checkpoint.parse(Note.parse(note.body).text)
    assert (len(lines), root_of(map(leaf_hash, lines))) == (head.size, head.root)
    assert (await auditor.get(f"/audit/leaves?start={head.size - 2}")).body.splitlines() == lines[
        -2:
    ]
    assert (await auditor.get(f"/audit/leaves?start={head.size}")).body == b""
    assert (await auditor.get("/audit/leaves?start=-1")).code == "query_invalid"


async def test_records_are_listed_newest_first_page_by_page(api: Api) -> None:
    await api.seal()
    auditor, seen, path = api.as_("mlakar"), [], "/audit?limit=20"
    while path:
        page = (await auditor.get(path)).of(200)
        seen += [each["seq"] for each in page["items"]]
        path = f"/audit?limit=20&cursor={page['next']}" if page["next"] else ""
    assert seen == list(range(len(seen)))[::-1]
    assert len(seen) > 20
    for query in ("cursor=-1", f"cursor={2**60}", "subject=%00", "subject=a%20b"):
        assert (await auditor.get(f"/audit?{query}")).code == "query_invalid", query


async def test_before_anything_is_sealed_there_is_no_head(api: Api) -> None:
    auditor = api.as_("mlakar")
    assert (await auditor.get("/audit/checkpoint")).code == "nothing_sealed"
    assert (await auditor.post("/audit/verify")).code == "nothing_sealed"
    assert (await auditor.get("/audit/leaves")).body == b""
    assert (await auditor.get("/audit/0")).code == "not_found"
    for seq in ("-1", "x", "01", "9" * 30):
        assert (await auditor.get(f"/audit/{seq}")).code == "not_found", seq


async def test_verifying_finds_what_somebody_changed_in_the_database(api: Api) -> None:
    post = await api.submitted()
    await api.seal()
    auditor = api.as_("mlakar")
    sound = (await auditor.post("/audit/verify")).of(200)
    assert (sound["ok"], sound["findings"], sound["mismatches"]) == (True, [], [])
    assert sound["keys_given"] is True
    async with api.world.app.open_uow() as uow:
        await uow.session.execute(update(Post).values(post_class="statement"))
    changed = (await auditor.post("/audit/verify")).of(200)
    assert changed["ok"] is False
    [mismatch] = changed["mismatches"]
    assert mismatch["subject"] == f"post:{post['id']}"
    assert (await auditor.get(f"/audit/{mismatch['seq']}")).of(200)["record"][
        "act"
    ] == "post.submit"


async def test_a_damaged_record_is_named_and_still_shown(api: Api, database: str) -> None:
    await api.seal()
    async with api.world.app.open_uow() as uow:
        for statement in _DISARM[database]:
            await uow.session.execute(text(statement))
        where = col(AuditLeaf.seq) == 3
        await uow.session.execute(update(AuditLeaf).where(where).values(line=b"\xff nothing"))
    auditor = api.as_("mlakar")
    verdict = (await auditor.post("/audit/verify")).of(200)
    assert (verdict["ok"], verdict["first_bad"]) == (False, 3)
    shown = (await auditor.get("/audit/3")).of(200)
    assert (shown["record"], shown["sealed_at"]) == (None, None)
    listed = (await auditor.get("/audit?limit=200")).of(200)["items"]
    assert [each["seq"] for each in listed if each["record"] is None] == [3]
    async with api.world.app.open_uow() as uow:
        await uow.session.execute(delete(AuditNode))
    damaged = await auditor.get("/audit/3")
    assert (damaged.status, damaged.code) == (503, "log_damaged")


async def test_only_auditors_at_headquarters_read_the_record(api: Api) -> None:
    for code in ("bizjak", "zorc", "hocevar"):
        for path in ("/audit", "/audit/0", "/audit/checkpoint", "/audit/trust", "/audit/leaves"):
            refused = await api.as_(code).get(path)
            assert (refused.status, refused.code) == (403, "permission_denied"), (code, path)
        assert (await api.as_(code).post("/audit/verify")).code == "permission_denied"


async def test_a_refused_action_is_on_record(api: Api) -> None:
    post = await api.submitted()
    officer = api.as_("hocevar")
    assert (
        await officer.post(f"/posts/{post['id']}/approve", {"digest": post["digest"]})
    ).code == "permission_denied"
    assert (await officer.get("/audit")).code == "permission_denied"
    assert (
        await api.with_token(api.people["zorc"]).post("/posts", {"mission": "krv.none"})
    ).code == "not_found"
    await api.seal()
    records = [
        each["record"]
        for each in (await api.as_("mlakar").get("/audit?limit=200")).of(200)["items"]
    ]
    denied = [each for each in records if each["act"] == "access.denied"][::-1]
    assert [(each["on"]["t"], each["d"]["tried"]) for each in denied] == [
        ("post", "POST /posts/{post_id}/approve"),
        ("person", "GET /audit"),
    ]
    assert denied[0]["on"]["id"] == post["id"]
    assert {each["res"] for each in denied} == {"denied"}
    assert denied[0]["by"] == denied[1]["by"]
    assert denied[0]["by"]["via"] == "api"
