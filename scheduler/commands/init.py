"""`chancery init`: an installation from nothing; again, it only says what is there."""

import asyncio
import sys
from typing import Any, Final

import click

from scheduler.app import BuildPlatforms, application
from scheduler.clock import iso
from scheduler.commands.installing import (
    Founded,
    Founding,
    found,
    is_installed,
    read_settings,
    renew_codes,
    system_zone,
)
from scheduler.commands.printing import json_option, show_json
from scheduler.services.installation import NewAdmin
from scheduler.services.people import NewMission
from scheduler.services.tokens import IssuedCode
from scheduler.settings import Settings

_ADMINS: Final = 2
_NEEDED: Final = ("mission_code", "mission_name", "zone", "languages", "admins")


class AdminType(click.ParamType[NewAdmin]):
    """`CODE=NAME`."""

    name = "CODE=NAME"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> NewAdmin:
        if isinstance(value, NewAdmin):
            return value
        code, found_name, name = str(value).partition("=")
        if not (code.strip() and found_name and name.strip()):
            self.fail("write CODE=NAME, such as hocevar='Tina Hočevar'", param, ctx)
        return NewAdmin(code=code.strip(), name=name.strip())


@click.command()
@click.option("--mission-code", help="Short name of the first mission, such as krv.hq.")
@click.option("--mission-name", help="Its name as people know it.")
@click.option("--zone", help="Its IANA time zone, such as Europe/Ljubljana.")
@click.option("--languages", help="Its languages, comma-separated, such as sl,en.")
@click.option("--admin", "admins", type=AdminType(), multiple=True, help="An admin; give two.")
@click.option("--new-codes", is_flag=True, help="New codes for first admins who hold no token.")
@json_option
@click.pass_obj
def init(
    platforms: BuildPlatforms,
    /,
    *,
    new_codes: bool,
    as_json: bool,
    **answers: Any,  # noqa: ANN401 - click's
) -> None:
    """Make an installation: keys, database, the first mission and two admins.

    What is missing is asked for on a terminal. The key file, the enrolment codes and the log's public keys are
    printed once and have to be kept. Running it again changes nothing.

    Example: chancery init --mission-code krv.hq --mission-name "Ministry of Foreign Affairs of Karvenia"
    --zone Europe/Ljubljana --languages sl,en --admin bizjak="Rok Bizjak" --admin oblak="Sabina Oblak"
    """
    settings = read_settings()
    if asyncio.run(is_installed(settings)):
        codes = asyncio.run(_renew(settings, platforms)) if new_codes else ()
        show_codes(codes, as_json=as_json)
        return
    made = asyncio.run(found(settings, platforms, _ask(answers)))
    show_founded(made, as_json=as_json)


def show_founded(made: Founded, *, as_json: bool = False, starts: bool = False) -> None:
    """Print what must be kept: this is the only time; `starts` when `up` goes on by itself."""
    if as_json:
        show_json(
            {
                "made": True,
                "mission": made.mission.code,
                "key_file": str(made.settings.key_file),
                "data_dir": str(made.settings.data_dir),
                "enrolments": [_code_line(each) for each in made.codes],
                "trust": made.trust.splitlines(),
            }
        )
        return
    url = made.settings.public_url
    click.echo(f"Installed: {made.mission.name} ({made.mission.code}), zone {made.mission.zone}.")
    click.echo("\nKeep these; they are shown this once.\n")
    click.echo(f"Key file, to be copied to a safe place: {made.settings.key_file}")
    click.echo(
        "Without it every account has to be connected anew; whoever has it opens a copied database.\n"
    )
    click.echo("Enrolment codes (each works once, for 24 hours):")
    for code in made.codes:
        click.echo(f"  {code.person.code}  {code.code}")
    click.echo("\nThe log's public keys, for the auditor to keep apart from this machine:")
    for line in made.trust.splitlines():
        click.echo(f"  {line}")
    click.echo("\nNext:")
    if not starts:
        click.echo("  chancery up")
    click.echo(f"  chancery login --url {url}   (each admin, with their own code)")
    click.echo("  chancery person add hocevar --name 'Tina Hočevar'")
    click.echo("\nA role needs both admins: one adds it, the other confirms it.")
    click.echo(
        "A supervisor approves nothing in the first 24 hours of the role: plan a day for that."
    )


def show_codes(codes: tuple[IssuedCode, ...], *, as_json: bool) -> None:
    if as_json:
        show_json({"made": False, "enrolments": [_code_line(each) for each in codes]})
        return
    click.echo(
        "There is an installation already; nothing was changed." if not codes else "New codes:"
    )
    for code in codes:
        click.echo(f"  {code.person.code}  {code.code}")


async def _renew(settings: Settings, platforms: BuildPlatforms) -> tuple[IssuedCode, ...]:
    async with application(settings, service="cli", platforms=platforms, ringing=False) as app:
        return await renew_codes(app)


def _code_line(code: IssuedCode) -> dict[str, str]:
    return {
        "person": code.person.code,
        "code": code.code,
        "expires_at": iso(code.expires_at),
    }


def _ask(answers: dict[str, Any]) -> Founding:
    missing = [name for name in _NEEDED if not answers[name]]
    if missing and not sys.stdin.isatty():
        options = ", ".join(f"--{name.replace('_', '-').removesuffix('s')}" for name in missing)
        raise click.UsageError(f"nobody can be asked here; give {options}")
    mission = NewMission(
        code=answers["mission_code"]
        or click.prompt("Short name of the first mission, such as krv.hq"),
        name=answers["mission_name"] or click.prompt("Its name"),
        kind="headquarters",
        zone=answers["zone"] or click.prompt("Its time zone", default=system_zone()),
        languages=_split(answers["languages"] or click.prompt("Its languages", default="en")),
    )
    return Founding(mission=mission, admins=tuple(answers["admins"]) or _ask_admins())


def _split(languages: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in languages.split(",") if part.strip())


def _ask_admins() -> tuple[NewAdmin, ...]:
    return tuple(
        NewAdmin(
            code=click.prompt(f"Admin {number}: short name, such as bizjak"),
            name=click.prompt(f"Admin {number}: name, such as Rok Bizjak"),
        )
        for number in range(1, _ADMINS + 1)
    )
