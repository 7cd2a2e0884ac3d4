"""What an import costs: `python -m bench.importing`, 10,000 rows of a table on PostgreSQL through the real command.

Each row is tried and then drafted, over HTTP, by the command that people run; then the same file is imported again. The
ratio is to as many posts drafted one at a time through the API, by one client.
"""

import asyncio
import csv
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import aiohttp
import click

from bench import seed
from bench.answering import POST, Server, chancery
from bench.line import Line
from bench.yard import yard
from scheduler.logs import configure_logs

_SAMPLE: Final = 400


def _write_table(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("ref", "mission", "at", "zone", "to", "text.en"))
        for number in range(rows):
            text = f"{seed.TEXT} Bulletin {number}."
            told = ("2090-06-01T09:00", "UTC", "lane1 lane2", text)
            table.writerow((f"bulletin-{number}", "krv.hq", *told))


async def _import(server: Server, path: Path) -> tuple[float, dict[str, Any]]:
    """Seconds, and what the command printed."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "import", str(path), "--json"),
        env={**os.environ, "CHANCERY_URL": server.url, "CHANCERY_TOKEN": server.token},
        stdout=subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    return time.perf_counter() - began, json.loads(printed)


async def _draft_singly(server: Server) -> float:
    """Seconds a post."""
    headers = {"Authorization": f"Bearer {server.token}"}
    began = time.perf_counter()
    async with aiohttp.ClientSession(server.url, headers=headers, raise_for_status=True) as http:
        for _ in range(_SAMPLE):
            async with http.post("/api/v1/posts", json=POST) as answer:
                await answer.read()
    return (time.perf_counter() - began) / _SAMPLE


async def _measure(rows: int) -> None:
    async with yard() as place, chancery(place) as server:
        path = place.folder / "bulletins.csv"
        _write_table(path, rows)
        single_ms = await _draft_singly(server) * 1000
        for name, fate in (("import", "drafted"), ("import again", "there")):
            before = place.cpu(server.pid)
            took_s, told = await _import(server, path)
            if told[fate] != rows:
                raise RuntimeError(f"{told[fate]} of {rows} are {fate}")
            cpu_us = place.cpu(server.pid).each_us(before, rows)
            print(Line.of(name, took_s * 1000 / rows, single_ms, "ms/row", cpu_us), flush=True)
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    command_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"web_peak": peak.split(":")[1].strip(), "command_peak": f"{command_kb} kB"}))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rows", default=10_000, show_default=True)
def main(rows: int) -> None:
    """Print a line for the import, and one for the same import again.

    Example: python -m bench.importing --rows 1000
    """
    configure_logs("WARNING")
    asyncio.run(_measure(rows))


if __name__ == "__main__":
    main()
