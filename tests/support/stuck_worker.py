"""The real worker whose event loop SIGUSR1 blocks for good: it lives, and does nothing any more."""

import asyncio
import signal
import time

import worker
from scheduler.app import App

_work = worker.work


async def work(app: App, stopping: asyncio.Event) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, time.sleep, 3600)
    await _work(app, stopping)


if __name__ == "__main__":
    worker.work = work
    worker.main()
