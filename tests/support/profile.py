"""How generated examples are chosen: the same ones in every run, more of them in `make test-long`."""

from datetime import timedelta

from hypothesis import HealthCheck, settings


def register_profiles() -> None:
    """`fixed` is loaded; `--hypothesis-profile=long` on the command line takes its place."""
    settings.register_profile(
        "fixed",
        derandomize=True,
        database=None,
        deadline=timedelta(seconds=2),  # two shared cores: a slow example is not a defect
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.register_profile(
        "long", settings.get_profile("fixed"), derandomize=False, max_examples=5000, deadline=None
    )
    settings.load_profile("fixed")
