"""The policies that come with the program: a neutral one to begin with, and a ministry's to take as a template."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Final, Literal

Name = Literal["neutral", "ministry"]
#: The file of the template that holds what a ministry knows by name.
REGISTRIES: Final = "registries.yaml"


def read_shipped(name: Name) -> Mapping[str, str]:
    """The files of a policy, by name."""
    folder = files("scheduler.policy").joinpath(name)
    return {
        each.name: each.read_text(encoding="utf-8")
        for each in sorted(folder.iterdir(), key=lambda each: each.name)
        if each.name.endswith(".yaml")
    }
