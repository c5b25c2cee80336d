"""Whole studies drawn from a world with luck of the search, and how often their analysis is wrong.

A run of arm a with seed s, whose setting search r has chosen, is right on image i when
    theta_a + luck_a * l_ar + seed_sd * u_as + image_sd * v_i + arm_image_sd * w_ai + noise_sd * e_asi > 0,
all normal. The true accuracy of an arm, over fresh searches, seeds and images, is then Phi(theta_a / total sd).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import stats
from simulate import study, without_frames

from harness.analysis.evidence import Evidence
from harness.analysis.judging import judge
from harness.records.run_table import TRIAL_COLUMNS, with_columns
from harness.spec import DataSpec, LogUniform, ResolvedStudy, Search
from harness.spec.claims import Better, Claim, Equivalent, GainsMore, Monotone

BASELINE = "ResNet-8"
NO_TRIALS = with_columns([], TRIAL_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class LuckyWorld:
    luck: tuple[float, ...] = (0.0,)
    """Points of accuracy (sd) that the searches of an arm differ by; the arms take turns."""
    seed_sd: float = 0.2  # points that the seeds of a search differ by, besides the noise on single images
    image_sd: float = 1.5
    arm_image_sd: float = 0.4
    noise_sd: float = 0.3

    def answers(
        self, accuracies: Mapping[str, float], searches: np.ndarray, m: int, rng: np.random.Generator, pool: int = 0
    ) -> Iterator[np.ndarray]:
        """For each arm (n, m) correctness, given the (n,) search of each seed.

        With a `pool` each seed draws m images of so many for all arms; else all seeds have the same.
        """
        n = len(searches)
        drawn = np.array([rng.choice(pool, m, replace=False) for _ in range(n)]) if pool else np.arange(m)[None]
        difficulty = self.image_sd * rng.standard_normal(pool or m, dtype=np.float32)
        for i, accuracy in enumerate(accuracies.values()):
            others = np.sqrt(self.image_sd**2 + self.arm_image_sd**2 + self.noise_sd**2)
            per_point = others / (100 * stats.norm.pdf(stats.norm.ppf(min(accuracy, 0.9999))))  # of the latent scale
            luck, seed_sd = self.luck[i % len(self.luck)] * per_point, self.seed_sd * per_point
            theta = stats.norm.ppf(accuracy) * np.sqrt(others**2 + luck**2 + seed_sd**2)
            of_run = theta + luck * rng.standard_normal(searches.max() + 1)[searches] + seed_sd * rng.standard_normal(n)
            ability = (difficulty + self.arm_image_sd * rng.standard_normal(pool or m, dtype=np.float32))[drawn]
            noise = self.noise_sd * rng.standard_normal((n, m), dtype=np.float32)
            yield noise + ability + of_run.astype(np.float32)[:, None] > 0


def stairs(arms: int, *, start: float = 0.85, step: float = 0.01) -> dict[str, float]:
    """Accuracies of the baseline and of arms, every second of which is no better than the one before it."""
    return {BASELINE: start} | {f"ViT/{i}": start + step * (i // 2) for i in range(1, arms + 1)}


def at_the_bound(step: float = 0.01) -> tuple[Claim, ...]:
    """Claims about `stairs` whose truth lies on the bound: every verdict but `inconclusive` is false."""
    told: dict[str, Any] = {"statement": "S", "source": "none"}
    return (
        Better(arm="ViT/1", than=BASELINE, **told),
        Better(arm="ViT/2", than=BASELINE, margin=step, **told),
        Equivalent(arm="ViT/2", to=BASELINE, within=step, **told),
        GainsMore(arm="ViT/3", start="ViT/1", other="ViT/2", other_start=BASELINE, **told),
        Monotone(metric="test_accuracy", along="patch_size", direction="up", **told),
    )


@dataclass(frozen=True, kw_only=True)
class Design:
    arms: int = 3
    searches: int = 3
    seeds: int = 6
    images: int = 2000
    start: float = 0.85  # accuracy of the baseline
    step: float = 0.01  # by which every second arm is better than the one before
    resplit: bool = False
    world: LuckyWorld = field(default_factory=LuckyWorld)

    @property
    def accuracies(self) -> dict[str, float]:
        return stairs(self.arms, start=self.start, step=self.step)

    def study(self) -> ResolvedStudy:
        search = Search()
        if self.searches > 1:
            search = Search(space={"learning_rate": LogUniform(low=1e-4, high=1e-2)}, trials=4, repeats=self.searches)
        levels = {f"ViT/{i}": float(i) for i in range(1, self.arms + 1)}
        found = study(levels, seeds=self.seeds, search=search, claims=at_the_bound(self.step))
        return replace(found, data=DataSpec(resplit=self.resplit))


Change = Callable[[str, np.ndarray, np.random.Generator], np.ndarray]
"""Gives other answers for an arm's (n, m) correctness."""


def draw(
    of: ResolvedStudy,
    accuracies: Mapping[str, float],
    world: LuckyWorld,
    images: int,
    rng: np.random.Generator,
    change: Change = lambda arm, right, rng: right,
    lost: tuple[tuple[str, int], ...] = (),
) -> Evidence:
    """One study with fresh searches, seeds and test images, without the cost of frames; `lost` runs have no result."""
    pool = 7 * images if of.data.resplit else 0  # as Fashion-MNIST has it: 10,000 of 70,000
    answers = zip(accuracies, world.answers(accuracies, searches_of(of), images, rng, pool), strict=True)
    return evidence_from(of, {arm: change(arm, right, rng) for arm, right in answers}, lost)


def draw_twice(
    of: ResolvedStudy, accuracies: Mapping[str, float], world: LuckyWorld, images: int, rng: np.random.Generator
) -> tuple[Evidence, Evidence]:
    """Two runs of a study, each with fresh searches and seeds, on the same fresh test images."""
    searches = searches_of(of)
    twice = np.concatenate([searches, searches + searches.max() + 1])
    answers = dict(zip(accuracies, world.answers(accuracies, twice, images, rng), strict=True))
    n = len(searches)
    one, two = ({arm: right[part] for arm, right in answers.items()} for part in (slice(n), slice(n, None)))
    return evidence_from(of, one), evidence_from(of, two, name="again")


def searches_of(of: ResolvedStudy) -> np.ndarray:
    """For each seed the search that chose its setting; each its own where there is one, whose luck does not count."""
    return np.array([of.search_of(seed) if of.search.repeats > 1 else i for i, seed in enumerate(of.seeds)])


def evidence_from(
    of: ResolvedStudy, answers: Mapping[str, np.ndarray], lost: tuple[tuple[str, int], ...] = (), name: str = ""
) -> Evidence:
    """Evidence from each arm's (n, m) correctness; `name` stands in the digests."""
    rows, correct = {}, {}
    for arm, right in answers.items():
        digests = [f"{arm}-{seed}{name}" for seed in of.seeds]
        correct |= dict(zip(digests, right, strict=True))
        rows[arm, None] = {
            seed: {"status": "completed", "digest": digest, "train_size": 55_000, "test_accuracy": float(row.mean())}
            for seed, digest, row in zip(of.seeds, digests, right, strict=True)
            if (arm, seed) not in lost
        }
    return Evidence(records=replace(without_frames(of, correct), trials=NO_TRIALS), rows=rows)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What share of studies, or of their comparisons, ended so."""

    studies: int
    covered: float  # intervals of comparisons that hold the true difference
    own_covered: float  # intervals of arms that hold the true accuracy
    width: float  # mean width of these, points
    empty: int  # intervals of width zero
    decided: Mapping[str, float]  # by claim: verdicts that are not `inconclusive`, all of them false
    reproduced: Mapping[str, float]  # of these, the ones that confirm

    def row(self) -> str:
        told = "  ".join(f"{100 * rate:5.1f}" for rate in self.decided.values())
        return f"{100 * self.covered:6.2f}  {100 * self.own_covered:6.2f}  {self.width:6.2f}  {self.empty:4}  {told}"


def rates_of(design: Design, *, studies: int, seed: int, **more: Any) -> Rates:
    """Draw studies of a design and count; `more` goes to `draw`."""
    rng, of, accuracies = np.random.default_rng(seed), design.study(), design.accuracies
    names = {f"{claim.type}-{i}": claim for i, claim in enumerate(of.claims, start=1)}
    covered, own, widths, empty = [], [], [], 0
    decided, reproduced = Counter[str](), Counter[str]()
    for _ in range(studies):
        drawn = draw(of, accuracies, design.world, design.images, rng, **more)
        for arm, other in drawn.against.items():
            found, truth = drawn.difference(arm, other), accuracies[arm] - accuracies[other]
            if np.isfinite(found.ci_low):
                covered.append(found.ci_low <= truth <= found.ci_high)
                widths.append(100 * (found.ci_high - found.ci_low))
                empty += found.ci_low == found.ci_high
        for arm, truth in accuracies.items():
            found = drawn.contrast({(arm, None): 1.0})
            own += [found.ci_low <= truth <= found.ci_high] if np.isfinite(found.ci_low) else []
        for name, claim in names.items():
            verdict = judge(claim, drawn).verdict
            decided[name] += verdict != "inconclusive"
            reproduced[name] += verdict == "reproduced"
    return Rates(
        studies=studies,
        covered=float(np.mean(covered)) if covered else np.nan,
        own_covered=float(np.mean(own)) if own else np.nan,
        width=float(np.mean(widths)) if widths else np.nan,
        empty=empty,
        decided={name: decided[name] / studies for name in names},
        reproduced={name: reproduced[name] / studies for name in names},
    )
