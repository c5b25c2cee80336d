"""Ratios over rounds and their intervals, on times whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bench.compared import throughput_rows
from harness.bench.ratios import ratio
from harness.bench.turns import Contender

SECONDS = st.lists(st.tuples(st.floats(1e-3, 10), st.floats(1e-3, 10)), min_size=1, max_size=20)


def of(own, other, seed=0):
    return ratio(own, other, to="peer", generator=np.random.default_rng(seed))


@given(pairs=SECONDS, factor=st.floats(0.1, 10))
def test_a_ratio_lies_in_its_interval_and_follows_the_times(pairs, factor):
    own, other = map(list, zip(*pairs, strict=True))
    found, slower = of(own, other), of([factor * value for value in own], other)
    assert found.low <= found.median <= found.high
    assert slower.median == pytest.approx(found.median / factor)
    assert found == of(own, other)


def test_a_disturbance_that_hits_both_of_a_round_leaves_the_ratio():
    rng = np.random.default_rng(1)
    noise = rng.lognormal(0, 1, 15)  # the machine is now idle, now busy
    found = of(0.1 * noise, 0.25 * noise)
    assert (found.low, found.median, found.high) == pytest.approx((2.5, 2.5, 2.5))


def test_the_interval_holds_the_true_ratio_in_about_95_of_100():
    rng = np.random.default_rng(2)
    held = 0
    for trial in range(200):
        found = of(rng.lognormal(0, 0.2, 15), 2 * rng.lognormal(0, 0.2, 15), seed=trial)
        held += found.low <= 2 <= found.high
    assert 180 <= held <= 200


def test_more_rounds_make_narrower_intervals():
    rng = np.random.default_rng(3)
    few, many = (of(rng.lognormal(0, 0.3, n), rng.lognormal(0, 0.3, n)) for n in (5, 200))
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_rows_have_speed_and_ratios_to_fair_rivals_only():
    names = [("own", "fp32"), ("own", "bf16"), ("peer", "fp32"), ("peer", "bf16"), ("another", "fp32")]
    contenders = [Contender(name=name, precision=precision, make=int) for name, precision in names]
    seconds = [[0.2, 0.2, 0.3], [0.1, 0.1, 0.1], [0.4, 0.4, 0.4], [0.5, 0.5, 0.5], [1.0, 1.0, 1.0]]
    rows = throughput_rows(
        contenders,
        seconds,
        part="step",
        what="a model",
        batch=64,
        threads=2,
        rivals={"own": ["peer"]},
        details={"own": {"parameters": 7}},
    )
    assert [(row.value, row.best) for row in rows[:2]] == [(320.0, 320.0), (640.0, 640.0)]
    assert rows[0].details == {"parameters": 7, "rounds": 3}
    assert [(item.to, item.precision) for item in rows[0].ratios] == [("peer", "fp32")]
    assert {(item.to, item.precision): item.median for item in rows[1].ratios} == {
        ("peer", "fp32"): pytest.approx(4.0),
        ("peer", "bf16"): pytest.approx(5.0),
    }
    assert [row.ratios for row in rows[2:]] == [(), (), ()]
