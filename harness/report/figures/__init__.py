"""The figures of a report: for each kind a function that draws it, or gives None where a study has no data for it."""

import re
from collections.abc import Callable, Iterable, Iterator
from copy import copy

from harness.report.figures.by_class import accuracy_by_class
from harness.report.figures.by_cost import accuracy_by_macs, accuracy_by_speed
from harness.report.figures.by_level import accuracy_by_level
from harness.report.figures.by_patch_size import accuracy_by_patch_size
from harness.report.figures.by_shift import accuracy_by_shift, agreement_by_size
from harness.report.figures.by_size import accuracy_by_size, few_shot_by_size
from harness.report.figures.canvas import Drawing
from harness.report.figures.curves import learning_curves, tuning_budget
from harness.report.figures.gains import differences, gains
from harness.report.figures.gaps import difference_map, gap_by_level
from harness.report.figures.leads_by_size import lead_by_size
from harness.report.figures.samples import changed_images
from harness.report.figures.seen_inside import (
    accuracy_blackened,
    accuracy_shuffled,
    attention_by_size,
    attention_distance,
    attention_rollout,
    block_similarity,
    embedding_filters,
    position_similarity,
    receptive_field,
)
from harness.report.figures.steadiness import stability
from harness.report.view import View

Draw = Callable[[View], Drawing | Iterable[Drawing] | None]

PICTURES: dict[str, tuple[Draw, ...]] = {
    "result": (
        *(lead_by_size, gains, accuracy_by_size, accuracy_by_level, gap_by_level),
        *(difference_map, differences),
    ),
    "shifts": (agreement_by_size, accuracy_by_shift),
    "patches": (accuracy_by_patch_size,),
    "few_shots": (few_shot_by_size,),
    "by_class": (accuracy_by_class,),
    "cost": (accuracy_by_macs, accuracy_by_speed),
    "learning": (learning_curves, stability),
    "tuning": (tuning_budget,),
    "inside": (
        *(attention_distance, attention_by_size, attention_rollout, embedding_filters, position_similarity),
        *(block_similarity, receptive_field, accuracy_shuffled, accuracy_blackened),
    ),
}
"""By the section of the report in which they stand; in its order, the main figure first where the study names none."""
_FORMER = {"gap_by_size"}  # figures of reports of earlier versions
NAMES = {draw.__name__ for draws in (*PICTURES.values(), (changed_images,)) for draw in draws}
"""Of several drawings of one function the second is called `NAME_2`, and so on."""


def is_of_reports(name: str) -> bool:
    """Whether a report may have a figure of that name."""
    return re.sub(r"_\d+$", "", name) in NAMES | _FORMER


def drawings(view: View) -> Iterator[tuple[str, str, Drawing]]:
    """Name, section and drawing of every figure that applies, the main figure first; ask inside `theme`.

    The main figure is what the study names, if it applies, and has the finding as its title. `changed_images`, of the
    section `images`, follows it.
    """
    order = [(section, draw) for section, draws in PICTURES.items() for draw in draws]
    order.sort(key=lambda each: each[1].__name__ != view.findings.main_figure)
    headed, is_main = copy(view), True
    headed.finding = view.findings.finding
    for section, draw in order:
        found, number = draw(headed), 0
        for number, drawing in enumerate([found] if isinstance(found, Drawing) else found or (), 1):
            yield f"{draw.__name__}{f'_{number}' if number > 1 else ''}", section, drawing
            headed.finding = ""
        if number and is_main:
            is_main = False
            if (images := changed_images(view)) is not None:
                yield changed_images.__name__, "images", images
