"""Simulated studies whose truth is known.

A training of arm a with seed s is right on image i when
    theta_a + arm_seed_sd * u_as + v_i + w_ai + e_asi > 0,   all normal,
so that runs differ by seed, images by difficulty, arms by the images that they find hard, and repeated trainings by
chance. The probabilities over fresh seeds, with the same or with fresh images, then have closed forms.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from harness.analysis.estimate import MeanEstimate, estimate_mean
from harness.analysis.evidence import Evidence, evidence_of
from harness.analysis.judging import claims_table
from harness.records.run_table import CURVE_COLUMNS, RUN_COLUMNS, TRIAL_COLUMNS, StudyRecords, with_columns
from harness.spec import Arm, Claim, DataSpec, Recipe, ResNetSpec, ResolvedStudy, Search, ViTSpec


@dataclass(frozen=True, kw_only=True)
class World:
    seed_sd: float = 0.08
    image_sd: float = 1.5
    arm_image_sd: float = 0.4
    noise_sd: float = 0.5

    @property
    def total_sd(self) -> float:
        return float(np.sqrt(self.seed_sd**2 + self.image_sd**2 + self.arm_image_sd**2 + self.noise_sd**2))

    def theta(self, accuracy: float) -> float:
        """The ability that gives an accuracy over fresh seeds and images."""
        return float(stats.norm.ppf(accuracy)) * self.total_sd

    def runs(
        self, accuracies: tuple[float, ...], n: int, m: int, rng: np.random.Generator
    ) -> tuple[list[np.ndarray], list[float]]:
        """Per arm (n, m) correctness over seeds and common images, and the true accuracy on these very images."""
        difficulty = rng.normal(0, self.image_sd, m)
        fixed = float(np.hypot(self.seed_sd, self.noise_sd))
        correct, truth = [], []
        for accuracy in accuracies:
            ability = self.theta(accuracy) + difficulty + rng.normal(0, self.arm_image_sd, m)
            latent = ability + rng.normal(0, self.seed_sd, (n, 1)) + rng.normal(0, self.noise_sd, (n, m))
            correct.append(latent > 0)
            truth.append(float(stats.norm.cdf(ability / fixed).mean()))
        return correct, truth

    def draw(
        self, accuracies: tuple[float, float], n: int, m: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """(n, m) differences of correctness of two arms, and the true difference on these very images."""
        correct, truth = self.runs(accuracies, n, m, rng)
        return correct[0].astype(float) - correct[1], truth[0] - truth[1]


def estimates(
    world: World, accuracies: tuple[float, float], n: int, m: int, *, repeats: int, seed: int
) -> list[tuple[MeanEstimate, float]]:
    """Estimates from independent repetitions, each with the true difference on its own test images."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(repeats):
        images, truth = world.draw(accuracies, n, m, rng)
        found.append((estimate_mean(tuple(range(n)), images.mean(1), images), truth))
    return found


def study(
    arms: Mapping[str, float | None] | None = None,
    *,
    claims: tuple[Claim, ...] = (),
    seeds: int = 5,
    sizes: tuple[int, ...] = (),
    search: Search | None = None,
) -> ResolvedStudy:
    """A study of ViTs by name and level (patch size) against `ResNet-8`."""
    levels = {"ViT/14": 14.0, "ViT/7": 7.0} if arms is None else arms
    return ResolvedStudy(
        name="simulated",
        scale="laptop",
        question="What do smaller patches do?",
        source="none",
        factor="patch_size",
        data=DataSpec(),
        recipe=Recipe(updates=10),
        baseline=Arm("ResNet-8", ResNetSpec(depth=8)),
        arms=tuple(
            Arm(name, ViTSpec(patch_size=7, width=8 * (i + 1), depth=1, heads=1), level=level)
            for i, (name, level) in enumerate(levels.items())
        ),
        train_sizes=sizes,
        seeds=tuple(range(seeds)),
        search=search or Search(),
        claims=claims,
    )


SAID = {"statement": "It holds", "source": "a paper"}
THREE = {"ViT/4": 4.0, "ViT/7": 7.0, "ViT/14": 14.0}

REPEATS = 200
"""Simulated studies of a test: where a rate of 5 % is nominal, one of 13 % is seen 19 times in 20 (`at_most`).

An interval that counts replicates of three seeds as normal, or leaves out images or searches, errs more often.
"""

NO_FRAME = pd.DataFrame()
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def series_study(
    levels: tuple[float, ...] = SHARES,
    *,
    claims: tuple[Claim, ...] = (),
    seeds: int = 5,
    sizes: tuple[int, ...] = (),
    factor: str = "moved_share",
) -> ResolvedStudy:
    """Series `ViT` and `ResNet` over levels, arms `ViT 0.25` and so on; each ViT against the ResNet of its level.

    The baseline is the ResNet of the first level, and the other ResNets are compared with it.
    """
    resnets = [Arm(f"ResNet {x:g}", ResNetSpec(depth=8, width=8 + i), level=x) for i, x in enumerate(levels)]
    vits = [
        Arm(f"ViT {x:g}", ViTSpec(patch_size=7, width=8 + i, depth=1, heads=1), level=x) for i, x in enumerate(levels)
    ]
    return ResolvedStudy(
        name="simulated",
        scale="laptop",
        question="What does locality do?",
        source="none",
        factor=factor,
        data=DataSpec(),
        recipe=Recipe(updates=10),
        baseline=replace(resnets[0], series="ResNet"),
        arms=(
            *(replace(arm, series="ResNet") for arm in resnets[1:]),
            *(replace(arm, series="ViT", against=other.name) for arm, other in zip(vits, resnets, strict=True)),
        ),
        train_sizes=sizes,
        seeds=tuple(range(seeds)),
        claims=claims,
    )


def vit_lead(lead: Callable[[float, int | None], float]) -> "Accuracy":
    """Accuracies in a `series_study`: .8 for every ResNet, and the ViTs' lead by level and training size."""
    return lambda arm, size: 0.8 + (lead(float(arm.split()[1]), size) if arm.startswith("ViT") else 0.0)


Accuracy = Callable[[str, int | None], float]


def records(
    of: ResolvedStudy,
    accuracy: Accuracy | Mapping[str, float],
    *,
    seed: int = 0,
    seed_sd: float = 0.002,
    images: int = 0,
    changes: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda row: row,
    trials: list[dict[str, Any]] | None = None,
) -> StudyRecords:
    """A row per planned run with normal seed effects; with `images`, correctness drawn to that accuracy.

    `changes` may alter a row or take it away (None).
    """
    rng = np.random.default_rng(seed)
    rows, correct = [], {}
    for arm, size in of.cells:
        mean = accuracy(arm.name, size) if callable(accuracy) else accuracy[arm.name]
        for run_seed in of.seeds_at(size):
            value = mean + rng.normal(0, seed_sd)
            digest = f"{arm.name}-{size}-{run_seed}"
            if images:
                correct[digest] = rng.random(images) < value
                value = float(correct[digest].mean())
            row = changes(_row(of, arm, size, run_seed, digest, value))
            if row is not None:
                rows.append(row)
    runs = with_columns(rows, RUN_COLUMNS)
    return StudyRecords(
        study=of,
        provenance={},
        runs=runs,
        trials=with_columns(trials or [], TRIAL_COLUMNS),
        curves=pd.DataFrame(columns=list(CURVE_COLUMNS)),
        correct={digest: correct[digest] for digest in runs["digest"] if digest in correct},
    )


def evidence(of: ResolvedStudy, accuracy: Accuracy, *, seed: int, seed_sd: float = 0.004) -> Evidence:
    """Evidence from complete runs with normal seed effects, without the cost of frames."""
    (found,) = evidences(of, accuracy, seeds=[seed], seed_sd=seed_sd)
    return found


def evidences(
    of: ResolvedStudy, accuracy: Accuracy, *, seeds: Iterable[int] = range(REPEATS), seed_sd: float = 0.004
) -> Iterator[Evidence]:
    """The same for many repetitions, each from the generator of a seed."""
    means = {(arm.name, size): accuracy(arm.name, size) for arm, size in of.cells}
    kept = without_frames(of)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rows = {
            cell: {
                run_seed: {"status": "completed", "digest": "", "test_accuracy": mean + seed_sd * rng.standard_normal()}
                for run_seed in of.seeds_at(cell[1])
            }
            for cell, mean in means.items()
        }
        yield Evidence(records=kept, rows=rows, seed=seed)


def without_frames(of: ResolvedStudy, correct: Mapping[str, np.ndarray] | None = None) -> StudyRecords:
    return StudyRecords(
        study=of, provenance={}, runs=NO_FRAME, trials=NO_FRAME, curves=NO_FRAME, shifts=NO_FRAME, correct=correct or {}
    )


def verdicts(of: StudyRecords, *, seed: int = 0) -> pd.DataFrame:
    """The table of claims alone."""
    return claims_table(evidence_of(of, seed=seed))


def _row(of: ResolvedStudy, arm: Arm, size: int | None, seed: int, digest: str, value: float) -> dict[str, Any]:
    return {
        "study": of.name,
        "scale": of.scale,
        "arm": arm.name,
        "is_baseline": arm == of.baseline,
        "level": arm.level,
        "train_size": size or 55_000,
        "seed": seed,
        "status": "completed",
        "test_accuracy": value,
        "test_loss": 1 - value,
        "validation_accuracy": value,
        "params": int(1000 * (arm.level or 1)),
        "macs_per_image": int(1_000_000 / (arm.level or 1)),
        "train_seconds": 10.0,
        "train_images_per_second": 100.0 * (arm.level or 1) * (1 + 0.001 * seed),
        "eval_images_per_second": 200.0,
        "peak_memory_bytes": 1_000_000,
        "digest": digest,
        "code_fingerprint": "f",
    }


def without_accuracy(row: dict[str, Any], status: str) -> dict[str, Any]:
    """A run that ended with another status than completed."""
    return row | {"status": status, "test_accuracy": None, "test_loss": None, "validation_accuracy": None}


def share(events: list[bool]) -> float:
    return float(np.mean(events))


def at_most(nominal: float, repeats: int) -> float:
    """Largest share that a procedure at its nominal rate shows in all but one of 200 simulations."""
    assert repeats >= 100, "fewer tell nothing"
    return nominal + 2.6 * float(np.sqrt(nominal * (1 - nominal) / repeats))
