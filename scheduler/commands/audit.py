"""`chancery audit`: the record, its proof, an export of it, and its verification without us."""

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from scheduler.audit.checkpoint import Checkpoint
from scheduler.audit.export import ExportRequest, Leaf, write_export
from scheduler.audit.keys import Trust
from scheduler.audit.notes import Note
from scheduler.audit.parsing import MalformedError
from scheduler.audit.tree import leaf_hash
from scheduler.audit.verify import verify_export
from scheduler.clock import utc_now
from scheduler.commands.client import Api, needs_api, open_api
from scheduler.commands.printing import (
    clean,
    json_option,
    limit_option,
    progress,
    show_fields,
    show_items,
    show_json,
)
from scheduler.commands.refusals import AnswerUnreadableError, RecordInvalidError, RefusedError
from scheduler.services.evidence import write_files

_COLUMNS: Final = {
    "seq": "seq",
    "at": "record.t",
    "action": "record.act",
    "on": "record.on.t",
    "id": "record.on.id",
    "result": "record.res",
}


@click.group()
def audit() -> None:
    """Read the record, and prove it."""


@audit.command("list")
@click.option("--subject", help="Only what was done to the thing with this id.")
@limit_option
@json_option
@needs_api
def list_records(api: Api, *, subject: str | None, limit: int, as_json: bool) -> None:
    """List the sealed records, newest first.

    Example: chancery audit list --subject 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    show_items(api.items("/audit", limit=limit, subject=subject), _COLUMNS, as_json=as_json)


@audit.command()
@click.argument("seq", type=click.IntRange(0))
@json_option
@needs_api
def show(api: Api, *, seq: int, as_json: bool) -> None:
    """Show one record: its exact line, the proof that it is in the log, and the signed head.

    Example: chancery audit show 42
    """
    found = api.get(f"/audit/{seq}")
    show_fields(found, {"seq": "seq", "sealed": "sealed_at", "leaf": "leaf_hash"}, as_json=as_json)
    if as_json:
        return
    click.echo(f"line    {clean(found['line'])}")
    for each in found["proof"]:
        click.echo(f"proof   {each}")
    click.echo(f"\n{clean(found['checkpoint'])}", nl=False)


@audit.command()
@json_option
@needs_api
def checkpoint(api: Api, *, as_json: bool) -> None:
    """Print the newest signed head of the log, as a note.

    Example: chancery audit checkpoint
    """
    note = _download(api, "/audit/checkpoint")
    if as_json:
        show_json({"checkpoint": note.decode(), "records": _read_size(note)})
    else:
        click.echo(note, nl=False)


@audit.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--reason", default="", help="Why, for the export's manifest.")
@json_option
@needs_api
def export(api: Api, *, folder: Path, reason: str, as_json: bool) -> None:
    """Write the whole log with its signed head into a new folder, to be verified anywhere.

    Example: chancery audit export export-2027-03 --reason "quarterly review"
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise RefusedError(f"{folder} is not empty", "folder_in_use")
    person = api.get("/whoami")["person"]["code"]
    head, trust = _download(api, "/audit/checkpoint"), _download(api, "/audit/trust")
    request = ExportRequest(requested_by=person, reason=reason, at=utc_now())
    with tempfile.TemporaryFile() as lines:
        with progress("reading the log") as tell:
            api.download("/audit/leaves", lines, tell=tell)
        lines.seek(0)
        size = _read_size(head)
        files = write_export(
            _leaves(lines, size), checkpoint=head, trust=Trust.parse(trust), request=request
        )
        write_files(folder, files)
    if as_json:
        show_json({"folder": str(folder), "records": size})
    else:
        click.echo(f"{size} records in {folder}; `chancery audit verify {folder}` checks them.")


@audit.command()
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--trust",
    "trust_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The log's public keys that you keep; without them an export only agrees with itself.",
)
@json_option
def verify(*, folder: Path | None, trust_file: Path | None, as_json: bool) -> None:
    """Verify an export, offline; without FOLDER the installation's log, and its database against it.

    A record that was changed is named, and the exit status is 1.

    Example: chancery audit verify export-2027-03 --trust karvenia-keys.txt
    """
    found = _verify_here(open_api()) if folder is None else _verify_folder(folder, trust_file)
    if as_json:
        show_json(found)
    findings = [*found["findings"], *found.get("mismatches", [])]
    for each in [] if as_json else findings:
        place = "log" if each["seq"] is None else f"record {each['seq']}"
        click.echo(f"{place}: {clean(each['message'])} [{each['code']}]")
    if not found["ok"]:
        worst = found["first_bad"]
        where = "" if worst is None else f"; the first bad record is {worst}"
        raise RecordInvalidError(f"the record does not verify: {len(findings)} findings{where}")
    if not as_json:
        keys = "" if found["keys_given"] else " (by the export's own keys: it agrees with itself)"
        click.echo(f"{found['records']} records verify{keys}; root {found['root']}")


def _verify_here(api: Api) -> dict[str, Any]:
    with progress("verifying"):
        found: dict[str, Any] = api.post("/audit/verify")
    return found


def _verify_folder(folder: Path, trust_file: Path | None) -> dict[str, Any]:
    trusted = None
    if trust_file is not None:
        try:
            trusted = Trust.parse(trust_file.read_bytes())
        except MalformedError as exc:
            raise click.UsageError(f"--trust {trust_file}: {exc}") from exc

    def open_file(name: str) -> BinaryIO:
        return (folder / name).open("rb")

    with progress("verifying"):
        report = verify_export(open_file, trusted=trusted)
    return dict(report.as_json())


def _download(api: Api, path: str) -> bytes:
    with tempfile.TemporaryFile() as file:
        api.download(path, file)
        file.seek(0)
        return file.read()


def _read_size(head: bytes) -> int:
    try:
        return Checkpoint.parse(Note.parse(head).text).size
    except MalformedError as exc:
        raise AnswerUnreadableError(f"the log's head cannot be read: {exc}") from exc


def _leaves(lines: BinaryIO, size: int) -> Iterator[Leaf]:
    """The first `size` lines: the log may have grown while it was read."""
    count = 0
    for line in islice(lines, size):
        content = line.removesuffix(b"\n")
        yield Leaf(line=content, hash=leaf_hash(content))
        count += 1
    if count < size:
        raise AnswerUnreadableError(f"{count} records came, but the log's head is over {size}")
