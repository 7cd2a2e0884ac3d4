"""Every measurement on this machine, one line of JSON each: `python -m bench`, or `python -m bench burst seal`.

`docs/measuring.md` says what each line means.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import click

from bench import answering, delivering, recording
from bench.line import Line
from bench.yard import Yard, yard
from scheduler.logs import configure_logs

_Measured = Awaitable[tuple[Line, ...]]


def _measurements(
    deliveries: int, future: int
) -> Mapping[tuple[str, ...], Callable[[Yard], _Measured]]:
    """What is measured, by the names of the lines that it prints."""
    return {
        ("burst",): lambda place: delivering.burst(place, deliveries),
        ("spread",): lambda place: delivering.spread(place, 1_000, rate=200),
        ("isolated",): lambda place: delivering.isolated(place, 20),
        ("backlog",): lambda place: delivering.backlog(place, deliveries, future),
        ("create", "list"): lambda place: answering.measure(place, 1_600),
        ("seal", "verify"): lambda place: recording.measure(place, 20_000),
    }


_NAMES: Final = [name for names in _measurements(0, 0) for name in names]


async def _run(names: tuple[str, ...], deliveries: int, future: int) -> None:
    async with yard() as place:
        for printed, measure in _measurements(deliveries, future).items():
            if not names or set(names) & set(printed):
                for line in await measure(place):
                    print(line, flush=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(_NAMES))
@click.option("--deliveries", default=5_000, show_default=True, help="How many of a burst.")
@click.option("--future", default=1_000_000, show_default=True, help="How many of a backlog.")
def main(names: tuple[str, ...], deliveries: int, future: int) -> None:
    """Print each measurement as a line of JSON; all of them without NAMES.

    Example: python -m bench burst --deliveries 10000
    """
    configure_logs("WARNING")
    asyncio.run(_run(names, deliveries, future))


if __name__ == "__main__":
    main()
