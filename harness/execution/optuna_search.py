"""The search of one cell: what to try next. The only file that imports optuna, which is slow to load."""

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna

from harness.data import derive
from harness.execution.progress import Trial
from harness.spec import Choice, LogUniform, Search
from harness.spec.search import STARTUP_TRIALS, Distribution, settings, significant

optuna.logging.set_verbosity(optuna.logging.WARNING)

ATTEMPTS = 100  # draws for a setting that has not been tried; from the second half on, one that has not failed will do


def propose(
    search: Search, space: Mapping[str, Distribution], study: str, history: Sequence[Trial], number: int = 0
) -> dict[str, Any]:
    """Values for the next trial of search `number` after `history` (from trial 0, the recipe's own setting).

    Draws follow from the study's name and the numbers of search and trial alone: all arms with the same ranges try the
    same settings until the sampler learns from their scores, which `qmc` never does: its history may be of trials that
    have not ended. A setting that diverged or ran out of memory is never proposed again; one that completed only where
    nothing else can be found.
    """
    tried = [dict(trial.values) for trial in history]
    failed = [dict(trial.values) for trial in history if trial.status != "completed"]
    values: dict[str, Any] = {}
    for attempt, drawn in enumerate(_draws(search, space, study, history, number)):
        values = {key: _rounded(space[key], drawn[key]) for key in sorted(space)}
        if values not in (tried if attempt < ATTEMPTS // 2 else failed):
            break
    if values in tried and settings(space, tried[0]) < math.inf:  # the draws have missed what is left of the grid
        grid = itertools.product(*(distribution.values for distribution in space.values()))  # type: ignore[union-attr]
        values = next((left for each in grid if (left := dict(zip(space, each, strict=True))) not in tried), values)
    return values


def _draws(
    search: Search, space: Mapping[str, Distribution], study: str, history: Sequence[Trial], number: int
) -> Iterator[dict[str, Any]]:
    """ATTEMPTS settings for the next trial; those of `qmc` are the points from its own on."""
    if search.sampler == "qmc":
        points = len(history) - 1 + ATTEMPTS
        yield from itertools.islice(_points(space, derive(0, study, "qmc", number) % 2**32), len(history) - 1, points)
        return
    distributions = {key: _distribution(space[key]) for key in sorted(space)}
    which = [number] if number else []  # the first search draws as the only one does
    for attempt in range(ATTEMPTS):
        sampler = _sampler(search, seed=derive(0, study, len(history), attempt, *which) % 2**32)
        known = optuna.create_study(direction="maximize", sampler=sampler)
        known.add_trials([frozen(trial, space) for trial in history])
        yield known.ask(distributions).params


def _points(space: Mapping[str, Distribution], seed: int) -> Iterator[dict[str, Any]]:
    """Scrambled Sobol points over the ranges, without end, each with choices that are drawn independently.

    Low-discrepancy points find good settings in fewer trials than random ones (arXiv 1706.03200, abstract).
    """
    choices = optuna.samplers.RandomSampler(seed=derive(seed, "choices") % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(
            qmc_type="sobol",
            scramble=True,
            seed=seed,
            independent_sampler=choices,
            warn_asynchronous_seeding=False,
            warn_independent_sampling=False,
        )
    drawn_from = optuna.create_study(direction="maximize", sampler=sampler)
    apart = {key: _distribution(space[key]) for key in sorted(space)}
    ranges = {key: found for key, found in apart.items() if not isinstance(space[key], Choice)}
    place = optuna.trial.create_trial(value=0.0)  # asked for by Optuna, read by neither sampler
    while True:
        point = sampler.sample_relative(drawn_from, place, ranges)
        yield {
            key: point[key] if key in ranges else sampler.sample_independent(drawn_from, place, key, found)
            for key, found in apart.items()
        }


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        # `multivariate` is marked experimental; it models parameters together, which short searches gain from.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=STARTUP_TRIALS,
            n_ei_candidates=24,
            multivariate=True,
            group=False,
            constant_liar=True,
        )


def frozen(
    trial: Trial, space: Mapping[str, Distribution], unscored: optuna.trial.TrialState = optuna.trial.TrialState.PRUNED
) -> optuna.trial.FrozenTrial:
    """A trial as Optuna keeps it; one without a score is `unscored`: pruned ones a sampler ranks below all scores."""
    completed = trial.status == "completed" and trial.score is not None
    inside = {key: trial.values[key] for key in space if _contains(space[key], trial.values[key])}
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if completed else unscored,
        value=trial.score if completed else None,
        params=inside,
        distributions={key: _distribution(space[key]) for key in inside},
    )


def _distribution(distribution: Distribution) -> optuna.distributions.BaseDistribution:
    if isinstance(distribution, Choice):
        return optuna.distributions.CategoricalDistribution(distribution.values)
    return optuna.distributions.FloatDistribution(
        distribution.low, distribution.high, log=isinstance(distribution, LogUniform)
    )


def _contains(distribution: Distribution, value: Any) -> bool:
    """Whether the recipe's own setting lies in the range that is searched; outside it the sampler cannot use it."""
    if isinstance(distribution, Choice):
        return value in distribution.values
    return bool(distribution.low <= value <= distribution.high)


def _rounded(distribution: Distribution, value: Any) -> Any:
    if isinstance(distribution, Choice):
        return value
    return min(max(significant(value), distribution.low), distribution.high)
