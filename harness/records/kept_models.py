"""A kept model: its weights in `model.safetensors`, and beside them `model.json`, all that it takes to use them.

A confirm run leaves one in its own folder; the best of an arm then moves to `work/models/<arm>/`, and those of vision
transformers that are best at some training sizes to `work/models_by_size/<arm>-<images>/`, to be looked into.
"""

import contextlib
import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

from harness.records import files
from harness.records.failpoints import reached
from harness.records.layout import StudyFolder
from harness.records.runs import RunFolder, place_of, with_place
from harness.spec import InvalidInput, RunConfig, WeightsFile, canonical_json, to_plain
from harness.spec.errors import require

WEIGHTS, FACTS = "model.safetensors", "model.json"
SHORTEST_PREFIX = 6  # fewest hexadecimal digits that name a model
_MOST_LISTED = 12


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What model.json says. `sha256` and `bytes` are those of the file of weights."""

    arm: str
    config: RunConfig
    """Of the run whose weights these are: the model's specification, the shape of the images, recipe and data."""
    digest: str
    mean: tuple[float, ...]  # per channel, in 0..1, over the run's training images; these are normalised with it
    std: tuple[float, ...]
    validation_accuracy: float
    test_accuracy: float
    code_fingerprint: str
    sha256: str
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """What model.json holds."""
        return {
            "arm": self.arm,
            "digest": self.digest,
            "model": to_plain(self.config.model),
            **self.config.shape,
            "normalisation": {"mean": list(self.mean), "std": list(self.std)},
            "accuracy": {"validation": self.validation_accuracy, "test": self.test_accuracy},
            "code_fingerprint": self.code_fingerprint,
            "weights": {"sha256": self.sha256, "bytes": self.bytes},
            "config": to_plain(self.config),
        } | place_of(self.config)

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Read back `as_json`; an exception for what it cannot have written."""
        if content["digest"] != files.sha256(canonical_json(content["config"]).encode()):
            raise ValueError("its configuration has another digest")
        config = with_place(files.adapter(RunConfig).validate_python(content["config"]), content)
        flat = content["normalisation"] | content["weights"] | {"config": config}
        flat |= {f"{part}_accuracy": content["accuracy"][part] for part in ("validation", "test")}
        facts: Self = files.adapter(cast("Any", cls)).validate_python(content | flat)
        if config.data.image_size is None or not len(facts.mean) == len(facts.std) == config.channels:
            raise ValueError("it lacks the image size, or means and deviations of every channel")
        return facts


class ModelFolder:
    """A folder that holds a kept model; without its model.json it holds none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.weights_path, self.facts_path = path / WEIGHTS, path / FACTS

    @classmethod
    def of_run(cls, folder: RunFolder) -> Self:
        """Where a run leaves its model."""
        return cls(folder.path / "model")

    @property
    def study(self) -> str:
        """Study and scale, `patch_size/laptop`, in whose `work/` it lies."""
        folder = next((path.parent for path in self.path.parents if path.name == "work"), self.path)
        return f"{folder.parent.name}/{folder.name}"

    @cached_property
    def facts(self) -> ModelFacts:
        """What model.json says; `RecordsError` where it is damaged or of another run than its digest says."""
        with files.reading(self.facts_path):
            return ModelFacts.from_json(files.read_json(self.facts_path))

    def write(self, weights: bytes, facts: ModelFacts) -> None:
        """Keep a model: the facts come last, so that a kill leaves no model rather than half of one."""
        files.remove_unfinished(self.path)
        self.facts_path.unlink(missing_ok=True)
        files.write_bytes(self.weights_path, weights)
        files.write_json(self.facts_path, facts.as_json())

    def require_whole(self) -> None:
        """Raise `RecordsError` unless the weights are a plain file with the SHA-256 of model.json."""
        with files.reading(self.weights_path), files.open_to_read(self.weights_path) as file:
            if (digest := hashlib.file_digest(file, "sha256").hexdigest()) != self.facts.sha256:
                raise ValueError(
                    f"it has the SHA-256 {digest}; {FACTS} says {self.facts.sha256}. Remove the folder; to have the "
                    "model again, remove the run's folder too and run the study again"
                )

    def move_to(self, target: "ModelFolder") -> None:
        """Take the place of another model, in one step: a kill before it leaves this one where it is."""
        with files.writing(target.path):
            target.path.parent.mkdir(parents=True, exist_ok=True)
            target.remove()
            reached("begin:move of model")
            self.path.rename(target.path)
            reached("moved model")
            files.sync_folder(target.path.parent)

    def remove(self) -> None:
        """Remove the model; the facts go first."""
        if self.path.exists():
            self.facts_path.unlink(missing_ok=True)
            reached("half removed:model")
            shutil.rmtree(self.path)

    def require_room(self, path: Path) -> None:
        """Raise `InvalidInput` unless weights can be copied to `path`, and their facts to a `.json` beside it."""
        require(path.suffix != ".json", f"--output is {str(path)!r}; it names the weights, FILE.safetensors.")
        for taken in (path, path.with_suffix(".json")):
            require(not taken.exists(), f"{taken} is there already; --output names a new file, FILE.safetensors.")

    def copy_to(self, path: Path) -> list[Path]:
        """Copy the weights to `path` and the facts beside it, as `.json`; `InvalidInput` where either is there."""
        self.require_room(path)
        facts_path = path.with_suffix(".json")
        with files.open_to_read(self.weights_path) as source, files.atomic_writer(path) as copy:
            shutil.copyfileobj(source, copy)
        files.write_json(facts_path, self.facts.as_json())
        return [path, facts_path]


def with_hash(file: WeightsFile) -> WeightsFile:
    """The file of weights with its SHA-256; `InvalidInput` where it is missing or has another than it should."""
    told = "It must be a file of weights, as model.safetensors of a kept model. Mend the path."
    require(Path(file.path).is_file(), f"start_from.file.path is {file.path!r}, which is no file. {told}")
    with files.open_to_read(Path(file.path)) as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if file.sha256 not in (None, found):
        raise InvalidInput(f"{file.path} has the SHA-256 {found}; it must be {file.sha256}. Get the file itself.")
    return replace(file, sha256=found)


def arm_folders(folder: Path, arms: Iterable[str]) -> dict[str, ModelFolder]:
    """Where the model of each arm lies in a study's results folder: `work/models/<arm>`, in letters of any system."""
    arms, found = list(arms), {}
    readable = {arm: re.sub(r"[^a-z0-9]+", "-", arm.lower()).strip("-")[:60] for arm in arms}
    for arm, name in readable.items():
        is_own = name and list(readable.values()).count(name) == 1
        own = name if is_own else f"{name}-{files.sha256(arm.encode())[:8]}".strip("-")
        found[arm] = ModelFolder(StudyFolder(folder).models / own)
    return found


def size_folder(folder: Path, place: ModelFolder, train_size: int) -> ModelFolder:
    """Where an arm's best model with so many training images lies, if it is not the one at the arm's `place`."""
    return ModelFolder(StudyFolder(folder).models_by_size / f"{place.path.name}-{train_size}")


def models_in(folder: Path) -> list[ModelFolder]:
    """The models of a study's results folder, by name; damaged ones are left out."""
    found = []
    for path in sorted(StudyFolder(folder).models.glob(f"*/{FACTS}")):
        model = ModelFolder(path.parent)
        with contextlib.suppress(InvalidInput):
            _ = model.facts
            found.append(model)
    return found


def _of_other_settings(folder: Path) -> Iterator[ModelFolder]:
    """Models that lie with their runs, as those of results do that were set aside."""
    for path in sorted(StudyFolder(folder).runs.glob(f"*/model/{FACTS}")):
        with contextlib.suppress(InvalidInput):
            _ = (model := ModelFolder(path.parent)).facts
            yield model


def find_model(results: Path, prefix: str) -> ModelFolder:
    """The kept model of a run, by the first digits of its digest; `InvalidInput` with the candidates if not one."""
    kept = [model for study in sorted(results.glob("*/*")) for model in (*models_in(study), *_of_other_settings(study))]
    found = [model for model in kept if model.facts.digest.startswith(prefix.lower())]
    if len(prefix) >= SHORTEST_PREFIX and len({model.facts.digest for model in found}) == 1:
        return found[0]
    names = [f"{model.facts.digest[:12]} ({model.study}, {model.facts.arm})" for model in found or kept]
    listed = ", ".join(names[:_MOST_LISTED]) + (", ..." if len(names) > _MOST_LISTED else "")
    raise InvalidInput(
        f"The digest is {prefix!r}; it must be the first {SHORTEST_PREFIX} or more digits of the digest of one model "
        f"that is kept in {results}, where a complete study keeps the best run of each arm. "
        f"There are: {listed or 'none'}."
    )
