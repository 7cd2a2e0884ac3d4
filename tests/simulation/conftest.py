"""One founded ministry for all runs of a test process."""

import gc
from collections.abc import Iterator

import pytest

from tests.simulation.ministry import Ministry, found


@pytest.fixture(scope="session")
def ministry() -> Iterator[Ministry]:
    founded = found()
    gc.collect()
    gc.freeze()  # the libraries' objects stay: no collection has to walk through them
    yield founded
    gc.unfreeze()
    founded.close()
