"""The whole analysis of a study: records in, findings out."""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import learning, tuning
from harness.analysis.along import crossings_on_both_tasks, frontier_table, tables_along
from harness.analysis.answer import answer, best_arms, level_arms, main_figure, reworded, unit_of_levels
from harness.analysis.cells import few_shot_of, measured
from harness.analysis.class_accuracy import by_class
from harness.analysis.estimate import FEWEST_SEEDS, MeanEstimate, estimate_mean
from harness.analysis.evidence import Evidence, evidence_of
from harness.analysis.findings import ARM_COLUMNS, FEW_SHOT_COLUMNS, SHIFT_COLUMNS, Findings, frame
from harness.analysis.fronts import fronts_table
from harness.analysis.judging import claims_table
from harness.analysis.learning import laws_table
from harness.analysis.patches import patches_table
from harness.analysis.wording import Cell, listed, place
from harness.records.data_facts import of_provenance
from harness.records.run_table import StudyRecords
from harness.spec.formats import count, counted, plain

_SPEEDS = ("train_images_per_second", "eval_images_per_second", "peak_memory_bytes", "train_seconds")
"""Told of completed runs only: an unfinished run's would mislead."""

_DIGITS = "numbers may differ in their last digits"
UNEVEN_SPEEDS = 1.5  # of the fastest run of an arm to the slowest: from there on speeds are told to be rough

_CONDITIONS = {
    "numerics": "by training code of different numerics ({}), and may not be comparable",
    "torch": f"with torch {{}}; {_DIGITS}",
    "threads": f"with {{}} threads per run; images/s are not comparable, and {_DIGITS}",
    "cards_per_run": f"over {{}} cards per run; images/s are not comparable, and {_DIGITS}",
    "deterministic": f"with and without deterministic kernels; images/s are not comparable, and {_DIGITS}",
    "cpu": f"on several processors ({{}}); images/s are not comparable, and {_DIGITS}",
}
"""Of the provenance, which has the values of all trainings together: what is told where there are several."""


def analyse(records: StudyRecords, *, seed: int = 0) -> Findings:
    """Every number of a report, from whatever part of the study is there.

    Nothing is drawn at random but by claims of a study file's own kinds: `seed` is the root of their generators.
    """
    evidence = evidence_of(records, seed=seed)
    cautions, claims = learning.learning_cautions(evidence), claims_table(evidence)
    crossovers, slopes = tables_along(evidence)
    answered = answer(evidence, cautions)
    not_learned = (f"{place(cell)}: {'; '.join(clauses)}." for cell, clauses in cautions.items())
    return Findings(
        arms=frame([_arm_row(evidence, cell, cautions.get(cell, ())) for cell in evidence.rows], ARM_COLUMNS),
        comparisons=evidence.comparisons,
        claims=claims,
        crossovers=crossovers,
        laws=laws_table(evidence),
        slopes=slopes,
        budget=tuning.budget_table(evidence),
        audit=tuning.audit_table(evidence),
        gaps=tuple(
            f"{place(cell)}: {len(evidence.completed(cell))} of {counted(len(evidence.seeds_at(cell[1])), 'seed')} "
            f"completed; {'; '.join(lost)}."
            for cell in evidence.rows
            if (lost := evidence.unfinished(cell))
        ),
        warnings=(
            *not_learned,
            *_limited(evidence),
            *learning.mixture_warnings(evidence),
            *filter(None, [reworded(evidence.study)]),
            *_conditions(evidence),
            *tuning.tuning_warnings(evidence),
        ),
        answer=answered.text,
        numbers=answered.numbers,
        finding=answered.finding,
        answer_arms=answered.arms,
        effect=answered.effect,
        main_figure=main_figure(evidence.study),
        unit=unit_of_levels(evidence.study),
        level_with_best=level_arms(evidence) if answered.conclusive else (),
        fronts=fronts_table(evidence),
        best=best_arms(evidence) if answered.conclusive else "",
        conclusive=answered.conclusive,
        frontier=frontier_table(evidence),
        shifts=shifts_table(evidence),
        patches=patches_table(evidence),
        few_shots=few_shots_table(evidence),
        few_shot_crossings=tuple(crossings_on_both_tasks(evidence)),
        by_class=by_class(evidence, answered.arms, conclusive=answered.conclusive),
        main_factor_sizes=evidence.study.train_sizes,
    )


def _arm_row(evidence: Evidence, cell: Cell, cautions: Sequence[str]) -> dict[str, Any]:
    arm, states = evidence.study.arm(cell[0]), evidence.states(cell)
    counts = {status: len(seeds) for status, seeds in states.items()}
    return {
        "arm": arm.name,
        "is_baseline": arm == evidence.study.baseline,
        "level": arm.level,
        "train_size": evidence.train_size(cell),
        "planned": sum(counts.values()),
        **counts,
        **_numbers(evidence.contrast({cell: 1.0})),
        "n": counts["completed"],
        **{name: evidence.median(cell, name) for name in ("validation_accuracy", *_SPEEDS)},
        **{name: evidence.median(cell, name, evidence.rows[cell]) for name in ("params", "macs_per_image")},
        "caution": "; ".join(cautions),
        **vars(evidence.limit(cell)),
    }


def shifts_table(evidence: Evidence) -> pd.DataFrame:
    """SHIFT_COLUMNS of the completed planned runs."""
    rows, shifts = [], evidence.records.shifts
    for cell in evidence.rows:
        names = {"arm": cell[0], "train_size": evidence.train_size(cell)}
        for shift, group in shifts[shifts["digest"].isin(evidence.digests(cell))].groupby("shift"):
            for metric in ("test_accuracy", "agreement"):
                known = group[group[metric].notna()].sort_values("seed")
                seeds, values = tuple(known["seed"].astype(int)), known[metric].to_numpy(dtype=np.float64)
                found = estimate_mean(seeds, values, replicates=evidence.replicates(seeds), level=evidence.level)
                rows.append({**names, "shift": shift, "metric": metric, **_numbers(found)})
    return frame(rows, SHIFT_COLUMNS)


def few_shots_table(evidence: Evidence) -> pd.DataFrame:
    """FEW_SHOT_COLUMNS of the planned runs: no rows where the study asks for no other task."""
    rows, asked = list[dict[str, Any]](), evidence.study.few_shot
    if asked is None:
        return frame(rows, FEW_SHOT_COLUMNS)
    for (name, size), shots in product(evidence.rows, asked.shots):
        metric = few_shot_of(shots, asked)
        found = _numbers(evidence.contrast({(name, size): 1.0}, metric))
        if (other := evidence.against.get(name)) is not None:
            lead = evidence.difference(name, other, size, metric)
            found |= {"difference": lead.value, "difference_low": lead.ci_low, "difference_high": lead.ci_high}
        rows.append({"arm": name, "train_size": evidence.train_size((name, size)), "shots": shots, **found})
    return frame(rows, FEW_SHOT_COLUMNS)


def _limited(evidence: Evidence) -> Iterator[str]:
    """A sentence for each training size at which the number of updates limits arms, as their losses show."""
    for size in evidence.sizes:
        limits = {arm.name: evidence.limit((arm.name, size)) for arm in evidence.study.all_arms}
        known = {arm: limit for arm, limit in limits.items() if math.isfinite(limit.train_loss + limit.validation_loss)}
        found = {arm: limit for arm, limit in known.items() if limit.limited_by_updates}
        if found:
            who, its, told = f"{len(found)} arms are", "their", "; ".join(f"{arm} ({of})" for arm, of in found.items())
            if len(found) == 1:
                (arm, limit), its = *found.items(), "its"
                who, told = f"{arm} is", str(limit)
            where = "" if size is None else f"At {counted(size, 'image')} "
            yield f"{where}{who} limited by {its} updates, not by {its} data: {told}."


def _numbers(found: MeanEstimate) -> dict[str, float]:
    """Number, mean, standard deviation and interval of a share, which lies between 0 and 1."""
    low, high = (float(np.clip(end, 0.0, 1.0)) for end in (found.ci_low, found.ci_high))
    return {"n": found.n, "mean": found.value, "sd": found.sd, "ci_low": low, "ci_high": high}


def _conditions(evidence: Evidence) -> Iterator[str]:
    """What limits the numbers as a whole, or was not the same for all, a sentence each."""
    seeds = evidence.fewest_seeds(evidence.rows)
    if seeds < FEWEST_SEEDS:
        yield f"Only {counted(seeds, 'seed')} per arm: intervals and verdicts need at least {FEWEST_SEEDS}."
    answers = [row for cell in evidence.rows for row in evidence.predictions(cell)]
    if lacking := sum(row is None for row in answers):
        yield (
            f"Predictions are missing for {lacking:,} of {counted(len(answers), 'completed run')}: intervals with "
            "those runs rest on the seeds only and leave out the choice of test images."
        )
    for facts in of_provenance(evidence.records.provenance):
        yield from facts.cautions()
    yield from _mixtures(evidence)
    for key, told in _CONDITIONS.items():
        values = str(evidence.records.provenance.get(key, "")).split(", ")
        if len(values) > 1:
            yield f"The runs were made {told.format('; '.join(values) if key == 'cpu' else listed(values))}."
    seen = {
        cell: np.unique(measured(evidence.values(cell, "images_seen"))).astype(int).tolist() for cell in evidence.rows
    }
    yield from tuning.unequal_images(
        evidence, seen, "arms were trained on different numbers of images in the confirm runs"
    )
    yield from _uneven_speeds(evidence)


def _uneven_speeds(evidence: Evidence) -> Iterator[str]:
    """By how much the runs of one arm differ in speed, where that is more than times are worth."""
    ratios = {}
    for cell in evidence.rows:
        speeds = measured(evidence.values(cell, "train_images_per_second"))
        if len(speeds) > 1 and speeds.min() > 0:
            ratios[cell] = (float(speeds.max() / speeds.min()), float(speeds.min()), float(speeds.max()))
    if ratios and (worst := max(ratios, key=lambda cell: ratios[cell][0])):
        ratio, low, high = ratios[worst]
        if ratio >= UNEVEN_SPEEDS:
            told = f"{place(worst)}: {count(low)} to {count(high)} images/s"
            yield (
                f"Runs of one arm differ in speed by up to {plain(ratio, 2)} times ({told}), as on a busy machine: "
                "times and speeds compare arms only roughly."
            )


def _mixtures(evidence: Evidence) -> Iterator[str]:
    """A sentence each for several devices or precisions among confirm runs and trials that did not fail.

    Arms that ask for different precisions themselves are compared with those that ask for the same one.
    """
    study = evidence.study
    made = pd.concat([evidence.runs.assign(kind="confirm run"), evidence.trials.assign(kind="trial")])
    asked = {arm.name: study.recipe_of(arm).precision for arm in study.all_arms}
    for column, groups in (("device", dict.fromkeys(asked, "")), ("precision", asked)):
        known = made[(made["status"] != "failed") & (made[column].fillna("") != "")]
        known = known.assign(value=known[column], group=known["arm"].map(groups))
        if not known.drop_duplicates(["group", "value"])["group"].duplicated().any():
            continue
        told = []
        for value, of_value in known.groupby("value"):
            numbers = ((noun, int((of_value["kind"] == noun).sum())) for noun in ("confirm run", "trial"))
            told.append(f"{value} ({listed(counted(number, noun) for noun, number in numbers if number)})")
        yield (
            f"The results were made with {counted(len(told), column)}: {listed(told)}; images/s and memory are not "
            f"comparable between arms, and settings that were chosen with one {column} may not suit another."
        )
