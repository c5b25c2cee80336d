"""Ratios over rounds and their intervals, on times whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bench.contest import Contender, Heat, ratio, rows_of

SECONDS = st.lists(st.tuples(st.floats(1e-3, 10), st.floats(1e-3, 10)), min_size=1, max_size=20)


@given(pairs=SECONDS, factor=st.floats(0.1, 10))
def test_a_ratio_lies_in_its_interval_and_follows_the_times(pairs, factor):
    own, other = map(list, zip(*pairs, strict=True))
    median, low, high = ratio(own, other)
    assert low <= median * (1 + 1e-12)
    assert median <= high * (1 + 1e-12)
    assert ratio([factor * value for value in own], other)[0] == pytest.approx(median / factor)
    assert ratio(own, other) == (median, low, high)


def test_a_disturbance_that_hits_both_of_a_round_leaves_the_ratio():
    noise = np.random.default_rng(1).lognormal(0, 1, 15)  # the machine is now idle, now busy
    assert ratio(0.1 * noise, 0.25 * noise) == pytest.approx((2.5, 2.5, 2.5))


def test_the_interval_holds_the_true_ratio_in_about_95_of_100():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        _, low, high = ratio(rng.lognormal(0, 0.2, 15), 2 * rng.lognormal(0, 0.2, 15))
        held += low <= 2 <= high
    assert 180 <= held <= 200


def test_more_rounds_make_narrower_intervals():
    rng = np.random.default_rng(3)
    few, many = (ratio(rng.lognormal(0, 0.3, n), rng.lognormal(0, 0.3, n)) for n in (5, 200))
    assert many[2] - many[1] < 0.5 * (few[2] - few[1])


@pytest.mark.parametrize(("unit", "values"), [("images/s", [320.0, 640.0, 160.0]), ("s", [0.2, 0.1, 0.4])])
def test_rows_have_speeds_and_ratios_to_fair_rivals_only(unit, values):
    names = [("own", "fp32"), ("own", "bf16"), ("peer", "fp32"), ("peer", "bf16"), ("another", "fp32")]
    contenders = [Contender(name, int, precision, rivals=["peer"] * (name == "own")) for name, precision in names]
    seconds = [[0.2, 0.2, 0.3], [0.1, 0.1, 0.1], [0.4, 0.4, 0.4], [0.5, 0.5, 0.5], [1.0, 1.0, 1.0]]
    shape = {"batch": 64, "unit": unit, "threads": (2,), "rounds": 3, "seconds": 0.0}
    rows = rows_of(Heat(part="step", what="a model", contenders=contenders, **shape), 2, seconds)
    assert [(row.own_label, row.other_label, row.ratio) for row in rows] == [
        ("own, fp32", "peer, fp32", pytest.approx(2.0)),
        ("own, bf16", "peer, fp32", pytest.approx(4.0)),
        ("own, bf16", "peer, bf16", pytest.approx(5.0)),
    ]
    assert [rows[0].value, rows[1].value, rows[1].other_value] == pytest.approx(values)
    assert {(row.rounds, row.threads, row.batch, row.unit) for row in rows} == {(3, 2, 64, unit)}
