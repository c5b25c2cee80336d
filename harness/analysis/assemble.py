"""The whole analysis of a study: records in, findings out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.answer import answer
from harness.analysis.conditions import condition_warnings
from harness.analysis.crossover import frontier_table, tables_along
from harness.analysis.estimate import over_seeds
from harness.analysis.evidence import MISSING, Evidence, evidence_of, median_of
from harness.analysis.findings import ARM_COLUMNS, SHIFT_COLUMNS, Findings, frame
from harness.analysis.judging import claims_table
from harness.analysis.laws import laws_table
from harness.analysis.learning import doubtful, learning_cautions
from harness.analysis.tuning import audit_table, budget_table, tuning_warnings
from harness.analysis.wording import Cell, of_seeds, place
from harness.records.run_table import StudyRecords
from harness.records.runs import STATUSES
from harness.spec.plural import counted

_MEDIANS = (
    "validation_accuracy",
    "train_images_per_second",
    "eval_images_per_second",
    "peak_memory_bytes",
    "train_seconds",
)
"""Told of completed runs only: an unfinished run's would mislead."""


def analyse(records: StudyRecords, *, seed: int = 0, resamples: int = 2000) -> Findings:
    """Every number of a report, from whatever part of the study is there.

    `seed` is the root of all randomness: each comparison draws from a generator of its own, derived from the seed and
    the names compared, so neither the order of rows and arms nor a further arm moves an interval, and the same seed
    gives the same bytes. `resamples` is the number of bootstrap draws of test images and of crossover curves.
    """
    evidence = evidence_of(records, seed=seed, resamples=resamples)
    cautions = learning_cautions(evidence)
    crossovers, slopes = tables_along(evidence)
    not_learned = (f"{place(cell)}: {'; '.join(clauses)}." for cell, clauses in cautions.items())
    return Findings(
        arms=frame([_arm_row(evidence, cell, cautions.get(cell, ())) for cell in evidence.rows], ARM_COLUMNS),
        comparisons=evidence.comparisons,
        claims=claims_table(evidence),
        crossovers=crossovers,
        laws=laws_table(evidence),
        slopes=slopes,
        budget=budget_table(evidence),
        audit=audit_table(evidence),
        gaps=tuple(filter(None, (_gap(evidence, cell) for cell in evidence.rows))),
        warnings=(*not_learned, *condition_warnings(evidence), *tuning_warnings(evidence)),
        answer=f"{answer(evidence)}{doubtful(cautions)}",
        frontier=frontier_table(evidence),
        shifts=shifts_table(evidence),
        main_factor_sizes=evidence.study.train_sizes,
    )


def _arm_row(evidence: Evidence, cell: Cell, cautions: Sequence[str]) -> dict[str, Any]:
    study = evidence.study
    arm, states = study.arm(cell[0]), [evidence.state(cell, seed) for seed in study.seeds]
    accuracy = _over_known(evidence.values(cell, "test_accuracy"))
    return {
        "arm": arm.name,
        "is_baseline": arm.name == study.baseline.name,
        "level": arm.level,
        "train_size": evidence.train_size(cell),
        "planned": len(states),
        **accuracy,
        "n": states.count("completed"),
        **{name: median_of(evidence.values(cell, name)) for name in _MEDIANS},
        **{name: evidence.cost_of_model(cell, name) for name in ("params", "macs_per_image")},
        **{status: states.count(status) for status in (*STATUSES[1:], MISSING)},
        "caution": "; ".join(cautions),
    }


def _over_known(values: Any) -> dict[str, float]:
    """Number, mean, standard deviation and interval (Student's t) of the values over seeds that are measured."""
    known = values[np.isfinite(values)]
    found = over_seeds(tuple(range(len(known))), known)
    return {"n": found.n, "mean": found.value, "sd": found.sd, "ci_low": found.ci_low, "ci_high": found.ci_high}


def _gap(evidence: Evidence, cell: Cell) -> str:
    """Which planned runs of a cell did not complete, in a sentence; empty where all did."""
    lost = evidence.unfinished(cell)
    if not lost:
        return ""
    done, planned = len(evidence.completed(cell)), len(evidence.study.seeds)
    first, *others = (f"{of_seeds(seeds)} {status}" for status, seeds in lost.items())
    return f"{place(cell)}: {done} of {counted(planned, 'seed')} completed; {'; '.join((first, *others))}."


def shifts_table(evidence: Evidence) -> pd.DataFrame:
    """SHIFT_COLUMNS of the completed planned runs."""
    rows = []
    shifts = evidence.records.shifts
    for cell in evidence.rows:
        for shift, group in shifts[shifts["digest"].isin(evidence.digests(cell))].groupby("shift"):
            for metric in ("test_accuracy", "agreement"):
                values = _over_known(group[metric].to_numpy(dtype=np.float64, na_value=np.nan))
                rows.append(
                    {"arm": cell[0], "train_size": evidence.train_size(cell), "shift": shift, "metric": metric} | values
                )
    return frame(rows, SHIFT_COLUMNS)
