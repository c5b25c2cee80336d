"""What the searches spent and chose, and what they leave unfair or unsure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from harness.analysis.cells import Row, number
from harness.analysis.estimate import Floats
from harness.analysis.evidence import Evidence
from harness.analysis.findings import AUDIT_COLUMNS, BUDGET_COLUMNS, frame
from harness.analysis.wording import Cell, listed, place
from harness.spec import LogUniform, ResolvedStudy, Space, Uniform
from harness.spec.formats import counted, plain, words
from harness.spec.search import Setting, at_edge, beyond, edge_distance, widened

SHORT_TRIAL = 0.45  # trials that see less than this share of the images of a training are told of

FEWEST_TRIED, CLEAR_ORDER = 5, 0.8
"""Values of a parameter, and Spearman's correlation with accuracy, from which on the best is told to be outermost."""

MOST_NAMED = 4  # arms that a sentence names; more are counted


def expected_best(scores: Iterable[float]) -> Floats:
    """(n,) expected maximum of k scores drawn without replacement from these n, for k = 1..n; exact.

    The maximum of k is the j-th smallest score in C(j - 1, k - 1) of C(n, k) subsets (order statistics; as in Dodge et
    al., arXiv 1909.03004, who draw with replacement).
    """
    ordered = np.sort(np.array(list(scores), dtype=np.float64))
    n = len(ordered)
    k, j = np.arange(1, n + 1)[:, None], np.arange(1, n + 1)[None, :]
    return np.asarray(special.comb(j - 1, k - 1) / special.comb(n, k) @ ordered, dtype=np.float64)


def budget_table(evidence: Evidence) -> pd.DataFrame:
    """BUDGET_COLUMNS; a trial without a score counts as 0, and a cell without any score has no rows."""
    rows = []
    for cell, trials in evidence.searches.items():
        scores = [_score(trial) for trial in trials]
        if not all(map(math.isnan, scores)):
            best = enumerate(expected_best(np.nan_to_num(scores)), start=1)
            rows += [(cell[0], evidence.train_size(cell), k, score) for k, score in best]
    return frame(rows, BUDGET_COLUMNS)


def audit_table(evidence: Evidence) -> pd.DataFrame:
    """AUDIT_COLUMNS and those of the nuisance parameters, a row per search; cells without trials have no row."""
    rows = []
    for cell, search, trials in _searches(evidence):
        ranges, values = _chosen(evidence, cell, trials)
        best = max((_score(trial) for trial in trials if not math.isnan(_score(trial))), default=math.nan)
        completed = sum(trial["status"] == "completed" for trial in trials)
        images = int(np.nansum([number(trial["images_seen"]) for trial in trials]))
        spent = (
            cell[0],
            evidence.train_size(cell),
            search,
            len(trials),
            len(_beyond(evidence, cell, trials)),
            completed,
            images,
            best,
            ", ".join(at_edge(ranges, values)),
            ", ".join(_left_behind(evidence, cell, ranges)),
        )
        own = {f"p.{name}": value for name, value in values.items()}
        own |= {f"edge.{name}": edge_distance(ranges[name], value) for name, value in values.items()}
        rows += [dict(zip(AUDIT_COLUMNS, spent, strict=True)) | own] if trials else []
    parameters = sorted({name for row in rows for name in row} - set(AUDIT_COLUMNS))
    return pd.DataFrame(rows, columns=[*AUDIT_COLUMNS, *parameters]).astype(AUDIT_COLUMNS)


def tuning_warnings(evidence: Evidence) -> Iterator[str]:
    """What the searches leave unfair or unsure, a sentence each."""
    if evidence.study.search.trials == 0:
        yield "No search: every arm ran with the recipe's own settings, which may suit one arm better than another."
        return
    yield from evidence.study.used_up
    within = {cell: len(trials) - len(_beyond(evidence, cell, trials)) for cell, trials in evidence.searches.items()}
    for size in evidence.sizes:
        numbers = {arm: trials for (arm, of), trials in within.items() if of == size}
        if len(set(numbers.values())) > 1:
            where = "The" if size is None else f"At {counted(size, 'training image')} the"
            told = listed(f"{arm} {counted(trials, 'trial')}" for arm, trials in numbers.items())
            yield f"{where} arms were not tuned equally: {told}."
    longest: dict[Cell, list[int]] = {}
    for cell, trials in evidence.searches.items():
        seen = [number(trial["images_seen"]) for trial in trials if trial["status"] == "completed"]
        if known := [images for images in seen if not math.isnan(images)]:
            longest[cell] = [int(max(known))]
    yield from unequal_images(evidence, longest, "arms' trials differ in length")
    for cell, search, trials in _searches(evidence):
        if trials and all(math.isnan(_score(trial)) for trial in trials):
            told, which = f"none of its {counted(len(trials), 'trial')} has a score", _which([search])
            yield f"{place(cell)}{which}: {told}, so the search chose no setting."
    yield from _short_trials(evidence, {cell: images for cell, (images,) in longest.items()})
    yield from _unmoved(evidence)
    yield from _searched_on(evidence)
    yield from _outermost(evidence)
    yield from _edges(evidence)


def unequal_images(evidence: Evidence, seen: Mapping[Cell, Sequence[int]], told: str) -> Iterator[str]:
    """A sentence that opens with `told` for each training size at which the numbers of images seen differ by arm.

    Each arm is compared with those that ask for as many training images, as a budget in epochs grows with the data.
    """
    study = evidence.study
    groups: dict[int | None, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for (arm, size), images in seen.items():
        groups[study.data_of(study.arm(arm), size).size] |= {arm: tuple(images)} if images else {}
    for size, known in groups.items():
        if len(set(known.values())) > 1:
            numbers = listed(f"{arm} {' or '.join(f'{n:,}' for n in images)} images" for arm, images in known.items())
            at = "With all training images the" if size is None else f"At {size:,} training images the"
            yield f"{at if len(groups) > 1 or study.train_sizes else 'The'} {told}: {numbers}."


def _score(trial: Row) -> float:
    """Validation accuracy of a completed trial; NaN without one."""
    return number(trial["validation_accuracy"]) if trial["status"] == "completed" else math.nan


def _searches(evidence: Evidence) -> Iterator[tuple[Cell, int | None, list[Row]]]:
    """The trials of each search of each cell; None numbers the only one."""
    for cell, trials in evidence.searches.items():
        for search in range(evidence.study.searches_at(cell[1])) if evidence.study.search.repeats > 1 else (None,):
            yield cell, search, [trial for trial in trials if search is None or _is_of(trial, search)]


def _is_of(trial: Row, search: int) -> bool:
    return number(trial["search"]) == search or (number(trial["trial"]) == 0 and math.isnan(number(trial["search"])))


def share_first_trial(study: ResolvedStudy, trials: pd.DataFrame) -> bool:
    """Whether several searches of an arm have one first trial, on the seed of the first, as in results of before."""
    return study.search.repeats > 1 and bool(trials.loc[trials["trial"] == 0, "search"].isna().any())


def _which(searches: Sequence[int | None]) -> str:
    """`, search 0` or `, searches 0 and 2`, after a place; empty where a cell has one search."""
    known = [str(search) for search in searches if search is not None]
    return f", search{'es' if len(known) > 1 else ''} {listed(known)}" if known else ""


def _beyond(evidence: Evidence, cell: Cell, trials: Sequence[Row]) -> list[Row]:
    """Those of a cell's trials that its searches made beyond the edges of their ranges."""
    if not evidence.study.search.widenings:
        return []
    within = evidence.study.trials_of(evidence.study.arm(cell[0]))
    return [trial for trial in trials if trial["trial"] >= within]


def _chosen(evidence: Evidence, cell: Cell, trials: Sequence[Row]) -> tuple[Space, dict[str, Any]]:
    """What a search has searched in, with what it tried beyond, and the best values: while it goes on, those so far."""
    space = evidence.study.search.space_of(evidence.study.arm(cell[0]))
    tried = [_values(space, trial) for trial in _beyond(evidence, cell, trials)]
    scored = [trial for trial in trials if not math.isnan(_score(trial))]
    best = max(scored, key=lambda trial: (_score(trial), bool(trial["chosen"])), default={})
    return widened(space, [values for values in tried if len(values) == len(space)]), _values(space, best)


def _values(space: Space, trial: Row) -> dict[str, Any]:
    found = {name: trial.get(f"p.{name}") for name in sorted(space)}
    return {name: value for name, value in found.items() if value is not None and not pd.isna(value)}


def _left_behind(evidence: Evidence, cell: Cell, ranges: Space) -> list[str]:
    """Names of the parameters whose range a search has widened."""
    space = evidence.study.search.space_of(evidence.study.arm(cell[0]))
    return [name for name in sorted(space) if ranges[name] != space[name]]


def _searched_on(evidence: Evidence) -> Iterator[str]:
    """Which arms had further trials beyond the edges of ranges."""
    told: dict[Cell, tuple[int, dict[str, None]]] = {}
    for cell, _, trials in _searches(evidence):
        if more := len(_beyond(evidence, cell, trials)):
            before, names = told.get(cell, (0, {}))
            ranges, _ = _chosen(evidence, cell, trials)
            told[cell] = before + more, names | dict.fromkeys(_left_behind(evidence, cell, ranges))
    if told:
        arms = listed(f"{place(cell)} {counted(more, 'trial')} ({', '.join(of)})" for cell, (more, of) in told.items())
        yield f"Searches whose best value lay on an edge of its range went on beyond it, by the same rule: {arms}."


def _within_searches(evidence: Evidence, cell: Cell, ranges: Space) -> list[tuple[float, dict[str, Any]]]:
    """Scores and values of a cell's trials; of several searches each score less the mean of its search's.

    Searches have splits of their own, which differ by more than settings do.
    """
    found = []
    for of_cell, _, trials in _searches(evidence):
        scored = [trial for trial in trials if of_cell == cell and not math.isnan(_score(trial))]
        mean = sum(map(_score, scored)) / max(1, len(scored))
        found += [(_score(trial) - mean, _values(ranges, trial)) for trial in scored]
    return found


def _edges(evidence: Evidence) -> Iterator[str]:
    """Values on an edge of their range, where the recipe or model takes values beyond it."""
    found: dict[tuple[Cell, str, str], list[tuple[int | None, str]]] = {}
    for cell, search, trials in _searches(evidence):
        arm = evidence.study.arm(cell[0])
        own = Setting(arm.model, evidence.study.recipe_of(arm))
        ranges, values = _chosen(evidence, cell, trials)
        for name in at_edge(ranges, values):
            if beyond(own, {name: ranges[name]}, values, 1):
                within = ranges[name]
                assert isinstance(within, LogUniform | Uniform)
                ends = f"[{plain(within.low, 6)}, {plain(within.high, 6)}]"
                found.setdefault((cell, name, ends), []).append((search, plain(values[name])))
    for (cell, name, ends), on_edge in found.items():
        searches, numbers = zip(*on_edge, strict=True)
        lies = "lies on the edge of its range" if len(numbers) == 1 else "lie on the edge of their range"
        told = f"the chosen {name} {listed(numbers)} {lies} {ends}; widen the range and search again."
        yield f"{place(cell)}{_which(searches)}: {told}"


def _short_trials(evidence: Evidence, longest: Mapping[Cell, int]) -> Iterator[str]:
    """By how much trials were shorter than trainings, where that is more than half."""
    shares = {}
    for cell, images in longest.items():
        seen = [number(evidence.rows[cell][seed]["images_seen"]) for seed in evidence.completed(cell)]
        if known := [of for of in seen if of > 0]:
            shares[cell] = images / max(known)
    if shares and (least := min(shares.values())) < SHORT_TRIAL:
        where = place(min(shares, key=shares.__getitem__))
        yield (
            f"Trials saw as little as 1/{1 / least:.0f} of the images that a training sees ({where}): the best setting "
            "of short trainings need not be that of long ones."
        )


def _unmoved(evidence: Evidence) -> Iterator[str]:
    """How many searches have left the recipe's own setting as it was, where most did."""
    left = []
    for _, _, trials in _searches(evidence):
        own = [_score(trial) for trial in trials if trial["trial"] == 0]
        others = [_score(trial) for trial in trials if trial["trial"] != 0 and not math.isnan(_score(trial))]
        if own and others:
            left.append(own[0] > max(others))
    if 2 * sum(left) > len(left):
        told = "every trial was worse than the recipe's own setting, which was then trained"
        shared = share_first_trial(evidence.study, evidence.records.trials)
        how = ". Its trial, one for all searches of an arm, had another seed than most of theirs" if shared else ""
        yield f"In {sum(left):,} of {counted(len(left), 'search')} {told}{how}."


def _outermost(evidence: Evidence) -> Iterator[str]:
    """Parameters whose best value is the outermost that was tried, where accuracy rises towards it; no edges."""
    found: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell, trials in evidence.searches.items():
        ranges, _ = _chosen(evidence, cell, trials)
        scored = _within_searches(evidence, cell, ranges)
        best = max(scored, key=lambda each: each[0], default=(0.0, {}))[1]
        for name in best.keys() - set(at_edge(ranges, best)):
            known = [(score, float(of[name])) for score, of in scored if isinstance(of.get(name), int | float)]
            tried = [value for _, value in known]
            if len(set(tried)) >= FEWEST_TRIED and best[name] in (min(tried), max(tried)):
                order = float(stats.spearmanr([score for score, _ in known], tried).statistic)
                if abs(order) >= CLEAR_ORDER and (order > 0) == (best[name] == max(tried)):
                    found[(name, "higher" if order > 0 else "lower")].append(cell)
    for (name, way), cells in sorted(found.items()):
        total = counted(len(evidence.searches), "arm") + (" and sizes" if evidence.study.train_sizes else "")
        who = listed(map(place, cells)) if len(cells) <= MOST_NAMED else f"{len(cells):,} of {total}"
        end = "highest" if way == "higher" else "lowest"
        yield (
            f"The {way} the {words(name)}, the better the trials of {who}, up to the {end} that was tried: the best "
            "may lie beyond it."
        )
