"""The figures of a report: for each kind a function that draws it, or gives None where a study has no data for it."""

from collections.abc import Callable, Iterator

from harness.report.figures.by_cost import accuracy_by_macs, accuracy_by_speed
from harness.report.figures.by_level import accuracy_by_level
from harness.report.figures.by_size import accuracy_by_size, few_shot_by_size, gap_by_size
from harness.report.figures.canvas import Drawing
from harness.report.figures.curves import accuracy_by_shift, learning_curves, tuning_budget
from harness.report.figures.gaps import difference_map, differences, gap_by_level
from harness.report.figures.seen_inside import (
    accuracy_blackened,
    accuracy_shuffled,
    attention_distance,
    attention_rollout,
    block_similarity,
    embedding_filters,
    position_similarity,
    receptive_field,
)
from harness.report.view import View

PICTURES: dict[str, tuple[Callable[[View], Drawing | None], ...]] = {
    "result": (accuracy_by_size, accuracy_by_level, gap_by_level, difference_map, gap_by_size, differences),
    "shifts": (accuracy_by_shift,),
    "few_shots": (few_shot_by_size,),
    "cost": (accuracy_by_macs, accuracy_by_speed),
    "learning": (learning_curves,),
    "tuning": (tuning_budget,),
    "inside": (
        *(attention_distance, attention_rollout, embedding_filters, position_similarity, block_similarity),
        *(receptive_field, accuracy_shuffled, accuracy_blackened),
    ),
}
"""By the section of the report in which they stand; in its order, the main figure first."""
NAMES = {draw.__name__ for draws in PICTURES.values() for draw in draws}


def drawings(view: View) -> Iterator[tuple[str, str, Drawing]]:
    """Name, section and drawing of every figure that applies, the main figure first; ask inside `theme`."""
    for section, draws in PICTURES.items():
        for draw in draws:
            if drawing := draw(view):
                yield draw.__name__, section, drawing
