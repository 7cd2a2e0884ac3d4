"""`chancery doctor`: is this installation sound, does it move, and if not, why and what to do."""

import asyncio
from typing import Final

import click

from scheduler.app import BuildPlatforms
from scheduler.commands.advice import Check
from scheduler.commands.checks import run_checks
from scheduler.commands.installing import read_settings
from scheduler.commands.printing import json_option, show_json
from scheduler.commands.refusals import UnhealthyError

_MARKS: Final = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command()
@json_option
@click.pass_obj
def doctor(platforms: BuildPlatforms, /, *, as_json: bool) -> None:
    """Look at everything that publishing needs, and say in words why nothing moves; a failed check ends with status 1.

    Example: chancery doctor
    """
    checks = asyncio.run(run_checks(read_settings(), platforms))
    if as_json:
        show_json([_line(check) for check in checks])
    else:
        for check in checks:
            code = f" [{check.code}]" if check.code else ""
            click.echo(f"{_MARKS[check.result]}  {check.name:<12} {check.message}{code}")
            if check.do:
                click.echo(f"{'':<19}-> {check.do}")
    failed = [check.name for check in checks if check.result == "fail"]
    if failed:
        raise UnhealthyError(f"{len(failed)} of {len(checks)} checks fail: {', '.join(failed)}")


def _line(check: Check) -> dict[str, str]:
    return {
        "name": check.name,
        "result": check.result,
        "message": check.message,
        "code": check.code,
        "do": check.do,
    }
