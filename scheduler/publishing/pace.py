"""Waiting for an instant without ever being early."""

import asyncio

from scheduler.clock import monotonic_s


async def sleep_until(instant_s: float, stopping: asyncio.Event) -> bool:
    """Wait for the monotonic instant; False when `stopping` came first."""
    while (left := instant_s - monotonic_s()) > 0:
        try:
            async with asyncio.timeout(left):
                await stopping.wait()
        except TimeoutError:
            continue  # timers may fire a little early: look at the clock again
        return False
    return True
