"""One founded town for all histories of a test process."""

from collections.abc import Iterator

import pytest

from tests.simulation.conftest import frozen
from tests.simulation.histories.town import Town, found


@pytest.fixture(scope="session")
def town() -> Iterator[Town]:
    founded = found()
    with frozen():
        yield founded
    founded.close()
