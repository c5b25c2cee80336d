"""Claims of shipped studies on what is seen inside models, judged on looks whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from harness.records.insides import AttentionAtSize
from harness.spec import find_study
from studies._looks import AttentionLocalises, AttentionWidens, PositionsKnowLines


def tables(**seen):
    return SimpleNamespace(records=SimpleNamespace(insides=(SimpleNamespace(arm="ViT", **seen),)))


def attention(distances):
    return tables(attention=SimpleNamespace(distances=distances))


def positions(cosine, grid=6, tiles=3):
    at = [(tile * grid + grid // 2) // tiles for tile in range(tiles)]
    maps = [[[[cosine(i - a, j - b) for j in range(grid)] for i in range(grid)] for b in at] for a in at]
    return tables(positions=SimpleNamespace(maps=maps))


WIDENS = AttentionWidens(statement="s", source="s", arm="ViT")
LINES = PositionsKnowLines(statement="s", source="s", arm="ViT")


def test_distances_that_grow_by_two_pixels_a_block_are_told_so():
    rng = np.random.default_rng(0)
    distances = [[3 + 2 * block + 0.1 * rng.standard_normal() for _ in range(4)] for block in range(6)]
    found = WIDENS.judge(attention(distances), rng)
    assert found.value == pytest.approx(2, abs=0.05)
    assert 1.8 < found.ci_low < found.value < found.ci_high < 2.2


def test_distances_without_a_trend_leave_it_open():
    rng = np.random.default_rng(0)
    found = WIDENS.judge(attention(rng.uniform(2, 9, (6, 4)).tolist()), rng)
    assert found.ci_low < 0 < found.ci_high


@pytest.mark.parametrize(("many", "sign"), [(4.0, 1), (8.0, 0), (12.0, -1)])
def test_distances_that_fall_with_data_speak_for_it(many, sign):
    """In the lower half of the blocks; what the upper half does is no matter."""
    rng, claim = np.random.default_rng(0), AttentionLocalises(statement="s", source="s", arm="ViT")
    by_size = [
        AttentionAtSize(
            train_size=size,
            digest="d",
            distances=[[low + rng.standard_normal() for _ in range(4)] for low in (far, far, 90.0 / far, 30.0)],
        )
        for size, far in ((100, 8.0), (1000, 2.0), (9000, many))
    ]
    found = claim.judge(tables(by_size=tuple(by_size)), rng)
    assert found.value == pytest.approx(8 - many, abs=1.2)
    assert (found.ci_low > 0) - (found.ci_high < 0) == sign
    with pytest.raises(ValueError, match="no models of several training sizes"):
        claim.judge(tables(by_size=None), rng)


def test_positions_that_know_rows_and_columns_are_more_alike_there():
    found = LINES.judge(positions(lambda i, j: 0.5 * (i == 0) + 0.5 * (j == 0) + 0.01 * (i + j)), None)
    assert found.value == pytest.approx(0.5, abs=0.05)
    assert found.ci_low > 0.4


def test_positions_that_know_only_what_is_near_are_no_more_alike_in_line_than_that():
    by_distance = LINES.judge(positions(lambda i, j: -float(np.hypot(i, j))), None)
    random = np.random.default_rng(0)
    none = LINES.judge(positions(lambda i, j: random.standard_normal()), None)
    assert none.ci_low < 0 < none.ci_high
    assert by_distance.value > none.value  # neighbours lie in line: the claim is about more than `beside`


@pytest.mark.parametrize(
    ("name", "kind"),
    [("depth", AttentionWidens), ("position_embedding", PositionsKnowLines), ("dataset_size", AttentionLocalises)],
)
def test_studies_make_them_where_models_are_looked_into(name, kind):
    study = find_study(name)[1]
    for scale in ("gpu", "paper"):
        (claim,) = (claim for claim in study.resolve(name, scale).claims if isinstance(claim, kind))
        assert study.resolve(name, scale).arm(claim.arm).model.kind == "vit"
    assert not any(isinstance(claim, kind) for claim in study.resolve(name, "laptop").claims)
