"""The `chancery` command: mounts the groups of `scheduler.commands`, and hands them the platforms."""

from adapters.registry import build
from scheduler.commands.root import chancery


def main() -> None:
    chancery(obj=build)


if __name__ == "__main__":
    main()
