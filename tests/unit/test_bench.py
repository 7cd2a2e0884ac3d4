"""What the measurements are made of: who is due when, and the line that is printed."""

import json

from yarl import URL

from bench.delivering import Trial
from bench.limit import chain_line
from bench.line import Line
from bench.seed import ACCOUNTS, Order


def _order(count: int, rate: float = 0) -> Order:
    return Order(count=count, due=1000.0, rate=rate, url=URL("http://127.0.0.1:1/post"))


def test_a_burst_is_due_at_once_over_all_accounts_and_none_twice_in_a_post() -> None:
    posts = _order(2 * ACCOUNTS + 30).posts()
    assert {due for due, _ in posts} == {1000.0}
    assert all(len(set(lanes)) == len(lanes) <= 100 for _, lanes in posts)
    lanes = [lane for _, some in posts for lane in some]
    assert len(lanes) == 2 * ACCOUNTS + 30
    assert set(lanes) == set(range(ACCOUNTS))


def test_a_spread_has_an_instant_for_each_delivery() -> None:
    assert _order(3, rate=200).posts() == [(1000.0, [0]), (1000.005, [1]), (1000.01, [2])]


def test_a_line_compares_with_the_limit() -> None:
    line = Line.of("burst", 300.04, 1000, "deliveries/s", {"worker": 9})
    assert json.loads(str(line)) == {
        "name": "burst",
        "value": 300.0,
        "unit": "deliveries/s",
        "cpu_us": {"worker": 9},
        "limit": 1000,
        "ratio": 0.3,
    }


def test_percentiles_are_of_the_nearest_rank() -> None:
    trial = Trial(late_ms=[float(n) for n in range(1, 101)], per_s=1, cpu_us={})
    assert (trial.at(0.5), trial.at(0.99), trial.at(1)) == (50, 99, 100)


def test_the_limit_writes_a_record_for_each_delivery() -> None:
    assert json.loads(chain_line(7, "r")) == {"a": "sent", "id": 7, "remote": "r"}
