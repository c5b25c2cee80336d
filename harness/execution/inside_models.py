"""Looking into the kept models of a study, which loads torch; reports draw from what was seen."""

import contextlib
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.execution.model_export import LoadedModel, looked_sizes
from harness.records.insides import AttentionAtSize, InsideArm, read_insides
from harness.records.kept_models import ModelFolder, arm_folders, size_folder
from harness.records.layout import StudyFolder, command_line
from harness.spec import DataSpec, InvalidInput, ModelSpec, ResNetSpec, ResolvedStudy
from harness.spec.checks import did_you_mean
from harness.spec.errors import require
from harness.spec.formats import counted

if TYPE_CHECKING:
    from torch import Tensor

    from harness.inside.look import Subject

IMAGES, LEAST_IMAGES = 256, 32
"""Test images that a model is shown, and the fewest where they are dear."""

Tests = Callable[[DataSpec, int, int], "tuple[Tensor, Tensor]"]

MOST_MACS = 2**38
"""What one pass of all these images may cost, multiply-accumulates; a look takes some fifteen passes."""


def open_models(folder: Path, study: ResolvedStudy) -> dict[str, ModelFolder]:
    """The kept model of each arm that can be looked into, by arm, in the order of the study."""
    places = arm_folders(folder, [arm.name for arm in study.all_arms])
    arms = (arm.name for arm in study.all_arms if _can_be_opened(arm.model))
    return {arm: places[arm] for arm in arms if places[arm].facts_path.exists()}


def look_inside(
    folder: Path, study: ResolvedStudy, say: Callable[[str], object], arms: Collection[str] = (), *, anew: bool = True
) -> list[InsideArm]:
    """Look into the kept models of `arms`, by default of all that can be looked into: what is seen in the study's.

    What was seen before in other arms stays and, without `anew`, in models that are still the kept ones. Raises
    `InvalidInput` for an arm that is not there, has no kept model or cannot be looked into, and where no arm can.
    """
    models = open_models(folder, study)
    chosen = _chosen(folder, study, arms, models)
    resnets = [arm.name for arm in study.all_arms if isinstance(arm.model, ResNetSpec) and arm.name in models]
    other = models[resnets[0]] if resnets else None  # the baseline, most often
    tests, before, found = cache(_test_images), dict[str, InsideArm](), list[InsideArm]()
    with contextlib.suppress(InvalidInput):  # what is damaged is written anew
        before = {seen.arm: seen for seen in read_insides(folder)}
    for arm, model in models.items():
        seen = before.get(arm)
        is_of_model = seen is not None and seen.digest == model.facts.digest
        sizes = _by_size(folder, study, model)
        is_known = is_of_model and _is_compared_with(seen, other) and _is_of_sizes(seen, sizes)
        if arm in chosen and (anew or not is_known):
            seen, is_of_model = _look(model, other, tests), True
            seen = replace(seen, by_size=_look_at_sizes(sizes, tests) if seen.attention else None)
            say(f"Looked into {arm}, run {seen.digest[:12]}, with {counted(seen.images, 'test image')}.")
        if seen is not None and is_of_model:
            found.append(seen)
    return found


def _chosen(folder: Path, study: ResolvedStudy, arms: Collection[str], models: dict[str, ModelFolder]) -> set[str]:
    """The arms to look into; refuses those that cannot be."""
    names = [arm.name for arm in study.all_arms]
    listed = f"Arms that can be looked into: {', '.join(models) or 'none'}."
    for arm in arms:
        require(arm in names, f"{study.name} has no arm {arm!r}. {did_you_mean(arm, names)}{listed}")
        own = study.arm(arm).model
        require(
            _can_be_opened(own),
            f"Arm {arm!r} cannot be looked into: of its models ({own.kind}) nobody has said where attention and blocks "
            f"are; ViT and ResNet have. {listed}",
        )
    again = command_line(folder.parents[1], "run", study.name, "--scale", study.scale)
    missing = ", ".join(arm for arm in arms if arm not in models)
    lacking = f" of {missing}" if missing else ""
    require(
        bool(models) and not lacking,
        f"{StudyFolder(folder).models} has no model{lacking} that can be looked into; a complete run leaves the best "
        f"of each arm there, and a copy may lack it. Run: {again}",
    )
    return set(arms or models)


def _can_be_opened(spec: ModelSpec) -> bool:
    from harness.models import family_of

    return family_of(spec).inside is not None


def _is_compared_with(seen: InsideArm | None, other: ModelFolder | None) -> bool:
    """Whether what was seen is of today's models as far as it has been compared with another."""
    similarity = seen.similarity if seen else None
    return similarity is None or other is None or similarity.digest == other.facts.digest


def _by_size(folder: Path, study: ResolvedStudy, model: ModelFolder) -> dict[int, ModelFolder]:
    """The kept models of an arm by ascending training size, of those sizes at which attention is looked at."""
    found = {}
    for size in looked_sizes(study):
        for place in (model, size_folder(folder, model, size)):
            if place.facts_path.exists() and place.facts.config.train_size == size:
                found[size] = place
    return found


def _is_of_sizes(seen: InsideArm | None, sizes: dict[int, ModelFolder]) -> bool:
    """Whether what was seen by training size is of today's models."""
    if seen is None or seen.attention is None:
        return True
    known = {at.train_size: at.digest for at in seen.by_size or ()}
    return known == {size: kept.facts.digest for size, kept in sizes.items() if len(sizes) > 1}


def _look_at_sizes(sizes: dict[int, ModelFolder], tests: Tests) -> tuple[AttentionAtSize, ...] | None:
    """How far heads attend in an arm's models of several training sizes; None for fewer than two."""
    from harness.inside.look import distances_seen

    if len(sizes) < 2:
        return None
    return tuple(
        AttentionAtSize(train_size=size, digest=kept.facts.digest, distances=distances_seen(_subject(kept, tests)))
        for size, kept in sizes.items()
    )


def _look(model: ModelFolder, other: ModelFolder | None, tests: Tests) -> InsideArm:
    """What there is to see in a model and, if it has attention, how alike its blocks and another's are."""
    import torch

    from harness.inside.look import compare, look_into

    data, subject = model.facts.config.data, _subject(model, tests)
    seen, count = look_into(subject), len(subject.images)
    if other is None or subject.grid is None:
        return seen
    compared = _subject(other, tests, count)
    images, labels = tests(data, other.facts.config.seed if data.resplit else 0, count)  # that the other one sees
    if not torch.equal(labels, compared.labels):  # arms that have other data altogether
        return seen
    return replace(seen, similarity=compare(subject, images, compared))


def _subject(kept: ModelFolder, tests: Tests, count: int | None = None) -> "Subject":
    """A kept model with the test images of its run: `count` of them, or as many as it can afford."""
    from harness.inside.look import Subject
    from harness.models import family_of, macs_per_image
    from harness.training.weights import restore_model

    facts, config = kept.facts, kept.facts.config
    model, inside = restore_model(kept), family_of(config.model).inside
    assert inside is not None
    affordable = MOST_MACS // macs_per_image(config.model, **config.shape)
    seed = config.seed if config.data.resplit else 0  # whose images are alike are loaded once
    images, labels = tests(config.data, seed, count or max(LEAST_IMAGES, min(IMAGES, affordable)))
    return Subject(
        arm=facts.arm,
        digest=facts.digest,
        model=model,
        inside=inside(model, config.model),
        prepare=LoadedModel(kept.path).inputs,
        images=images,
        labels=labels,
    )


def _test_images(data: DataSpec, seed: int, count: int) -> "tuple[Tensor, Tensor]":
    """Test images uint8 (count, C, H, W) and labels (count,), evenly taken; all where there are fewer."""
    import torch

    from harness.data import load

    test = load(data, phase="confirm", seed=seed).test
    count = min(count, len(test))
    return next(test.read([torch.arange(count) * len(test) // count]))
