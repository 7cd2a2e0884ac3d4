"""What an operator copies from `deploy/` is true: hardened as claimed, and names only what exists."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from scheduler.commands.root import chancery
from scheduler.media.model import MediaLimits
from scheduler.settings import Settings
from scheduler.web import openapi
from scheduler.web.api.table import ROUTES
from tests.support.tables import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
MOST_EXPOSURE = 1.5

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def _unit(path: Path) -> dict[str, list[str]]:
    """The values of each setting of a unit, in their order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_web_and_worker_have_a_unit_each() -> None:
    assert [path.stem for path in UNITS] == ["chancery-web", "chancery-worker"]


@each_unit
@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)
def test_a_unit_exposes_little_of_its_host(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    score = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert score, done.stdout + done.stderr
    assert float(score[1]) <= MOST_EXPOSURE


@each_unit
def test_a_unit_is_watched_and_gets_the_key_as_a_credential(unit: Path) -> None:
    said = _unit(unit)
    assert said["Type"] == ["notify"]
    assert said["NotifyAccess"] == ["main"]
    assert int(said["WatchdogSec"][0]) >= 60
    assert said["LoadCredential"] == ["keys.json:/etc/chancery/keys.json"]
    assert "CHANCERY_KEY_FILE=%d/keys.json" in said["Environment"][0].split()
    assert said["LimitCORE"] == ["0"]
    assert said["Restart"] == ["always"]


@each_unit
def test_a_unit_runs_a_command_that_exists_from_where_the_operations_page_puts_it(
    unit: Path,
) -> None:
    program, command = _unit(unit)["ExecStart"][0].split()
    assert command in chancery.list_commands(click.Context(chancery))
    folder = program.removesuffix("/.venv/bin/chancery")
    assert f"{folder}/.venv" in (ROOT / "docs/operations.md").read_text()
    page = _unit(unit)["Documentation"][0].removeprefix(f"file://{folder}/")
    assert (ROOT / page).exists()


def test_the_web_unit_lets_the_decoder_of_pictures_lower_its_priority() -> None:
    """`os.nice` in the decoding process would be refused, and with it every picture."""
    filters = _unit(DEPLOY / "systemd/chancery-web.service")["SystemCallFilter"]
    assert filters[-1] == "setpriority"


@each_file
def test_every_setting_that_is_deployed_exists(path: Path) -> None:
    known = {f"CHANCERY_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"CHANCERY_[A-Z_]+[A-Z]", path.read_text())) <= known


@each_file
def test_every_command_that_is_deployed_exists(path: Path) -> None:
    context = click.Context(chancery)
    for command, sub in re.findall(
        r"(?:bin/|[\"] *|; |then |or )chancery ([a-z]+)(?: ([a-z]+))?", path.read_text()
    ):
        found = chancery.get_command(context, command)
        assert found is not None, command
        if sub and isinstance(found, click.Group):
            assert found.get_command(context, sub) is not None, f"chancery {command} {sub}"


def test_the_container_copies_what_is_there_and_runs_as_nobody_in_particular() -> None:
    text = (DEPLOY / "container/Containerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, _ = line.split()
        assert [each for each in sources if not (ROOT / each).exists()] == []
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["chancery"]
    assert "--require-hashes" in text


def test_the_proxy_lets_the_largest_picture_through_and_keeps_the_figures_inside() -> None:
    text = (DEPLOY / "proxy/nginx.conf").read_text()
    [size] = re.findall(r"client_max_body_size (\d+)m;", text)
    largest = max(route.max_bytes for route in ROUTES)
    assert largest == MediaLimits().max_bytes
    assert largest < int(size) * 2**20 < largest * 1.1
    for path in ("/metrics", "/readyz", "/healthz"):
        assert re.search(rf"location = {path} +\{{.*deny all;", text)
    paths = {openapi.PREFIX + route.path for route in ROUTES}
    assert set(re.findall(r"location = (/api\S+)", text)) <= paths


def test_every_alert_says_how_urgent_it_is_and_what_to_do() -> None:
    text = (DEPLOY / "prometheus/alerts.yml").read_text()
    alerts = text.split("- alert: ")[1:]
    assert len(alerts) >= 15
    for alert in alerts:
        assert re.search(r"labels: \{severity: (page|ticket)\}", alert)
        assert re.search(r"action: \".{20,}\"", alert)


def test_every_alert_that_wakes_somebody_is_on_the_page_of_the_night_shift() -> None:
    text = (DEPLOY / "prometheus/alerts.yml").read_text()
    pages = [
        each.split("\n")[0] for each in text.split("- alert: ")[1:] if "severity: page" in each
    ]
    night = (ROOT / "docs/operations.md").read_text().split("## The night shift")[1]
    assert pages
    assert [name for name in pages if name not in night] == []
