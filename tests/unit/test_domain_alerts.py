"""Which records are alerts, and what a person reads in one."""

import json
from datetime import UTC, datetime
from uuid import UUID

import click
import pytest

from scheduler.audit.actions import Action
from scheduler.commands.root import chancery
from scheduler.domain import alerts
from scheduler.domain.alert_kinds import AlertKind, kind_of
from scheduler.domain.alerts import Alert, Public, judge_public, reason_of
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.policy.clearance import Mode

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
#: Records that other parts write; the table knows them already.
ANNOUNCED = {"delivery.preflight_failed", "account.expiring"}
KINDS = {
    "delivery.preflight_failed": "preflight_failed",
    "delivery.hold": "held",
    "delivery.unknown": "unknown",
    "delivery.rejected": "failed",
    "delivery.expire": "expired",
    "post.reopen": "reopened",
    "delivery.drift": "drifted",
    "account.pause": "account_paused",
    "account.expiring": "sign_in_expiring",
    "posture.stop": "stopped",
    "posture.resume": "resumed",
}


def _alert(**values: object) -> Alert:
    defaults: dict[str, object] = {
        "id": UUID(int=1),
        "kind": AlertKind.HELD,
        "at": NOON,
        "subject_id": UUID(int=2),
        "post_id": UUID(int=3),
        "public": Public.NO,
        "title": "Lipovec Forum",
        "account": "hq.mastodon",
        "handle": "@hq@social.karvenia.example",
        "mission": "krv.hq",
    }
    return Alert(**{**defaults, **values})  # type: ignore[arg-type]


def test_exactly_these_records_are_alerts() -> None:
    found = {
        action: str(kind)
        for action in {*map(str, Action), *ANNOUNCED}
        if (kind := kind_of(action, {})) is not None
    }
    assert found == KINDS


def test_a_hold_for_being_late_is_called_late() -> None:
    assert kind_of("delivery.hold", {"code": "late"}) is AlertKind.LATE
    assert kind_of("delivery.hold", {"code": "stopped"}) is AlertKind.HELD
    assert kind_of("delivery.rejected", {"code": "late"}) is AlertKind.FAILED


S = DeliveryState
HELD_IN_DOUBT = {"from": "unknown"}


@pytest.mark.parametrize(
    ("kind", "detail", "state", "parts", "public"),
    [
        ("held", {"from": "ready"}, S.HELD, 0, "no"),
        ("held", HELD_IN_DOUBT, S.HELD, 0, "not known"),
        ("held", HELD_IN_DOUBT, S.READY, 0, "no"),  # a person has looked
        ("held", HELD_IN_DOUBT, None, 0, "not known"),
        ("held", {"from": "ready"}, S.HELD, 1, "yes"),
        ("unknown", {}, S.UNKNOWN, 0, "not known"),
        ("unknown", {}, S.HELD, 0, "not known"),
        ("unknown", {}, S.READY, 0, "no"),  # proven absent
        ("unknown", {}, S.VERIFIED, 0, "yes"),
        ("unknown", {}, None, 0, "not known"),
        ("failed", {}, S.REJECTED, 0, "no"),
        ("failed", {}, S.REJECTED, 2, "yes"),
        ("drifted", {}, S.DRIFTED, 1, "yes"),
        ("expired", {}, S.EXPIRED, 0, "no"),
        ("overdue", {}, S.SENDING, 0, "not known"),
        ("approval_due", {}, None, 0, "no"),
        ("worker_silent", {}, None, 0, "not known"),
        ("stopped", {"in_flight": 0}, None, 0, "no"),
        ("stopped", {"in_flight": 2}, None, 0, "not known"),
    ],
)
def test_doubt_is_never_called_no(
    kind: str, detail: dict[str, object], state: DeliveryState | None, parts: int, public: str
) -> None:
    assert judge_public(AlertKind(kind), detail, state=state, parts=parts) == public  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(AlertKind))
def test_every_alert_names_a_command_that_exists_and_a_page(kind: AlertKind) -> None:
    alert = _alert(kind=kind)
    words = alert.command.split()
    command: click.Command | None = chancery
    context = click.Context(chancery)
    for word in words[1:]:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(context, word)
    assert words[0] == "chancery"
    assert command is not None
    assert not isinstance(command, click.Group), alert.command
    assert alert.page.startswith("/api/v1/")
    for said in (alert.headline, alert.what, alert.who, alert.command, alert.page):
        assert said
        assert "{" not in said
    assert "None" not in alert.command + alert.page


def test_the_reason_is_what_the_record_says() -> None:
    assert reason_of({"code": "stopped", "why": "mourning"}) == "stopped; mourning"
    assert reason_of({"reason": "server moves"}) == "server moves"
    assert reason_of({"differences": ["0:gone", "1:text"]}) == "0:gone; 1:text"
    problems = [{"code": "token", "message": "ends today"}, {"code": "media"}]
    assert reason_of({"problems": problems}) == "token: ends today; media"
    assert reason_of({}) == ""
    assert reason_of({"problems": "many"}) == ""


def test_evidence_is_not_kept_in_an_alert() -> None:
    kept = alerts.keep_detail({"code": "c", "evidence": {"status": 500}, "from": "sending"})
    assert kept == {"code": "c", "from": "sending"}


HOSTILE = "Forum\r\nBcc: all@example.org\n\nPublic:      yes\u2028\u202etxt.exe\x1b[2J"


def test_a_title_cannot_write_lines_of_its_own() -> None:
    alert = _alert(title=HOSTILE, why=HOSTILE, handle=HOSTILE)
    subject, text = alerts.write_mail([alert], "https://posts.karvenia.example")
    assert len(subject.splitlines()) == 1
    names = [line.partition(":")[0] for line in text.splitlines()]
    assert names == [
        "Alert", "What", "Public", "When", "Post", "Account", "Who may act", "Next", "Page",
        "Alert id",
    ]  # fmt: skip
    assert not set(subject + text) & set("\r\u2028\u202e\x1b")


def test_a_long_title_is_cut_and_says_so() -> None:
    assert alerts.one_line("é" * 81, 80) == "é" * 79 + "…"
    assert alerts.one_line("é" * 80, 80) == "é" * 80


def test_a_mail_says_what_happened_whether_it_is_public_and_what_to_do() -> None:
    alert = _alert(why="stopped; mourning", due_at=NOON)
    subject, text = alerts.write_mail([alert], "https://posts.karvenia.example")
    assert subject == "[Chancery] Held: “Lipovec Forum” on hq.mastodon"
    fields = {
        name: value.strip()
        for name, _, value in (each.partition(":") for each in text.splitlines())
    }
    assert fields == {
        "Alert": "Held",
        "What": "It is held; a person releases or ends it. (stopped; mourning)",
        "Public": "no",
        "When": "2026-11-23T12:00:00.000000Z",
        "Post": "Lipovec Forum",
        "Account": "hq.mastodon @hq@social.karvenia.example",
        "Due": "2026-11-23T12:00:00.000000Z",
        "Who may act": "a supervisor of krv.hq",
        "Next": f"chancery delivery show {UUID(int=2)}",
        "Page": f"https://posts.karvenia.example/api/v1/deliveries/{UUID(int=2)}",
        "Alert id": str(UUID(int=1)),
    }


def test_a_flood_is_one_mail_that_counts_itself() -> None:
    flood = [_alert(), _alert(), _alert(kind=AlertKind.LATE)]
    subject, text = alerts.write_mail(flood, "https://posts.karvenia.example")
    assert subject == "[Chancery] 3 alerts: 2 × Held, 1 × Late"
    assert text.count("Alert id:") == 3


def test_an_alert_about_the_installation_has_no_post() -> None:
    alert = _alert(
        kind=AlertKind.STOPPED, post_id=None, title="", account="", handle="", mission=""
    )
    subject, text = alerts.write_mail([alert], "https://posts.karvenia.example")
    assert subject == "[Chancery] Publishing is stopped"
    assert "Post:" not in text
    assert "Account:" not in text


def test_a_webhook_carries_facts_in_json() -> None:
    body = json.loads(alerts.write_webhook(_alert(), "https://posts.karvenia.example"))
    assert (body["type"], body["timestamp"]) == ("alert.held", "2026-11-23T12:00:00.000000Z")
    data = body["data"]
    assert data["public"] == "no"
    assert data["post"] == str(UUID(int=3))
    assert data["command"] == f"chancery delivery show {UUID(int=2)}"
    nothing = _alert(kind=AlertKind.RESUMED, post_id=None, due_at=NOON)
    data = json.loads(alerts.write_webhook(nothing, ""))["data"]
    assert data["post"] is None
    assert data["due_at"] == "2026-11-23T12:00:00.000000Z"


def test_decisions_that_others_have_to_know_of_are_alerts() -> None:
    for action in ("post.approve", "post.decide"):
        assert kind_of(action, {"mode": Mode.BREAK_GLASS.value}) is AlertKind.GLASS_BROKEN
    assert kind_of("post.approve", {"inform": ["press"]}) is AlertKind.FOR_INFORMATION
    assert kind_of("post.approve", {"mode": Mode.APPROVE.value}) is None
