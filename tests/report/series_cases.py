"""Simulated studies with series of arms, partners other than the baseline, and tests on moved images."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from report_cases import NAN, make_study, simulate

from harness.analysis.assemble import shifts_table
from harness.analysis.evidence import evidence_of
from harness.analysis.findings import CROSSOVER_COLUMNS, FRONTIER_COLUMNS, SLOPE_COLUMNS
from harness.records.run_table import SHIFT_COLUMNS, with_columns
from harness.spec import Arm, GapShrinks, ResNetSpec, ViTSpec

SIZES = (1_000, 3_000, 10_000, 30_000, 60_000)
LONG = "with a rather long name that goes on and on to sixty letters"


def make_series(
    names=("ResNet-8", "ViT/4"),
    levels=(0.0, 0.25, 0.5, 0.75, 1.0),
    *,
    beside=("pixels moved",),
    sizes=(),
    shifts=(),
    factor="share_of_patches_moved",
):
    """Two series that are compared with each other level by level, the first with the baseline; arms beside them."""
    first, second = names
    resnets, vits = [], []
    for place, level in enumerate([*levels, *beside]):
        told = f"{level:g} moved" if isinstance(level, float) else level
        in_series = isinstance(level, float)
        resnets.append(
            Arm(
                first if place == 0 else f"{first}, {told}",
                ResNetSpec(depth=8, width=8 + place),
                level=level,
                series=first if in_series else None,
            )
        )
        vits.append(
            Arm(
                f"{second}, {told}",
                ViTSpec(patch_size=4, width=8 + 8 * place, depth=1, heads=1),
                level=level,
                series=second if in_series else None,
                against=None if place == 0 else resnets[-1].name,
            )
        )
    claims = (
        GapShrinks(
            statement="The lead shrinks as patches are moved.",
            source="made up",
            leader=first,
            follower=second,
            along=factor,
            **({"train_size": "largest"} if sizes else {}),
        ),
    )
    study = replace(make_study(names=(), levels=(), sizes=sizes, claims=()), name="locality", factor=factor)
    return replace(study, baseline=resnets[0], arms=(*resnets[1:], *vits), claims=claims, test_shifts=shifts)


def moved_accuracy(arm, size):
    """The ResNet falls with the level and less so on many images; the ViT starts lower and gains more from data."""
    level = arm.level if isinstance(arm.level, float) else 1.2
    if isinstance(arm.model, ResNetSpec):
        return 0.93 - 0.9 * size**-0.3 - 0.09 * level
    return 0.925 - 2.1 * size**-0.35 - 0.01 * level


def with_gaps(records, findings, series, other, *, levels, sizes=()):
    """Findings with crossings and slopes along the factor, at some training sizes, and a frontier over all."""
    factor = records.study.factor
    span = levels[-1] - levels[0]
    crossovers, slopes = [findings.crossovers.assign(along="train_size", train_size=pd.NA)], []
    for place, size in enumerate(sizes or (pd.NA,)):
        middle = levels[0] + span * (0.75 - 0.13 * place) if place < 4 else NAN
        row = {
            "arm": series,
            "baseline": other,
            "along": factor,
            "train_size": size,
            "crossing": middle,
            "ci_low": middle - 0.1 * span,
            "ci_high": middle + 0.1 * span,
            "smallest": levels[0],
            "largest": levels[-1],
            "statement": f"{series} overtakes {other} at {middle:.2f}." if place < 4 else "No crossing is shown.",
        }
        crossovers.append(pd.DataFrame([row]))
        slopes.append({**row, "slope": 0.05, "ci_low": 0.03, "ci_high": 0.07})
    frontier = [
        {
            "arm": series,
            "baseline": other,
            "level": level,
            "train_size": 20_000 * 0.5**place if 0 < place < 4 else NAN,
            "ci_low": 15_000 * 0.5**place if 0 < place < 4 else NAN,
            "ci_high": 30_000 * 0.5**place if 0 < place < 4 else NAN,
            "statement": f"At {level:g} {series} overtakes at {20_000 * 0.5**place:,.0f} images.",
        }
        for place, level in enumerate(levels if sizes else ())
    ]
    return replace(
        findings,
        crossovers=pd.concat([frame for frame in crossovers if len(frame)])[list(CROSSOVER_COLUMNS)],
        slopes=pd.DataFrame(slopes, columns=list(SLOPE_COLUMNS)),
        frontier=pd.DataFrame(frontier, columns=list(FRONTIER_COLUMNS)),
    )


def with_shifts(records, findings):
    """Each completed run tested on moved images, too: a loss that grows with the shift, more so for a ViT."""
    rng = np.random.default_rng(1)
    rows = []
    for run in records.runs[records.runs["status"] == "completed"].to_dict("records"):
        harm = 0.02 if run["arm"].startswith("ViT") else 0.008
        for shift in (0, *records.study.test_shifts):
            loss = harm * shift + (rng.normal(0, 0.003) if shift else 0)
            kept = {name: run[name] for name in ("arm", "train_size", "seed", "digest")}
            rows.append(
                kept | {"shift": shift, "test_accuracy": run["test_accuracy"] - loss, "agreement": 1 - 1.5 * abs(loss)}
            )
    records = replace(records, shifts=with_columns(rows, SHIFT_COLUMNS))
    return records, replace(findings, shifts=shifts_table(evidence_of(records)))


@cache
def two_series():
    levels = (0.0, 0.25, 0.5, 0.75, 1.0)
    records, findings = simulate(make_series(levels=levels, shifts=(1, 2, 4)), accuracy_of=moved_accuracy)
    return with_shifts(records, with_gaps(records, findings, "ViT/4", "ResNet-8", levels=levels))


@cache
def two_series_by_size():
    levels = (0.0, 0.25, 0.5, 0.75, 1.0)
    study = make_series(levels=levels, sizes=SIZES, shifts=(1, 2))
    unfinished = {("ViT/4, 0.5 moved", 1_000): ("diverged", "completed", "diverged")}
    records, findings = simulate(study, sizes=SIZES, accuracy_of=moved_accuracy, unfinished=unfinished)
    return with_shifts(records, with_gaps(records, findings, "ViT/4", "ResNet-8", levels=levels, sizes=SIZES))


@cache
def many_long_series():
    """Long names, seven levels and five sizes, arms beside the series."""
    levels = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    names = (f"ResNet {LONG}", f"ViT {LONG}")
    study = make_series(
        names,
        levels,
        beside=tuple(f"level in words, number {i}" for i in range(3)),
        sizes=SIZES,
        shifts=(1, 2, 3, 5),
        factor="factor_" + LONG.replace(" ", "_"),
    )
    records, findings = simulate(study, sizes=SIZES)
    return with_shifts(records, with_gaps(records, findings, names[1], names[0], levels=levels, sizes=SIZES))


@cache
def long_series():
    """The same at one training size, with twelve arms."""
    levels = (1.0, 2.0, 4.0, 8.0)
    names = (f"ResNet {LONG}", f"ViT {LONG}")
    study = make_series(names, levels, beside=("first level in words", "second level in words"), shifts=(1, 2, 3))
    records, findings = simulate(study)
    return with_shifts(records, with_gaps(records, findings, names[1], names[0], levels=levels))


@cache
def depths():
    """Four series against a baseline outside them; deep post-norm without warm-up diverges."""
    kinds = ("pre-norm", "post-norm", "pre-norm, no warm-up", "post-norm, no warm-up")
    arms = tuple(
        Arm(
            f"{kind}, {depth} blocks",
            ViTSpec(patch_size=4, width=8 * (1 + place), depth=depth, heads=1),
            level=depth,
            series=kind,
        )
        for place, kind in enumerate(kinds)
        for depth in (2, 4, 8, 12)
    )
    study = replace(make_study(names=(), levels=(), claims=()), name="norm", factor="depth", arms=arms)
    unfinished = {
        ("post-norm, no warm-up, 8 blocks", 55_000): ("diverged", "completed", "diverged"),
        ("post-norm, no warm-up, 12 blocks", 55_000): ("diverged",) * 3,
        ("post-norm, 12 blocks", 55_000): ("completed", "diverged"),
    }

    def accuracy_of(arm, size):
        if arm.series is None:
            return 0.89
        return 0.84 + 0.01 * np.log2(arm.level) * (1 if arm.series.startswith("pre") else -0.5)

    return simulate(study, unfinished=unfinished, accuracy_of=accuracy_of)


@cache
def partners():
    """No series, but arms that are compared with another one than the baseline."""
    study = make_study(names=("ResNet, plain", "ViT, plain", "ViT, mixed"), levels=(None,) * 3)
    arms = (study.arms[0], study.arms[1], replace(study.arms[2], against="ViT, plain"))
    return simulate(replace(study, arms=arms))


@cache
def ladder():
    """Each arm but the first compared with the one below it."""
    rungs = ("ViT, bare", "ViT + warm-up", "ViT + shift and flip", "ViT + erasing", "ViT + stochastic depth")
    study = make_study(names=rungs, levels=(None,) * len(rungs))
    first, *others = study.arms
    return simulate(
        replace(study, arms=(first, *(replace(arm, against=below) for arm, below in zip(others, rungs, strict=False))))
    )


@cache
def partners_by_size():
    study = make_study(names=("ResNet, plain", "ViT, plain", "ViT, mixed"), levels=(None,) * 3, sizes=SIZES)
    arms = (study.arms[0], study.arms[1], replace(study.arms[2], against="ViT, plain"))
    return simulate(replace(study, arms=arms), sizes=SIZES)


def conditions_by_size():
    """Two models on images as they are and with patches and pixels moved, against the ResNet or itself."""
    study = make_study(names=("ViT",), levels=(None,), sizes=SIZES)
    moved = {", half moved": (0.5, 7), ", moved": (1.0, 7), ", pixels moved": (1.0, 1)}
    changes = {how: {"data.moved_share": share, "data.moved_patch": patch} for how, (share, patch) in moved.items()}
    resnet, vit = replace(study.baseline, name="ResNet"), study.arms[0]
    arms = [replace(vit, name="ViT" + how, against="ResNet" + how, changes=changes[how]) for how in moved]
    arms += [replace(resnet, name="ResNet" + how, changes=changes[how]) for how in moved]
    return simulate(replace(study, baseline=resnet, arms=(vit, *arms), claims=()), sizes=SIZES)


def shifted_by_size():
    """Tests on moved images, at several training sizes, of a study without series."""
    study = make_study(names=("ViT/7", "ViT/4"), levels=(None, None), sizes=SIZES, test_shifts=(1, 3))
    return with_shifts(*simulate(study, sizes=SIZES))


SERIES_CASES = {
    case.__name__: case
    for case in (
        two_series,
        two_series_by_size,
        many_long_series,
        long_series,
        depths,
        partners,
        ladder,
        partners_by_size,
        conditions_by_size,
        shifted_by_size,
    )
}
