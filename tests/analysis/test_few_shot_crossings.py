"""Whether few-shot accuracy crosses where the accuracy on the task trained on does: the sentence, and the figure."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from simulate import records, study

from harness.analysis import analyse
from harness.report.figures.by_size import few_shot_by_size
from harness.report.style import theme
from harness.report.view import View
from harness.spec import DataSpec, FewShot

SIZES = (1000, 8000, 55_000)
EARLY, LATE, NEVER = (0.02, -0.05, -0.08), (0.08, 0.05, -0.02), (0.08, 0.05, 0.03)  # leads of the ResNet
FIGURE = "few-shot accuracy of ViT/7 52."


def view_of(own: tuple[float, ...], few: tuple[float, ...], *, seeds: int = 5) -> View:
    """A ViT behind a ResNet of accuracy .8, and .6 few-shot, by these leads at each size."""
    rng = np.random.default_rng(0)

    def behind(arm: str, size: int | None, leads: tuple[float, ...]) -> float:
        return leads[SIZES.index(size or 0)] if arm == "ViT/7" else 0.0

    def with_few_shot(row: Mapping[str, object]) -> dict[str, object]:
        lead = behind(str(row["arm"]), int(str(row["train_size"])), few)
        return {**row, "few_shot_accuracy": 0.6 - lead + rng.normal(0, 0.004)}

    of = replace(
        study({"ViT/7": 7.0}, sizes=SIZES, seeds=seeds), few_shot=FewShot(data=DataSpec(source="digits"), shots=(2, 4))
    )
    kept = records(of, lambda arm, size: 0.8 - behind(arm, size, own), seed_sd=0.004, changes=with_few_shot)
    return View(kept, analyse(kept))


@pytest.mark.parametrize(
    ("own", "few", "end"),
    [
        (EARLY, EARLY, "Both cross, and the intervals overlap."),
        (EARLY, LATE, "Both cross, and the intervals do not overlap."),
        (EARLY, NEVER, "Only the other curves are shown to cross."),
        (NEVER, EARLY, "Only the few-shot curves are shown to cross."),
        (NEVER, NEVER, "On neither task are the curves shown to cross."),
    ],
)
def test_both_tasks_are_told_of_and_compared(own: tuple[float, ...], few: tuple[float, ...], end: str) -> None:
    (told,) = view_of(own, few).findings.few_shot_crossings
    assert told.startswith("Few-shot: ")
    assert " On the task that was trained on: " in told
    assert told.endswith(end)


def test_too_few_seeds_compare_nothing_and_other_studies_have_no_sentence() -> None:
    view = view_of(EARLY, EARLY, seeds=2)
    (told,) = view.findings.few_shot_crossings
    assert told.count("o crossing can be judged: 2 of at least 3 seeds planned") == 2
    assert "Both" not in told
    assert analyse(replace(view.records, study=replace(view.study, few_shot=None))).few_shot_crossings == ()


def test_the_figure_has_both_tasks_with_intervals() -> None:
    with theme():
        drawing = few_shot_by_size(view_of(EARLY, NEVER))
        assert drawing is not None
        few, own = drawing.figure.axes
        assert [axes.get_title(loc="left") for axes in (few, own)] == ["another task, few-shot", "the task trained on"]
        assert FIGURE in drawing.text
        assert "test accuracy of ResNet-8 80." in drawing.text
        view = view_of(EARLY, NEVER)
        assert few_shot_by_size(View(view.records, replace(view.findings, main_factor_sizes=()))) is None
