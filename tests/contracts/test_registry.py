import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import adapters
from adapters import registry
from adapters.egress import EgressPolicy
from adapters.http import PlatformHttp
from tests.contracts.adapter_contract import AdapterContract
from tests.contracts.happy_path_contract import HappyPathContract


def platform_classes() -> set[type]:
    found: set[type] = set()
    for module in pkgutil.iter_modules(adapters.__path__):
        loaded = importlib.import_module(f"adapters.{module.name}")
        for _, kind in inspect.getmembers(loaded, inspect.isclass):
            if kind.__module__ == loaded.__name__ and isinstance(
                getattr(kind, "platform", None), str
            ):
                found.add(kind)
    return found - {adapters.base.Capabilities}


def contracts_of(platform: str) -> set[type]:
    loaded = importlib.import_module(f"tests.contracts.test_{platform}")
    return {
        contract
        for _, kind in inspect.getmembers(loaded, inspect.isclass)
        for contract in (AdapterContract, HappyPathContract)
        if issubclass(kind, contract) and kind.__name__.startswith("Test")
    }


def test_every_platform_is_registered_under_its_name_and_under_contract() -> None:
    assert platform_classes() == set(registry.PLATFORMS)
    built = registry.build(PlatformHttp(EgressPolicy()))
    for name, adapter in built.items():
        assert name == adapter.platform == adapter.capabilities.platform
        assert contracts_of(name) == {AdapterContract, HappyPathContract}
    assert len(built) == len(registry.PLATFORMS)


def test_only_the_guarded_door_opens_connections() -> None:
    openers = {"ClientSession", "TCPConnector", "create_connection", "open_connection", "urlopen"}
    for path in Path(adapters.__path__[0]).glob("*.py"):
        names = {
            node.attr if isinstance(node, ast.Attribute) else node.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute | ast.Name)
        }
        assert path.name == "http.py" or not names & openers, path.name
