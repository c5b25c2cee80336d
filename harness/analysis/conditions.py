"""What was not the same for all: numerics, machine, precision, and numbers of training images."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.analysis.cells import Cell, Cells, finite
from harness.analysis.wording import listed
from harness.spec.plural import counted

Row = Mapping[str, Any]


def mixture_warnings(cells: Cells, trials: Mapping[Cell, Iterable[Row]]) -> tuple[str, ...]:
    """A sentence each for several devices or precisions among confirm runs and trials.

    Failed runs, and runs that do not say, are left out. Arms that ask for different precisions themselves are compared
    with those that ask for the same one.
    """
    asked = {arm.name: cells.study.recipe_of(arm).precision for arm in cells.study.all_arms}
    told = []
    for column, groups in (("device", {}), ("precision", asked)):
        runs, tried = (
            [(arm, row[column]) for (arm, _), rows in of for row in rows if _says(row, column)]
            for of in ([(cell, of_cell.values()) for cell, of_cell in cells.rows.items()], trials.items())
        )
        if _mixed([*runs, *tried], groups):
            consequence = (
                "images/s and memory are not comparable between arms"
                if _mixed(runs, groups)
                else f"settings that were chosen with one {column} may not suit another"
            )
            values = sorted({value for _, value in (*runs, *tried)})
            told.append(
                f"The results were made with {counted(len(values), column)}: "
                f"{listed(_made(value, runs, tried) for value in values)}; {consequence}."
            )
    return tuple(told)


def machine_warnings(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each condition not shared by all trainings: numerics, torch, threads, kernels, processor.

    Studies keep these for all trainings together (several values joined by a comma), so no sentence says which arm had
    which.
    """
    kinds = ("numerics", "torch", "threads", "deterministic", "cpu")
    known = {key: str(provenance.get(key, "")).split(", ") for key in kinds}
    digits = "numbers may differ in their last digits"
    told = {
        "numerics": f"by training code of different numerics ({listed(known['numerics'])}), and may not be comparable",
        "torch": f"with torch {listed(known['torch'])}; {digits}",
        "threads": f"with {listed(known['threads'])} threads per run; images/s are not comparable, and {digits}",
        "deterministic": f"with and without deterministic kernels; images/s are not comparable, and {digits}",
        "cpu": f"on several processors ({'; '.join(known['cpu'])}); images/s are not comparable, and {digits}",
    }
    return tuple(f"The runs were made {said}." for key, said in told.items() if len(known[key]) > 1)


def length_warnings(cells: Cells) -> tuple[str, ...]:
    """A sentence for each training size at which the arms' completed confirm runs saw other numbers of images."""
    seen = {}
    for cell in cells.rows:
        seen[cell] = sorted({int(number) for number in finite(cells.values(cell, "images_seen"))})
    return unequal_images(cells, seen, "arms were trained on different numbers of images in the confirm runs")


def unequal_images(cells: Cells, seen: Mapping[Cell, Sequence[int]], told: str) -> tuple[str, ...]:
    """A sentence that opens with `told` for each training size at which the numbers of images seen differ by arm.

    Each arm is compared with those that ask for as many training images. So where arms change `data.train_size`
    themselves, a budget in epochs, which grows with the data, is not taken for unfair: the data is the question there.
    """
    groups: dict[int | None, dict[str, Sequence[int]]] = defaultdict(dict)
    for (arm, size), images in seen.items():
        groups[cells.study.data_of(cells.study.arm(arm), size).train_size][arm] = images
    sentences = []
    for size, of_size in groups.items():
        known = {arm: tuple(images) for arm, images in of_size.items() if images}
        if len(set(known.values())) > 1:
            numbers = listed(f"{arm} {' or '.join(f'{n:,}' for n in images)} images" for arm, images in known.items())
            several = len(groups) > 1 or bool(cells.study.train_sizes)
            at = f"At {size:,} training images the" if size is not None else "With all training images the"
            sentences.append(f"{at if several else 'The'} {told}: {numbers}.")
    return tuple(sentences)


def _says(row: Row, column: str) -> bool:
    """Whether a run did not fail and says what it was made with."""
    return row["status"] != "failed" and isinstance(row.get(column), str) and bool(row[column])


def _mixed(pairs: Sequence[tuple[str, str]], groups: Mapping[str, str]) -> bool:
    """Whether several values stand with the arms of one group."""
    grouped = {(groups.get(arm), value) for arm, value in pairs}
    return len(grouped) > len({group for group, _ in grouped})


def _made(value: str, *of_kinds: Sequence[tuple[str, str]]) -> str:
    """`cpu (3 confirm runs and 8 trials)`, from the confirm runs and the trials."""
    numbers = [sum(other == value for _, other in pairs) for pairs in of_kinds]
    kinds = zip(numbers, ("confirm run", "trial"), strict=True)
    return f"{value} ({listed(counted(number, noun) for number, noun in kinds if number)})"
