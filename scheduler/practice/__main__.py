"""The practice network as a process of its own: `python -m scheduler.practice`."""

import asyncio
import json
import signal
from pathlib import Path

import click
import uvloop

from scheduler.practice.model import Platform
from scheduler.practice.network import PracticeNetwork


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder of log and media."
)
@click.option(
    "--mastodon", default="127.0.0.1:0", show_default=True, help="host:port; port 0 is any."
)
@click.option(
    "--bluesky", default="127.0.0.1:0", show_default=True, help="host:port; port 0 is any."
)
@click.option("--admin-token", default=None, help="Made up and printed when not given.")
@click.option("--limits/--no-limits", default=True, help="Whether the platforms' rate limits hold.")
def main(data: Path, mastodon: str, bluesky: str, admin_token: str | None, *, limits: bool) -> None:
    """Run simulated Mastodon and Bluesky servers; nothing on them is public."""
    network = PracticeNetwork(
        data,
        addresses={Platform.MASTODON: mastodon, Platform.BLUESKY: bluesky},
        admin_token=admin_token,
        limits=limits,
    )
    uvloop.run(_serve(network, shows_token=admin_token is None))


async def _serve(network: PracticeNetwork, *, shows_token: bool) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with network:
        ready = {"mastodon": network.mastodon_url, "bluesky": network.bluesky_url}
        if shows_token:
            ready["admin_token"] = network.admin_token
        click.echo(json.dumps(ready))
        await stopping.wait()


if __name__ == "__main__":
    main()
