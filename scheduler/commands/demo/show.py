"""The demo from curtain to curtain: stage, play, count on the platforms' side, and say where to look."""

import asyncio
import json
import math
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from scheduler.app import BuildPlatforms, application
from scheduler.audit.export import ExportRequest
from scheduler.clock import from_iso, utc_now
from scheduler.commands.demo import stage
from scheduler.commands.demo.play import Api, Play, is_settled, watch
from scheduler.commands.demo.stage import Cast, Places, Practice
from scheduler.practice.scenario import read_scenario
from scheduler.services import evidence
from scheduler.settings import Settings

_READY_S: Final = 30
_SETTLE_S: Final = 45
_PUBLIC: Final = frozenset({"sent", "verified"})
_ENDED: Final = _PUBLIC | {"held", "rejected", "drifted", "expired", "cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The last line of `chancery demo --once`; counted on the platforms' side where it can be."""

    published: int  #: deliveries that are public and were read back as approved
    languages: int
    held: int
    failed: int
    unknown: int
    duplicates: int  #: posts on the platforms that no delivery explains, or explains twice
    lateness_ms_p50: float
    lateness_ms_p99: float
    audit_records: int
    audit_verified: bool

    @property
    def ok(self) -> bool:
        faults = self.held + self.failed + self.unknown + self.duplicates
        return self.published > 0 and faults == 0 and self.audit_verified


async def run_demo(places: Places, platforms: BuildPlatforms, *, once: bool) -> int:
    """Play the demo; answers the exit status."""
    folder = places.folder
    console = Console(stderr=once, highlight=False)
    stage.clear_folder(folder)
    practice = stage.start_practice(folder / "practice")
    try:
        settings = stage.demo_settings(places, practice)
        console.print("Setting the stage: missions, people, accounts on the practice network …")
        scenario = read_scenario()
        cast, texts = await stage.set_stage(scenario, settings, practice, platforms)
        _keep_tokens(folder, settings, cast)
        with _installation(folder, settings) as running:
            async with Api(f"http://{settings.listen}", cast.tokens) as api:
                await _wait_until_ready(settings, running)
                with _progress(console) as progress:
                    play = Play(api, cast, texts, progress.console.print)
                    await play.perform(scenario.posts)
                    found = await _wait_until_settled(api, play, progress)
            if not once:
                _print_table(console, await _count(settings, practice, platforms, found))
                _say_where(console, settings, practice, play, folder)
                await _until_interrupted()
                return 0
        summary = await _count(settings, practice, platforms, found)
    finally:
        practice.process.terminate()
        practice.process.wait()
    _print_table(console, summary)
    print(json.dumps(asdict(summary)))  # noqa: T201 - the machine-readable last line
    return 0 if summary.ok else 1


def _keep_tokens(folder: Path, settings: Settings, cast: Cast) -> None:
    """The people's tokens, for `--as NAME` on this machine only."""
    path = folder / "tokens.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"url": f"http://{settings.listen}", "tokens": dict(cast.tokens)}))


@contextmanager
def _installation(folder: Path, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Web, worker and Redis under `chancery up`, with their logs in the folder."""
    with (folder / "chancery.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up"],
            env=stage.child_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the demo, which ends the rest in order
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


async def _wait_until_ready(settings: Settings, running: subprocess.Popen[bytes]) -> None:
    url = f"http://{settings.listen}/readyz"
    async with aiohttp.ClientSession() as session, asyncio.timeout(_READY_S):
        while True:
            if running.poll() is not None:
                raise RuntimeError("the installation ended; its log is chancery.log in the folder")
            with suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == HTTPStatus.OK:
                        return
            await asyncio.sleep(0.1)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


async def _wait_until_settled(
    api: Api, play: Play, progress: Progress
) -> Sequence[Mapping[str, Any]]:
    """Wait for the last delivery; what is not settled by then is counted as it is."""
    task = progress.add_task("public")
    last = play.score.last_due or utc_now()
    while True:
        found = await watch(api, play.cast.auditor)
        settled = sum(map(is_settled, found))
        progress.update(task, total=len(found), completed=settled)
        if settled == len(found) or (utc_now() - last).total_seconds() > _SETTLE_S:
            return found
        await asyncio.sleep(0.5)


async def _count(
    settings: Settings,
    practice: Practice,
    platforms: BuildPlatforms,
    found: Sequence[Mapping[str, Any]],
) -> Summary:
    """Count on the platforms' side, export the record and verify it."""
    log = [entry for entry in await _platform_log(practice) if entry["kind"] == "post"]
    states = Counter(str(each["state"]) for each in found)
    public = [each for each in found if each["state"] in _PUBLIC]
    late = _lateness_ms(log, public)
    folder = settings.data_dir.parent / "export"
    async with application(settings, service="cli", platforms=platforms, ringing=False) as app:
        request = ExportRequest(requested_by="demo", reason="the demo's own check", at=utc_now())
        async with app.open_uow.read() as uow:
            verdict = await evidence.verify(uow, trust=app.trust, request=request)
            await evidence.export(uow, folder, trust=app.trust, request=request)
    return Summary(
        published=len(public),
        languages=len({each["language"] for each in public}),
        held=states["held"],
        failed=states["rejected"] + states["drifted"] + states["expired"],
        unknown=len(found) - sum(states[name] for name in _ENDED),
        duplicates=_duplicates(log),
        lateness_ms_p50=_percentile(late, 0.5),
        lateness_ms_p99=_percentile(late, 0.99),
        audit_records=verdict.log.records,
        audit_verified=verdict.ok,
    )


async def _platform_log(practice: Practice) -> Sequence[Mapping[str, Any]]:
    """The practice network's own append-only log, asked over HTTP."""
    headers = {"Authorization": f"Bearer {practice.admin_token}"}
    url = f"{practice.urls['mastodon']}/practice/log?since=0"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers) as answer,
    ):
        answer.raise_for_status()
        entries: list[Mapping[str, Any]] = (await answer.json())["entries"]
    return entries


def _duplicates(log: Sequence[Mapping[str, Any]]) -> int:
    """Posts that say on the same account, at the same place of a thread, what another says already."""
    said = Counter(
        (entry["platform"], entry["account"], entry["text"], entry["reply_to"]) for entry in log
    )
    return sum(said.values()) - len(said)


def _lateness_ms(
    log: Sequence[Mapping[str, Any]], public: Sequence[Mapping[str, Any]]
) -> list[float]:
    """From the due instant to the arrival of the first part's request at the platform."""
    arrived = {
        (entry["platform"], str(entry["remote_id"]).rpartition("/")[2]): entry["at_ns"]
        for entry in log
    }
    late = []
    for each in public:
        key = (each["platform"], str(each["remote_url"]).rpartition("/")[2])
        due: datetime = from_iso(each["due_at"])
        late.append(arrived[key] / 1e6 - due.timestamp() * 1e3)
    return sorted(late)


def _percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; 0 without values."""
    if not values:
        return 0.0
    return round(values[max(0, math.ceil(share * len(values)) - 1)], 1)


def _print_table(console: Console, summary: Summary) -> None:
    table = Table(title="What became public", show_header=False)
    for name, value in asdict(summary).items():
        table.add_row(name.replace("_", " "), str(value))
    console.print(table)


def _say_where(
    console: Console, settings: Settings, practice: Practice, play: Play, folder: Path
) -> None:
    supervisor, auditor = play.cast.supervisors[0], play.cast.auditor
    officer = next(iter(play.cast.tokens))
    waiting = play.score.waiting[:1]
    command = _command()
    lines = [
        "",
        "Where to look (a practice network: nothing is public)",
        *(f"  timelines, {name:<9} {url}/" for name, url in practice.urls.items()),
        f"  API                  http://{settings.listen}/api/v1/openapi.json",
        f"  record               {folder / 'export'}",
        "What to try, in another terminal",
        f"  {command} --as {supervisor} approval list",
        *(f"  {command} --as {supervisor} approval show {each}" for each in waiting),
        f"  {command} --as {officer} post list",
        f"  {command} --as {supervisor} delivery list",
        f"  {command} --as {supervisor} stop --reason 'an exercise'",
        f"  {command} --as {auditor} audit list",
        "Ctrl-C ends it.",
    ]
    for line in lines:
        console.print(line, soft_wrap=True)


def _command() -> str:
    """How to call `chancery` from here: a virtual environment is not always activated."""
    installed = Path(sys.executable).with_name("chancery")
    if not installed.exists():
        return "chancery"
    here = Path.cwd()
    return str(installed.relative_to(here) if installed.is_relative_to(here) else installed)


async def _until_interrupted() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
