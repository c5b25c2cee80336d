"""Simulated records and findings: small frames made by hand, with no training and no analysis."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.analysis.findings import CLAIM_COLUMNS, COMPARISON_COLUMNS, Findings
from harness.records.run_table import CURVE_COLUMNS, RUN_COLUMNS, TRIAL_COLUMNS, StudyRecords, with_columns
from harness.spec import (
    Arm,
    Better,
    CostGrows,
    DataSpec,
    Monotone,
    Recipe,
    ResNetSpec,
    ResolvedStudy,
    ViTSpec,
)

NAN = float("nan")
PROVENANCE = {
    "command": "make study NAME=patch_size SCALE=laptop",
    "created": "2025-06-01T12:00:00Z",
    "git_revision": "0123456789abcdef",
    "git_dirty": True,
    "python": "3.11.2",
    "torch": "2.9.0",
    "cpu": "Simulated CPU <2 GHz>",
    "cores": 2,
    "wall_seconds": 301.5,
    "data_source": "fashion_mnist",
    "data_hash": "ab" * 32,
    "code_fingerprint": "cd" * 32,
    "precision": "bf16",
}


def make_study(names=("ViT/14", "ViT/7", "ViT/4"), levels=(14.0, 7.0, 4.0), *, sizes=(), claims=None, seeds=3, **more):
    arms = tuple(
        Arm(name, ViTSpec(patch_size=7, width=64 + 2 * i, depth=4, heads=2), level=level)
        for i, (name, level) in enumerate(zip(names, levels, strict=True))
    )
    if claims is None:
        claims = (
            Better(
                statement="The ResNet is ahead on small data.",
                source="arXiv 2010.11929, Fig. 4",
                conditions="9M images | pre-training",
                arm="ResNet-8",
                than=names[0],
            ),
        )
    return ResolvedStudy(
        name="patch_size",
        scale="laptop",
        question="Do smaller patches help, and what do they cost?",
        source="arXiv 2010.11929, Fig. 8",
        factor="patch_size",
        data=DataSpec(),
        recipe=Recipe(updates=100),
        baseline=Arm("ResNet-8", ResNetSpec(depth=8)),
        arms=arms,
        train_sizes=tuple(sizes),
        seeds=tuple(range(seeds)),
        claims=claims,
        **more,
    )


def true_accuracy(place, size):
    """Of the arm at a place (0 is the baseline): arms with higher place gain more from data."""
    return 0.93 - 0.004 * place - (0.5 + 0.12 * place) * size ** -(0.28 + 0.03 * (place % 4))


def simulate(study, *, sizes=(), unfinished=None, evaluations=8, accuracy_of=None):
    """Records and findings that agree with each other; `unfinished` gives statuses of first seeds by (arm, size).

    `accuracy_of(arm, size)` is the true accuracy, by the arm's place where it is not given.
    """
    rng = np.random.default_rng(0)
    unfinished = unfinished or {}
    runs, curves, arms = [], [], []
    for size in sizes or (55_000,):
        for place, arm in enumerate(study.all_arms):
            statuses = unfinished.get((arm.name, size), ())
            accuracies = []
            macs = int(2e6 * 1.7 ** (place % 9)) + place
            for i, seed in enumerate(study.seeds):
                status = statuses[i] if i < len(statuses) else "completed"
                if status == "missing":
                    continue
                done = status == "completed"
                truth = true_accuracy(place, size) if accuracy_of is None else accuracy_of(arm, size)
                accuracy = float(np.clip(truth + rng.normal(0, 0.004), 0, 1)) if done else NAN
                accuracies += [accuracy] if done else []
                runs.append(_run(study, arm, place, seed, status=status, accuracy=accuracy, size=size, macs=macs))
                if done:
                    curves += [
                        _evaluation(arm, seed, size, e, evaluations, accuracy) for e in range(1, evaluations + 1)
                    ]
            arms.append(_arm_row(study, arm, size, accuracies, statuses, macs, place))
    records = StudyRecords(
        study=study,
        provenance=dict(PROVENANCE),
        runs=with_columns(runs, RUN_COLUMNS),
        trials=with_columns([], TRIAL_COLUMNS),
        curves=with_columns(curves, CURVE_COLUMNS),
    )
    return records, make_findings(study, arms, sizes)


def _run(study, arm, place, seed, *, status, accuracy, size, macs):
    return {
        "study": study.name,
        "scale": study.scale,
        "arm": arm.name,
        "is_baseline": place == 0,
        "level": arm.level,
        "train_size": size,
        "seed": seed,
        "status": status,
        "test_accuracy": accuracy,
        "macs_per_image": macs,
        "train_images_per_second": 4000 / (1 + place % 9) + 13 * seed,
        "digest": f"{arm.name}-{size}-{seed}",
        "p.learning_rate": 1e-3,
    }


def _evaluation(arm, seed, size, step, steps, accuracy):
    return {
        "arm": arm.name,
        "train_size": size,
        "seed": seed,
        "update": step * 100,
        "images_seen": step * 12_800,
        "validation_accuracy": accuracy * (1 - 0.4 * math.exp(-4 * step / steps)),
    }


def _arm_row(study, arm, size, accuracies, statuses, macs, place):
    n = len(accuracies)
    mean = float(np.mean(accuracies)) if n else NAN
    sd = float(np.std(accuracies, ddof=1)) if n > 1 else NAN
    half = 2.5 * sd / math.sqrt(n) if n > 2 else NAN
    return {
        "arm": arm.name,
        "is_baseline": arm == study.baseline,
        "level": arm.level,
        "train_size": size,
        "planned": len(study.seeds),
        "n": n,
        "mean": mean,
        "sd": sd,
        "ci_low": mean - half,
        "ci_high": mean + half,
        "validation_accuracy": mean,
        "params": 75_000 * (1 + place) if n else pd.NA,
        "macs_per_image": macs if n else NAN,
        "train_images_per_second": 4000 / (1 + place % 9) if n else NAN,
        "eval_images_per_second": 9000 / (1 + place % 9) if n else NAN,
        "peak_memory_bytes": 300 * 2**20 * (1 + place % 5) if n else pd.NA,
        "train_seconds": 23.0 * (1 + place % 9) if n else NAN,
        **{status: list(statuses).count(status) for status in ("diverged", "out_of_memory", "failed", "missing")},
        "passes": 100_000 / size if n else NAN,
        "train_loss": 0.25 if n else NAN,
        "validation_loss": 0.3125 if n else NAN,
        "limited_by_updates": size >= 50_000 if n else pd.NA,
    }


def make_findings(study, arms, sizes):
    frame = pd.DataFrame(arms)
    comparisons = []
    for size in sizes or (55_000,):
        of_size = {row["arm"]: row for row in arms if row["train_size"] == size}
        for arm in study.arms:
            row, base = of_size[arm.name], of_size[study.against(arm).name]
            difference = row["mean"] - base["mean"]
            half = 0.004 if min(row["n"], base["n"]) > 2 else NAN
            comparisons.append(
                {
                    "arm": row["arm"],
                    "baseline": base["arm"],
                    "train_size": size,
                    "n": min(row["n"], base["n"]),
                    "mean": row["mean"],
                    "sd": row["sd"],
                    "difference": difference,
                    "ci_low": difference - half,
                    "ci_high": difference + half,
                    "p_value": 0.0001,
                    "p_holm": 0.0003,
                    "probability_better": 0.25,
                    "smallest_detectable": 0.004,
                }
            )
    names = [arm.name for arm in study.arms] if sizes else []
    everyone = [arm.name for arm in study.all_arms]
    return Findings(
        arms=frame,
        comparisons=pd.DataFrame(comparisons, columns=list(COMPARISON_COLUMNS)),
        claims=pd.DataFrame(
            [
                {
                    "claim": f"{claim.type} {i}",
                    "kind": claim.kind,
                    "statement": claim.statement,
                    "source": claim.source,
                    "verdict": ("reproduced", "contradicted", "inconclusive")[(i - 1) % 3],
                    "estimate": 0.0123,
                    "ci_low": 0.004,
                    "ci_high": 0.02,
                    "p_value": NAN if claim.kind == "arithmetic" else 0.0004,
                    "lost_runs": 0,
                    "reason": "The difference is +1.23 points [+0.40, +2.00] over 3 paired seeds.",
                }
                for i, claim in enumerate(study.claims, 1)
            ],
            columns=list(CLAIM_COLUMNS),
        ),
        crossovers=pd.DataFrame(
            [
                {
                    "arm": name,
                    "baseline": study.against(study.arm(name)).name,
                    "crossing": 12_300.0 if i == 0 else NAN,
                    "ci_low": 8_000.0 if i == 0 else NAN,
                    "ci_high": 21_000.0 if i == 0 else NAN,
                    "smallest": sizes[0],
                    "largest": sizes[-1],
                    "statement": f"{name} overtakes at 12,300 images." if i == 0 else f"{name}: no crossing in range.",
                }
                for i, name in enumerate(names)
            ],
            columns=["arm", "baseline", "crossing", "ci_low", "ci_high", "smallest", "largest", "statement"],
        ),
        laws=pd.DataFrame(
            [
                {
                    "arm": name,
                    "a": 0.5 + 0.12 * i,
                    "b": 0.28 + 0.03 * (i % 4),
                    "c": 0.07 + 0.004 * i,
                    "d": 0.0,
                    "r2": 0.99,
                }
                for i, name in enumerate(everyone if sizes else [])
            ],
            columns=["arm", "a", "b", "c", "d", "r2"],
        ),
        slopes=pd.DataFrame(
            [
                {
                    "arm": name,
                    "baseline": study.against(study.arm(name)).name,
                    "slope": 0.021,
                    "ci_low": 0.01,
                    "ci_high": 0.03,
                }
                for name in names
            ],
            columns=["arm", "baseline", "slope", "ci_low", "ci_high"],
        ),
        budget=pd.DataFrame(
            [
                {
                    "arm": name,
                    "train_size": size,
                    "trials": k,
                    "expected_best": 0.8 + 0.003 * i - 0.1 / k,
                }
                for size in sizes or (55_000,)
                for i, name in enumerate(everyone)
                for k in range(1, 9)
            ]
        ),
        audit=pd.DataFrame(
            [
                {
                    "arm": name,
                    "train_size": size,
                    "search": pd.NA,
                    "trials": 8,
                    "beyond": 0,
                    "completed": 7,
                    "images": 512_000,
                    "best_validation_accuracy": 0.88,
                    "at_edge": "learning_rate" if i == 1 else "",
                    "widened": "",
                    "p.learning_rate": 3e-4,
                    "edge.learning_rate": 0.01 if i == 1 else 0.3,
                }
                for size in sizes or (55_000,)
                for i, name in enumerate(everyone)
            ]
        ),
        gaps=tuple(f"{row['arm']}: {row['n']} of {row['planned']} seeds." for row in arms if row["n"] < row["planned"]),
        warnings=("The best learning rate of ViT/7 lies on the edge of its range.",),
        answer="Smaller patches help: every halving gains +1.2 points [+0.4, +2.0].",
        main_factor_sizes=tuple(sizes),
    )


def single():
    return simulate(make_study())


def one_arm():
    return simulate(make_study(names=("ViT/7",), levels=(7.0,)))


def words_levels():
    names = ("no position", "learned 1-D", "sin-cos 2-D", "relative")
    return simulate(make_study(names=names, levels=names))


def thirty_numbers():
    return simulate(
        make_study(names=tuple(f"ViT-d{i}" for i in range(1, 31)), levels=tuple(float(i) for i in range(1, 31)))
    )


def long_names():
    names = tuple(f"ViT with a rather long name {i} that goes on and on to sixty".ljust(60, "x") for i in range(4))
    return simulate(make_study(names=names, levels=(1.0, 2.0, 4.0, 8.0)))


def thirty_long():
    names = tuple(f"a long name that differs in its middle only: {i:02d} and so on.." for i in range(30))
    return simulate(make_study(names=names, levels=tuple(None for _ in names)))


def odd_names():
    names = (
        "<script>alert(1)</script>",
        "视觉变换器 ViT",
        "محول الرؤية",
        "$x_1$ | *pipe* `tick`",
        "=SUM(A1)",
        "_hidden",
    )
    return simulate(make_study(names=names, levels=tuple(None for _ in names)))


def gaps():
    study = make_study(seeds=5)
    missing = {
        ("ViT/7", 55_000): ("diverged", "out_of_memory", "failed"),
        ("ViT/4", 55_000): ("missing",) * 5,
        ("ResNet-8", 55_000): ("missing",),
    }
    return simulate(study, unfinished=missing)


def nothing():
    study = make_study()
    unfinished = {(arm.name, 55_000): ("missing",) * 3 for arm in study.all_arms}
    records, findings = simulate(study, unfinished=unfinished)
    empty = findings.comparisons.assign(n=0)
    findings = replace(findings, comparisons=empty, budget=findings.budget.iloc[:0], audit=findings.audit.iloc[:0])
    return replace(records, provenance={}), replace(findings, answer="No run has finished, so there is no answer yet.")


def two_factors():
    sizes = (500, 2_000, 8_000, 55_000)
    study = make_study(names=("ViT/14", "ViT/7"), levels=(None, None), sizes=sizes)
    return simulate(study, sizes=sizes, unfinished={("ViT/7", 500): ("diverged",)})


def one_seed():
    """The least that can be drawn: one seed, one evaluation, the baseline without a result."""
    study = make_study(names=("ViT/7",), levels=(7.0,), seeds=1)
    return simulate(study, unfinished={("ResNet-8", 55_000): ("failed",)}, evaluations=1)


def two_factors_many():
    sizes = (500, 2_000, 8_000, 20_000, 55_000)
    names = tuple(f"ViT variant {i}" for i in range(12))
    return simulate(make_study(names=names, levels=(None,) * 12, sizes=sizes), sizes=sizes)


CASES = {
    case.__name__: case
    for case in (
        single,
        one_arm,
        words_levels,
        thirty_numbers,
        long_names,
        thirty_long,
        odd_names,
        gaps,
        one_seed,
        nothing,
        two_factors,
        two_factors_many,
    )
}


def more_claims():
    return (
        Monotone(
            statement="Smaller is better.",
            source="2010.11929 Fig. 8",
            metric="test_accuracy",
            along="patch_size",
            direction="down",
        ),
        CostGrows(statement="Smaller costs more.", source="2010.11929", along="patch_size", direction="down"),
    )
