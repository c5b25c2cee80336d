"""The search of one cell: what to try next. The only file that imports optuna, which is slow to load."""

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from harness.data import derive
from harness.execution.progress import Trial
from harness.spec import Choice, LogUniform, Search
from harness.spec.search import STARTUP_TRIALS, Distribution, settings

optuna.logging.set_verbosity(optuna.logging.WARNING)

ATTEMPTS = 100  # draws for a setting that has not been tried; from the second half on, one that has not failed will do
SIGNIFICANT_DIGITS = 4  # of a proposed number: finer differences mean nothing, and tables stay readable


def propose(search: Search, space: Mapping[str, Distribution], study: str, history: Sequence[Trial]) -> dict[str, Any]:
    """Values for the next trial after `history` (which holds trial 0, the recipe's own setting).

    Draws follow from the study's name and the trial's number alone: all arms with the same ranges try the same settings
    until the sampler learns from their scores. A setting that diverged or ran out of memory is never proposed again;
    one that completed only where nothing else can be found.
    """
    tried = [dict(trial.values) for trial in history]
    failed = [dict(trial.values) for trial in history if trial.status != "completed"]
    distributions = {key: _distribution(space[key]) for key in sorted(space)}
    values: dict[str, Any] = {}
    for attempt in range(ATTEMPTS):
        sampler = _sampler(search, seed=derive(0, study, len(history), attempt) % 2**32)
        known = optuna.create_study(direction="maximize", sampler=sampler)
        known.add_trials([_frozen(trial, space) for trial in history])
        asked = known.ask(distributions)
        values = {key: _rounded(space[key], asked.params[key]) for key in distributions}
        if values not in (tried if attempt < ATTEMPTS // 2 else failed):
            break
    if values in tried and settings(space, tried[0]) < math.inf:  # the draws have missed what is left of the grid
        grid = itertools.product(*(distribution.values for distribution in space.values()))  # type: ignore[union-attr]
        values = next((left for each in grid if (left := dict(zip(space, each, strict=True))) not in tried), values)
    return values


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        # `multivariate` is marked experimental; it models parameters together, which short searches gain from.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True)


def _frozen(trial: Trial, space: Mapping[str, Distribution]) -> optuna.trial.FrozenTrial:
    """A trial as Optuna keeps it. One without a score is told as pruned, which the sampler ranks below all scores."""
    completed = trial.status == "completed" and trial.score is not None
    inside = {key: trial.values[key] for key in space if _contains(space[key], trial.values[key])}
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if completed else optuna.trial.TrialState.PRUNED,
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
    digits = SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value))) if value else 0
    return min(max(round(value, digits), distribution.low), distribution.high)
