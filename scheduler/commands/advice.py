"""Everything that `chancery doctor` can find, in words, with what to do; the operations page lists the same."""

from dataclasses import dataclass
from typing import Final, Literal

Result = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the doctor's report; what is not ok has a code, and what to do."""

    name: str
    result: Result
    message: str
    code: str = ""
    do: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """`says` has places for what was found; it is empty where a refusal says it in its own words."""

    check: str
    code: str
    result: Result
    says: str
    do: str


FINDINGS: Final = (
    Finding(
        "python",
        "python_old",
        "fail",
        "{found} runs here; 3.11 or newer is needed",
        "install a newer Python and make the environment again",
    ),
    Finding(
        "data folder",
        "data_folder_missing",
        "fail",
        "{folder} is not there",
        "name the right folder in CHANCERY_DATA_DIR, or run `chancery init` for a first installation",
    ),
    Finding(
        "data folder",
        "data_folder_open",
        "fail",
        "{folder} is open to others (mode {mode})",
        "chmod 700 {folder}",
    ),
    Finding(
        "key file",
        "key_file_missing",
        "fail",
        "",
        "put it back from its copy; without it no token can be opened and nothing leaves",
    ),
    Finding(
        "key file",
        "key_file_permissions",
        "fail",
        "",
        "chown it to the user of the processes and chmod 600 it, and ask who could have read it",
    ),
    Finding("key file", "key_file_invalid", "fail", "", "put it back from its copy"),
    Finding(
        "key file",
        "key_file_inside_data",
        "fail",
        "",
        "move it out of the data folder, so that no backup of the data has the keys with it",
    ),
    Finding(
        "disk",
        "disk_low",
        "fail",
        "{free} MiB free at {folder}",
        "make room: on a full disk no intent can be recorded, so nothing is sent",
    ),
    Finding(
        "database",
        "installation_missing",
        "fail",
        "",
        "do CHANCERY_DATABASE_URL and CHANCERY_DATA_DIR name the right ones? `chancery init` makes a first one",
    ),
    Finding(
        "database",
        "database_outdated",
        "fail",
        "",
        "stop web and worker, back up, `chancery db upgrade`, start; for a newer database install that release",
    ),
    Finding(
        "database",
        "database_unavailable",
        "fail",
        "",
        "bring the database back; Chancery goes on by itself, nothing is lost or sent twice",
    ),
    Finding(
        "durability",
        "durability_weak",
        "fail",
        "journal {journal}, synchronous {level}",
        "put the data folder on a local disk: SQLite's log (WAL) does not work where it lies",
    ),
    Finding(
        "clock",
        "clock_off",
        "fail",
        "the database's clock is {skew} s {direction} of this machine's",
        "the database's clock decides what is due: compare both with `timedatectl`, let chrony slew the wrong one",
    ),
    Finding(
        "policy",
        "policy_changed",
        "fail",
        "the row of the policy in force was changed by hand, so nothing leaves",
        "`chancery audit verify` names what else was; then an admin runs `chancery policy activate`",
    ),
    Finding(
        "accounts",
        "accounts_missing",
        "warn",
        "no account is connected, so nothing can be published",
        "an admin connects one with `chancery account add`",
    ),
    Finding(
        "accounts",
        "accounts_paused",
        "warn",
        "paused: {which}",
        "renew the sign-in, then `chancery account resume`; what is late on a paused account is held",
    ),
    Finding(
        "accounts",
        "accounts_all_paused",
        "fail",
        "every account is paused, so nothing leaves: {which}",
        "renew the sign-ins, then `chancery account resume` for each",
    ),
    Finding(
        "redis",
        "redis_away",
        "warn",
        "does not answer ({why}); posts go all the same, up to a second later",
        "start Redis again; nothing has to be brought back into it",
    ),
    Finding(
        "redis",
        "redis_not_started",
        "warn",
        "the private Redis is not running; posts go all the same, up to a second later",
        "`chancery up` starts it; with units of their own, name a Redis in CHANCERY_REDIS_URL",
    ),
    Finding(
        "worker",
        "worker_missing",
        "fail",
        "no worker has given a sign of life for eleven seconds, so nothing leaves",
        "start one: `systemctl start chancery-worker`, or `chancery up`; its log says why it ended",
    ),
    Finding(
        "worker",
        "worker_unseen",
        "warn",
        "nobody can tell: a worker leaves its sign of life in Redis, which does not answer",
        "look with `systemctl status chancery-worker`; the lines on record and publishing below show whether one works",
    ),
    Finding(
        "record",
        "record_unsealed",
        "fail",
        "{count} records wait to be sealed, the oldest for {age} s: the sequencer is behind",
        "it runs in every worker: see the line on the worker, and look for sequencer.failed in its log",
    ),
    Finding(
        "record",
        "record_unreadable",
        "fail",
        "a record cannot be sealed: {why}",
        "somebody changed a row of audit_outbox: stop publishing, keep the database as it is, call the auditor",
    ),
    Finding(
        "publishing",
        "stopped",
        "warn",
        "{kind} by {who} since {since}: {why}",
        "only people lift it, with `chancery resume`; what came due meanwhile is held and released by hand",
    ),
    Finding(
        "publishing",
        "due_without_worker",
        "fail",
        "{due} due, the oldest since {since}, and no worker lives",
        "start a worker; what is later than its limit by then is held, not sent",
    ),
    Finding(
        "publishing",
        "due_on_paused",
        "fail",
        "{due} due, the oldest since {since}; these accounts of theirs are paused: {which}",
        "renew the sign-ins, then `chancery account resume`",
    ),
    Finding(
        "publishing",
        "due_in_dead_hands",
        "warn",
        "{count} due in the hands of worker {worker}, which is gone, until {until}",
        "wait: then another worker takes over, and looks first whether it is public. If none lives, start one",
    ),
    Finding(
        "publishing",
        "due_in_hand",
        "warn",
        "{count} due in the hands of worker {worker} until {until}",
        "wait until then: if that worker has died, another takes over",
    ),
    Finding(
        "publishing",
        "due_put_off",
        "warn",
        "{count} due were put off, by a platform or by the pace of their accounts; the next is tried again at {at}",
        "`chancery delivery show` has the reason, and what a platform answered to each try",
    ),
    Finding(
        "publishing",
        "due_not_taken",
        "fail",
        "{due} due, the oldest since {since}, and nobody takes them",
        "look for database.unavailable and step.failed in the worker's log, then restart the worker",
    ),
    Finding(
        "publishing",
        "waiting_for_people",
        "warn",
        "{held} held and {unknown} unknown wait for a person",
        "`chancery delivery list --state held --state unknown`, then `chancery delivery retry` or `resolve`",
    ),
    Finding(
        "pre-flight",
        "preflight_failed",
        "warn",
        "{which}",
        "`chancery delivery show` lists each problem with the next command",
    ),
    Finding(
        "sign-ins",
        "sign_ins_ending",
        "warn",
        "end soon: {which}",
        "connect the accounts anew before then: `chancery account add`",
    ),
    Finding(
        "alerts",
        "alerts_untold",
        "warn",
        "nobody is told by mail or webhook",
        "set CHANCERY_SMTP_URL or CHANCERY_ALERT_WEBHOOK_URL; until then look at `chancery alert list`",
    ),
    Finding(
        "alerts",
        "alerts_lost",
        "fail",
        "reached nobody in the last day: {amounts}",
        "`chancery alert test` says what the receiver answers",
    ),
)
_BY_CODE: Final = {each.code: each for each in FINDINGS}


def find(code: str, **values: object) -> Check:
    """The check that has found this."""
    finding = _BY_CODE[code]
    return Check(
        name=finding.check,
        result=finding.result,
        message=finding.says.format(**values),
        code=code,
        do=finding.do.format(**values),
    )


def refused(name: str, code: str, words: str) -> Check:
    """The check that was refused, in the refusal's words."""
    finding = _BY_CODE.get(code)
    do = "docs/errors.md explains the code" if finding is None else finding.do
    return Check(name=name, result="fail", message=words, code=code, do=do)


def fine(name: str, message: str) -> Check:
    return Check(name=name, result="ok", message=message)
