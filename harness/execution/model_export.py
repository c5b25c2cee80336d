"""The best model of each arm: chosen by validation, kept in `work/models/`, and loaded again."""

import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.execution.progress import Finished
from harness.records.files import RecordsError
from harness.records.kept_models import ModelFolder, arm_folders, find_model, size_folder
from harness.records.layout import StudyFolder
from harness.records.runs import RunFolder
from harness.spec import ModelSpec, ResolvedStudy, ViTSpec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


class LoadedModel(ModelFolder):
    """What is known of a model that was loaded: `facts`, `study`, and how its input is made."""

    @property
    def spec(self) -> ModelSpec:
        """The model's specification; `facts.config` has image size, channels and classes."""
        return self.facts.config.model

    def read(self, paths: "Iterable[str | Path]") -> "Tensor":
        """Photographs as `inputs` takes them, uint8 (B, C, H, W). Raises `InvalidInput` for a file that is no image."""
        import numpy as np
        import torch

        from harness.data.photographs import Reading

        config = self.facts.config
        reading = Reading.of(config.data, side=config.image_size, channels=config.channels)
        return torch.from_numpy(np.stack([reading(Path(path)) for path in paths]))

    def inputs(self, images: "Tensor") -> "Tensor":
        """The model's input, float32 (B, C, H, W), from images in 0..255: normalised, and moved, as in training."""
        import torch

        from harness.data.splits import Inputs

        config = self.facts.config
        mean, std = (torch.tensor(values, device=images.device) for values in (self.facts.mean, self.facts.std))
        return Inputs.of(config.data, side=config.image_size, mean=mean, std=std)(images)


class _Predictor(NamedTuple):
    """What MLflow wants of a model."""

    model: "nn.Module"
    loaded: LoadedModel

    def predict(self, images: "np.ndarray[Any, Any]", params: object = None) -> "np.ndarray[Any, Any]":
        """Images uint8 (N, C, H, W) to logits float32 (N, classes)."""
        import torch

        with torch.inference_mode():
            logits: np.ndarray[Any, Any] = self.model(self.loaded.inputs(torch.tensor(images))).numpy()
        return logits


def _load_pyfunc(path: str) -> _Predictor:
    """Called by `mlflow.pyfunc.load_model` with the copy of the model's folder that it has fetched."""
    return _Predictor(*_loaded(ModelFolder(Path(path))))


def load_model(results: Path, digest: str) -> "tuple[nn.Module, LoadedModel]":
    """The kept model of a run, by 6 or more digits of its digest; in eval mode, on the CPU. See `harness.load`."""
    return _loaded(find_model(results, digest))


def _loaded(folder: ModelFolder) -> "tuple[nn.Module, LoadedModel]":
    from harness.training.weights import restore_model

    return restore_model(folder), LoadedModel(folder.path)


def looked_sizes(study: ResolvedStudy) -> tuple[int, ...]:
    """Of a study of several training sizes those at which attention is looked at: smallest, middle and largest."""
    sizes = study.train_sizes
    return tuple(dict.fromkeys((sizes[0], sizes[len(sizes) // 2], sizes[-1]))) if len(sizes) > 1 else ()


def keep_best(finished: Iterable[Finished], sizes: Collection[int] = ()) -> dict[str, Finished]:
    """The confirm run of each arm that is best on validation, by arm; the models of the others are removed.

    But for those of vision transformers that are the best with so many training images as one of `sizes`.
    """
    confirmed = [item for item in finished if item.run.trial is None]
    best = {item.run.arm: item for item in _by_validation(confirmed)}
    kept = [*best.values(), *_best_at(confirmed, sizes).values()]
    for item in confirmed:
        if all(item is not other for other in kept):
            ModelFolder.of_run(item.folder).remove()
    return best


def _by_validation(confirmed: Iterable[Finished]) -> list[Finished]:
    """The completed ones, the best last."""
    completed = [item for item in confirmed if item.result.status == "completed"]
    completed.sort(key=lambda of: (of.result.validation_accuracy or 0.0, of.run.config.train_size, -of.run.config.seed))
    return completed


def _best_at(confirmed: Iterable[Finished], sizes: Collection[int]) -> dict[tuple[str, int], Finished]:
    """The best confirm run of each vision transformer with so many training images, by arm and size."""
    found = _by_validation(item for item in confirmed if isinstance(item.run.config.model, ViTSpec))
    return {(item.run.arm, item.run.config.train_size): item for item in found if item.run.config.train_size in sizes}


def export_models(study: ResolvedStudy, finished: Iterable[Finished], folder: Path) -> None:
    """Move the best run's model of each arm to `work/models/<arm>/`, unless it is there already.

    And those that are best at one of `looked_sizes`, if they are not the arm's, to `work/models_by_size/`. The model of
    a run of other settings goes back to its run.
    """
    finished, sizes = list(finished), looked_sizes(study)
    planned = {item.run.digest for item in finished}
    places = arm_folders(folder, [arm.name for arm in study.all_arms])
    at_sizes = _best_at([item for item in finished if item.run.trial is None], sizes)
    own = {item.run.digest: size_folder(folder, places[arm], size) for (arm, size), item in at_sizes.items()}
    best = keep_best(finished, sizes)
    for arm, item in best.items():
        kept, place = ModelFolder.of_run(item.folder), places[arm]
        if kept.facts_path.exists():
            with contextlib.suppress(RecordsError):  # a damaged one gives way
                if place.facts_path.exists() and place.facts.digest in own:
                    place.move_to(own[place.facts.digest])
                elif place.facts_path.exists() and place.facts.digest not in planned:
                    run = RunFolder(StudyFolder(folder).runs / place.facts.digest)
                    if run.path.is_dir():
                        place.move_to(ModelFolder.of_run(run))
            kept.move_to(place)
    for item in at_sizes.values():
        kept = ModelFolder.of_run(item.folder)
        if kept.facts_path.exists():
            kept.move_to(own[item.run.digest])
