"""One founded ministry for all runs of a test process."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.simulation.ministry import Ministry, found


@contextmanager
def frozen() -> Iterator[None]:
    """The libraries' objects stay meanwhile: no collection has to walk through them."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def ministry() -> Iterator[Ministry]:
    founded = found()
    with frozen():
        yield founded
    founded.close()
