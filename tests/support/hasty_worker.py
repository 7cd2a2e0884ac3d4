"""The quick worker that also soon takes over the looks and uploads which a killed worker had begun."""

import runpy
from datetime import timedelta

from scheduler.services import looks

if __name__ == "__main__":
    looks._LOOK_LEASE = timedelta(seconds=5)
    runpy.run_module("tests.support.quick_worker", run_name="__main__")
