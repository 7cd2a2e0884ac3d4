"""The `chancery` command: its parts, loaded when they are asked for, and how a refusal looks."""

import errno
import importlib
from collections.abc import Mapping
from typing import Any, Final

import click

from scheduler.commands.logins import find_demo_file
from scheduler.commands.refusals import RefusedError
from scheduler.errors import ChanceryError

#: In the order of the help: where each part stands, as `module:attribute` below `scheduler.commands`.
_PARTS: Final[Mapping[str, str]] = {
    "demo": "demo:demo",
    "practice": "practice:practice",
    "up": "up:up",
    "web": "processes:web",
    "worker": "processes:worker",
    "init": "init:init",
    "doctor": "doctor:doctor",
    "db": "database:db",
    "keys": "keys:keys",
    "login": "session:login",
    "logout": "session:logout",
    "whoami": "session:whoami",
    "post": "posts:post",
    "series": "series:series",
    "approval": "approvals:approval",
    "delivery": "deliveries:delivery",
    "calendar": "calendar:calendar",
    "import": "imports:import_",
    "campaign": "campaigns:campaign",
    "media": "media:media",
    "stop": "posture:stop",
    "resume": "posture:resume",
    "posture": "posture:posture",
    "alert": "alerts:alert",
    "account": "accounts:account",
    "mission": "missions:mission",
    "person": "people:person",
    "grant": "people:grant",
    "policy": "policy:policy",
    "audit": "audit:audit",
}


class Chancery(click.Group):
    """Imports a part only when it is used, and turns refusals into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click has it
        return list(_PARTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as click has it
        if cmd_name not in _PARTS:
            return None
        module, _, attribute = _PARTS[cmd_name].partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"scheduler.commands.{module}"), attribute
        )
        return command

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """`--as` exists only in a folder where the demo has left its people's tokens."""
        params = super().get_params(ctx)
        if find_demo_file() is not None:
            help_text = "Act as this person of the demo in var/demo."
            params.append(click.Option(["--as", "as_person"], metavar="NAME", help=help_text))
        return params

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        try:
            return super().invoke(ctx)
        except ChanceryError as exc:
            raise RefusedError(str(exc), exc.code) from exc
        except OSError as exc:
            if exc.errno == errno.EPIPE:  # the reader of our output has gone: click knows
                raise
            raise RefusedError(str(exc), "system_refused") from exc


@click.command(cls=Chancery, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="chancery-scheduler", prog_name="chancery")
def chancery(as_person: str | None = None) -> None:
    """Schedule a ministry's posts, have them approved, publish them once, and prove it.

    Officers, supervisors, admins and auditors log in first (chancery login); init, up, web, worker, doctor, db,
    keys and alert test work on the installation itself, on its own machine.

    Example: chancery post list --state in_review
    """
    del as_person  # read by the commands that go through the API
