"""What limits the numbers as a whole, or was not the same for all: seeds, predictions, machine, numbers of images."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from harness.analysis.estimate import FEWEST_SEEDS
from harness.analysis.evidence import Evidence, Row
from harness.analysis.wording import Cell, listed
from harness.records.data_facts import of_provenance
from harness.spec.plural import counted

_DIGITS = "numbers may differ in their last digits"
_CONDITIONS = {
    "numerics": "by training code of different numerics ({}), and may not be comparable",
    "torch": f"with torch {{}}; {_DIGITS}",
    "threads": f"with {{}} threads per run; images/s are not comparable, and {_DIGITS}",
    "deterministic": f"with and without deterministic kernels; images/s are not comparable, and {_DIGITS}",
    "cpu": f"on several processors ({{}}); images/s are not comparable, and {_DIGITS}",
}
"""Conditions of which a study keeps the values of all trainings together: what is told where there are several."""


def condition_warnings(evidence: Evidence) -> Iterator[str]:
    """A sentence each."""
    seeds = len(evidence.study.seeds)
    if seeds < FEWEST_SEEDS:
        yield f"Only {counted(seeds, 'seed')} per arm: intervals and verdicts need at least {FEWEST_SEEDS}."
    answers = [row for cell in evidence.rows for row in evidence.predictions(cell)]
    lengths = {len(row) for row in answers if row is not None}
    if lacking := sum(row is None for row in answers):
        yield (
            f"Predictions are missing for {lacking:,} of {counted(len(answers), 'completed run')}: intervals with "
            "those runs rest on the seeds only and leave out the choice of test images."
        )
    if len(lengths) > 1:
        yield f"The runs were tested on different numbers of images: {listed(f'{n:,}' for n in sorted(lengths))}."
    for facts in of_provenance(evidence.records.provenance):
        yield from facts.cautions()
    yield from _mixtures(evidence)
    for key, told in _CONDITIONS.items():
        values = str(evidence.records.provenance.get(key, "")).split(", ")
        if len(values) > 1:
            yield f"The runs were made {told.format('; '.join(values) if key == 'cpu' else listed(values))}."
    seen = {cell: np.unique(evidence.values(cell, "images_seen")) for cell in evidence.rows}
    known = {cell: [int(images) for images in of_cell[np.isfinite(of_cell)]] for cell, of_cell in seen.items()}
    yield from unequal_images(evidence, known, "arms were trained on different numbers of images in the confirm runs")


def unequal_images(evidence: Evidence, seen: Mapping[Cell, Sequence[int]], told: str) -> Iterator[str]:
    """A sentence that opens with `told` for each training size at which the numbers of images seen differ by arm.

    Each arm is compared with those that ask for as many training images. So where arms change `data.train_size`
    themselves, a budget in epochs, which grows with the data, is not taken for unfair: the data is the question there.
    """
    study = evidence.study
    groups: dict[int | None, dict[str, Sequence[int]]] = defaultdict(dict)
    for (arm, size), images in seen.items():
        groups[study.data_of(study.arm(arm), size).train_size] |= {arm: images} if images else {}
    for size, known in groups.items():
        if len(set(map(tuple, known.values()))) > 1:
            numbers = listed(f"{arm} {' or '.join(f'{n:,}' for n in images)} images" for arm, images in known.items())
            several = len(groups) > 1 or bool(study.train_sizes)
            at = f"At {size:,} training images the" if size is not None else "With all training images the"
            yield f"{at if several else 'The'} {told}: {numbers}."


def _mixtures(evidence: Evidence) -> Iterator[str]:
    """A sentence each for several devices or precisions among confirm runs and trials that did not fail.

    Arms that ask for different precisions themselves are compared with those that ask for the same one.
    """
    study = evidence.study
    asked = {arm.name: study.recipe_of(arm).precision for arm in study.all_arms}
    confirmed = [(cell[0], row) for cell, of_cell in evidence.rows.items() for row in of_cell.values()]
    tried = [(cell[0], row) for cell, of_cell in evidence.searches.items() for row in of_cell]
    for column, groups in (("device", {}), ("precision", asked)):
        runs, trials = _made_with(confirmed, column), _made_with(tried, column)
        if not _mixed([*runs, *trials], groups):
            continue
        consequence = f"settings that were chosen with one {column} may not suit another"
        if _mixed(runs, groups):
            consequence = "images/s and memory are not comparable between arms"
        told = []
        for value in sorted({value for _, value in (*runs, *trials)}):
            kinds = ((runs, "confirm run"), (trials, "trial"))
            numbers = ((sum(other == value for _, other in pairs), noun) for pairs, noun in kinds)
            told.append(f"{value} ({listed(counted(number, noun) for number, noun in numbers if number)})")
        yield f"The results were made with {counted(len(told), column)}: {listed(told)}; {consequence}."


def _made_with(rows: Sequence[tuple[str, Row]], column: str) -> list[tuple[str, str]]:
    """Arm and value of the runs that did not fail and say what they were made with."""
    said = ((arm, row.get(column)) for arm, row in rows if row["status"] != "failed")
    return [(arm, value) for arm, value in said if isinstance(value, str) and value]


def _mixed(pairs: Sequence[tuple[str, str]], groups: Mapping[str, str]) -> bool:
    """Whether several values stand with the arms of one group."""
    grouped = {(groups.get(arm), value) for arm, value in pairs}
    return len(grouped) > len({group for group, _ in grouped})
