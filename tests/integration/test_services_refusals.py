"""Every refusal that scripts may rely on is asked for by some test."""

import importlib
import pkgutil
from pathlib import Path

import scheduler.domain
import scheduler.errors
import scheduler.services
from scheduler.errors import ChanceryError

TESTS = Path(__file__).parents[1]


def _refusals(base: type[ChanceryError] = ChanceryError) -> set[type[ChanceryError]]:
    return {base}.union(*map(_refusals, base.__subclasses__()))


def test_every_refusal_code_of_the_rules_and_services_has_a_test() -> None:
    for package in (scheduler.domain, scheduler.services):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    ours = "".join(
        path.read_text() for path in Path(scheduler.errors.__file__).parent.rglob("*.py")
    )
    asked = "".join(path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__))
    unasked = {
        refusal.code
        for refusal in _refusals()
        if refusal.__module__.startswith(("scheduler.domain.", "scheduler.services."))
        and ours.count(refusal.__name__) > 1  # it is made somewhere
        and f'"{refusal.code}"' not in asked
        and refusal.__name__ not in asked
    }
    assert unasked == set()
