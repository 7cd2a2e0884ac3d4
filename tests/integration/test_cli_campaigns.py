"""Campaigns from the command line against real processes: opened, joined, stopped, closed."""

from typing import Any

import pytest

from tests.integration.cli_fixtures import Karvenia, karvenia, wait_for

__all__ = ["karvenia"]
pytestmark = pytest.mark.timeout(180)

DRAFT = ("post", "draft", "--mission=krv.hq", "--to=hq.mastodon")
OPEN = ("campaign", "add", "--mission=krv.hq", "--title=The new bridge in Lipovec")


def test_a_campaign_is_opened_listed_shown_joined_and_closed(karvenia: Karvenia) -> None:
    officer, auditor = karvenia["hocevar"], karvenia["mlakar"]
    made = officer.ask(*OPEN, "bridge")
    assert (made["mission"], made["closed_at"]) == ("krv.hq", None)
    assert officer.refusal(*OPEN, "bridge") == "code_taken"
    assert auditor.refusal(*OPEN, "another") == "permission_denied"
    assert made in auditor.ask("campaign", "list")
    assert auditor.ask("campaign", "show", "bridge") == made
    assert "The new bridge in Lipovec" in auditor.run("campaign", "list").stdout

    joined = officer.ask(*DRAFT, "--campaign=bridge", "--now", "--text=en=It opens")
    assert joined["campaign"] == "bridge"
    shown = officer.run("post", "show", joined["id"]).stdout.splitlines()
    assert ["campaign", "bridge"] in [line.split() for line in shown]
    assert officer.refusal(*DRAFT, "--campaign=tunnel") == "campaign_unknown"
    assert auditor.refusal("campaign", "close", "bridge") == "permission_denied"
    assert officer.ask("campaign", "close", "bridge")["closed_at"] is not None
    assert officer.refusal("campaign", "close", "bridge") == "campaign_closed"
    assert officer.refusal(*DRAFT, "--campaign=bridge") == "campaign_closed"
    edit = ("post", "edit", joined["id"], "--revision")
    assert officer.ask(*edit, 1, "--title=Opening")["campaign"] == "bridge"
    assert officer.ask(*edit, 2, "--campaign=")["campaign"] is None
    assert officer.refusal(*edit, 3, "--campaign=bridge") == "campaign_closed"


def test_a_stopped_campaign_stays_here_and_all_else_leaves(karvenia: Karvenia) -> None:
    officer, supervisor = karvenia["hocevar"], karvenia["zorc"]
    officer.ask(*OPEN, "forum")
    assert supervisor.refusal("stop", "--campaign=tunnel", "--reason=why") == "not_found"
    stop = officer.ask("stop", "--campaign=forum", "--reason", "the forum is put off")
    held = _approved(karvenia, "The forum begins", "--campaign=forum")
    sent = _approved(karvenia, "Good morning from Lipovec!")
    wait_for(lambda: _state(officer, sent) == "verified")
    wait_for(lambda: _state(officer, held) == "held")
    [delivery] = officer.ask("post", "show", held)["deliveries"]
    assert delivery["reason"].startswith(f"stopped: posture {stop['posture']} (stop)")
    assert "The forum begins" not in {each["text"] for each in karvenia.public_posts()}

    [shown] = officer.ask("posture")["postures"]
    assert (shown["campaign"], shown["mission"], officer.ask("posture")["stopped"]) == (
        "forum",
        None,
        False,
    )
    assert "forum" in officer.run("posture").stdout
    resume = ("resume", "--reason=it begins", "--release", "--spread-minutes=0")
    done = supervisor.run(*resume)
    assert "Released: 1" in done.stdout, done.stderr
    wait_for(lambda: _state(officer, held) == "verified")


def _approved(karvenia: Karvenia, text: str, *words: str) -> str:
    post = karvenia["hocevar"].ask(*DRAFT, "--now", f"--text=en={text}", *words)
    post = karvenia["hocevar"].ask("post", "submit", post["id"])
    karvenia["zorc"].ask("approval", "approve", post["id"], "--digest", post["digest"])
    return str(post["id"])


def _state(person: Any, post_id: str) -> str:
    [delivery] = person.ask("post", "show", post_id)["deliveries"]
    return str(delivery["state"])
