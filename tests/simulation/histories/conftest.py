"""One founded town for all histories of a test process."""

import gc
from collections.abc import Iterator

import pytest

from tests.simulation.histories.town import Town, found


@pytest.fixture(scope="session")
def town() -> Iterator[Town]:
    founded = found()
    gc.collect()
    gc.freeze()  # the libraries' objects stay: no collection has to walk through them
    yield founded
    gc.unfreeze()
    founded.close()
