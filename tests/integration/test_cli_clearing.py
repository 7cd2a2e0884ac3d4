"""Clearance from the command line: what an officer accepts, what a clearer sees, and what is refused."""

import asyncio
from pathlib import Path

import pytest

from adapters.registry import build
from scheduler.app import application
from scheduler.db import missions
from scheduler.domain.people import Role
from scheduler.services import people, tokens
from scheduler.services.people import NewGrant
from scheduler.settings import Settings
from tests.integration.clearing_fixtures import POLICY
from tests.integration.cli_fixtures import Karvenia, karvenia, log_in

__all__ = ["karvenia"]
pytestmark = pytest.mark.timeout(180)


async def _appoint(settings: Settings) -> str:
    """A clearer of the desk, as the set-up would have made one; answers their code."""
    async with (
        application(settings, service="cli", platforms=build, ringing=False) as app,
        app.open_uow() as uow,
    ):
        root = await missions.find_root(uow)
        assert root is not None
        person = await people.insert_person(uow, "pogacnik", "Jure Pogačnik", (), None)
        new = NewGrant(person="pogacnik", mission=root.code, role=Role.CLEARER, office="desk.east")
        await people.insert_bootstrap_grant(uow, person, root, new)
        return (await tokens.enrol(uow, person, issued_by=None)).code


def test_a_post_is_cleared_and_approved_from_the_command_line(
    karvenia: Karvenia, tmp_path: Path
) -> None:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "policy.yaml").write_text(
        POLICY.replace("approver: desk + protocol", "approver: desk")
    )
    for admin in ("bizjak", "oblak"):
        karvenia[admin].ask("policy", "activate", folder)
    code = asyncio.run(_appoint(karvenia.operator.settings()))
    clearer = log_in(karvenia.operator, "pogacnik", code)

    officer, supervisor = karvenia["hocevar"], karvenia["zorc"]
    draft = ("post", "draft", "--mission=krv.hq", "--to=hq.mastodon", "--now")
    post = officer.ask(*draft, "--text=en=The railway opens, alas.")
    assert officer.refusal("post", "submit", post["id"]) == "acceptance_missing"
    assert officer.run("post", "submit", post["id"], "--accept", "tone").returncode == 2
    sent = officer.ask("post", "submit", post["id"], "--accept", "tone=a line of a poem")

    approve = ("approval", "approve", post["id"], "--digest", sent["digest"])
    assert supervisor.refusal(*approve) == "clearance_missing"
    assert supervisor.refusal(*approve, "--break-glass", "a flood") == "break_glass_denied"
    [line] = clearer.ask("approval", "list")
    assert (line["id"], line["turn"]) == (post["id"], "clear")
    shown = clearer.run("approval", "show", post["id"]).stdout
    assert "accepted  tone: a line of a poem" in shown
    assert "step      open: clear by 1 of desk, rule rail" in shown
    assert "Jure Pogačnik" in shown
    assert "step      waits: approve by 1 of supervisor" in shown
    assert clearer.run("approval", "clear", post["id"]).returncode == 2
    clear = ("approval", "clear", post["id"], "--digest", sent["digest"])
    assert "in_review" in clearer.run(*clear).stdout
    assert clearer.refusal(*clear) == "decided_already"
    assert (
        "decided   clear by Jure Pogačnik" in supervisor.run("approval", "show", post["id"]).stdout
    )
    assert supervisor.ask(*approve)["state"] == "scheduled"
    assert "clearer (desk.east) at krv.hq" in clearer.run("whoami").stdout


def test_an_office_goes_with_a_role_that_decides(karvenia: Karvenia) -> None:
    admin = karvenia["bizjak"]
    made = admin.ask("grant", "add", "mlakar", "clearer", "krv.hq", "--office", "protocol")
    assert made["office"] == "protocol"
    add = ("grant", "add", "mlakar", "officer", "krv.hq", "--office", "protocol")
    assert admin.refusal(*add) == "office_role"
