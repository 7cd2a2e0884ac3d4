"""The `chancery` command: mounts the groups of `scheduler.commands`, and hands them the platforms."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scheduler.commands.root import chancery

if TYPE_CHECKING:
    from adapters.base import Adapter
    from adapters.http import PlatformHttp


def build_platforms(http: "PlatformHttp") -> "Mapping[str, Adapter]":
    """The registry's platforms, imported when a command wants them: most go through the API and start faster."""
    from adapters.registry import build  # noqa: PLC0415 - see above

    return build(http)


def main() -> None:
    chancery(obj=build_platforms)


if __name__ == "__main__":
    main()
