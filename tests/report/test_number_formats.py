"""Golden values of every number format."""

import numpy as np
import pandas as pd
import pytest

from harness.spec import formats
from harness.spec.formats import MINUS, NONE

GOLDEN = [
    (formats.percent, 0.91274, "91.27%"),
    (formats.percent, 1.0, "100.00%"),
    (formats.points, 0.0123, "+1.23"),
    (formats.points, -0.00456, "−0.46"),
    (formats.points, -0.00001, "0.00"),
    (formats.count, 950, "950"),
    (formats.count, 60_000, "60,000"),
    (formats.count, 1_281_167.4, "1,281,167"),
    (formats.magnitude, 950, "950"),
    (formats.magnitude, 75_290, "75.3 k"),
    (formats.magnitude, 12_345_678, "12.3 M"),
    (formats.magnitude, 999_600_000, "1.00 G"),
    (formats.magnitude, 4_600_000_000, "4.60 G"),
    (formats.magnitude, 167_300_000_000, "167 G"),
    (formats.memory, 512 * 2**20, "512 MiB"),
    (formats.memory, 1.464 * 2**30, "1.46 GiB"),
    (formats.duration, 0.04, "0 s"),
    (formats.duration, 4.23, "4.2 s"),
    (formats.duration, 59.4, "59 s"),
    (formats.duration, 59.6, "1 min 00 s"),
    (formats.duration, 83, "1 min 23 s"),
    (formats.duration, 187_200, "2 days 04 h"),
    (formats.duration, 7_380, "2 h 03 min"),
    (formats.p_value, 0.0123, "0.012"),
    (formats.p_value, 0.00001, "< 0.001"),
    (formats.plain, 0.00031, "0.00031"),
    (formats.plain, -4.0, "−4"),
    (formats.plain, "relative", "relative"),
    (formats.plain, True, "True"),
]


@pytest.mark.parametrize(("write", "value", "text"), GOLDEN)
def test_golden(write, value, text):
    assert write(value) == text


@pytest.mark.parametrize("write", sorted({write for write, _, _ in GOLDEN}, key=lambda write: write.__name__))
@pytest.mark.parametrize("missing", [None, float("nan"), float("inf"), pd.NA, np.float64("nan")])
def test_a_missing_number_is_a_dash(write, missing):
    assert write(missing) == NONE


def test_intervals():
    assert formats.percent_interval(0.9127, 0.9081, 0.9169) == "91.27% [90.81, 91.69]"
    assert formats.percent_interval(0.9127, float("nan"), float("nan")) == "91.27%"
    assert formats.percent_interval(None, None, None) == NONE
    assert formats.points_interval(0.01, -0.002, 0.022) == f"+1.00 [{MINUS}0.20, +2.20]"


def test_a_range_of_points_names_its_ends_once():
    assert formats.points_range([0.0062, None, 0.0035, float("nan"), 0.005]) == "0.35 to 0.62"
    assert formats.points_range([0.004, 0.00401]) == "0.40"
    assert formats.points_range([None]) == ""
