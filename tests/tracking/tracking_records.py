"""Fake records of a study, written as a training writes them, and eyes on what MLflow then holds."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.records.files import sha256
from harness.records.kept_models import ModelFacts, ModelFolder, arm_folders
from harness.records.runs import Journal, RunFolder, RunResult
from harness.spec import Arm, DataSpec, Recipe, ResNetSpec, ResolvedStudy, Run, RunConfig, Search, ViTSpec
from harness.tracking import sync
from harness.tracking.store import Store

RESNET = Arm("ResNet-8", ResNetSpec(depth=8))
VIT = Arm("ViT/4", ViTSpec(patch_size=4, width=24, depth=2, heads=3), level=4.0)


@dataclass
class Records:
    """A study's folder under `results`, and the lines that were said."""

    results: Path
    study: ResolvedStudy
    said: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.results / self.study.name / self.study.scale

    def run_folder(self, digest: str) -> RunFolder:
        return RunFolder(self.folder / "work" / "runs" / digest)

    def start(self, seed: int = 0, *, arm: Arm = VIT, trial: int | None = None) -> str:
        config = RunConfig(
            phase="confirm" if trial is None else "tune",
            seed=seed,
            model=arm.model,
            recipe=replace(self.study.recipe, learning_rate=0.001 * (1 + (trial or 0))),
            data=replace(self.study.data, image_size=28, train_size=55_000, validation_size=5_000),
            data_hash="d" * 64,
            channels=1,
            classes=10,
        )
        run = Run(arm=arm.name, config=config, trial=trial)
        folder = self.run_folder(run.digest)
        folder.path.mkdir(parents=True)
        folder.write_config(run)
        return run.digest

    def evaluate(self, digest: str, *updates: int, loss: float = 1.0) -> None:
        journal = Journal(self.run_folder(digest).journal_path)
        for update in updates:
            journal.append(
                "evaluated",
                update=update,
                images_seen=128 * update,
                train_loss=loss / update,
                validation_loss=2 * loss / update,
                validation_accuracy=1 - 1 / (1 + update),
                learning_rate=0.001,
                seconds=0.01 * update,
            )
        journal.close()

    def finish(self, digest: str, status: Any = "completed", **found: Any) -> None:
        """`found` replaces fields of the result."""
        journal = Journal(self.run_folder(digest).journal_path)
        done = status == "completed"
        journal.append("finished", status=status, reason="", **({"test_accuracy": 0.9} if done else {}))
        journal.close()
        result = RunResult(digest=digest, status=status, updates=100, code_fingerprint="c0de")
        if done:
            result = replace(result, test_accuracy=0.9, test_loss=0.3, params=1234, train_images_per_second=5000.0)
        result = replace(result, **found)
        self.run_folder(digest).write_result(result)

    def complete(self, seed: int = 0, **options: Any) -> str:
        digest = self.start(seed, **options)
        self.evaluate(digest, 50, 100)
        self.finish(digest)
        return digest

    def keep_model(self, digest: str, *, seed: int = 0) -> ModelFolder:
        """A model as it was initialised, as the best of its arm; `seed` makes others."""
        import safetensors.torch
        import torch

        from harness.models import build

        content = self.run_folder(digest).config()
        config = TypeAdapter(RunConfig).validate_python(content["config"])
        torch.manual_seed(seed)
        model = build(config.model, image_size=28, channels=1, classes=10)
        weights = safetensors.torch.save({name: part.contiguous() for name, part in model.state_dict().items()})
        kept = arm_folders(self.folder, [content["arm"]])[content["arm"]]
        facts = ModelFacts(
            arm=content["arm"],
            config=config,
            digest=digest,
            mean=(0.0,),
            std=(1.0,),
            validation_accuracy=0.9,
            test_accuracy=0.9,
            code_fingerprint="c0de",
            sha256=sha256(weights),
            bytes=len(weights),
        )
        kept.write(weights, facts)
        return ModelFolder(kept.path)

    def sync(self, **options: Any) -> int:
        return sync(self.study, self.folder, results=self.results, say=self.said.append, **options)

    def client(self) -> Any:
        store = Store.of(self.results)
        with store.locked():
            return store.connect()

    def runs(self) -> list[Any]:
        """All runs of the experiment, parents too, oldest first."""
        client = self.client()
        experiment = client.get_experiment_by_name(f"{self.study.name}/{self.study.scale}")
        return list(client.search_runs([experiment.experiment_id], order_by=["start_time"]))

    def child(self, digest: str) -> Any:
        """The one child run of a training."""
        (child,) = [run for run in self.runs() if run.data.tags.get("digest") == digest]
        return child

    def parents(self) -> list[Any]:
        return [run for run in self.runs() if "launch" in run.data.tags]

    def history(self, digest: str) -> list[tuple[str, int, float, int]]:
        """Every (metric, step, value, time) that MLflow holds of a training."""
        client, child = self.client(), self.child(digest)
        return sorted(
            (key, point.step, point.value, point.timestamp)
            for key in child.data.metrics
            for point in client.get_metric_history(child.info.run_id, key)
        )

    def journal_points(self, digest: str) -> list[tuple[str, int, float, int]]:
        """Every (metric, step, value, time) of the journal's evaluations."""
        return sorted(
            (IN_MLFLOW[key], event["update"], float(value), event["time"])
            for event in self.run_folder(digest).journal()
            if event["event"] == "evaluated"
            for key, value in event.items()
            if key not in ("event", "time", "update")
        )


IN_MLFLOW = {
    "images_seen": "train/images_seen",
    "train_loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "seconds": "train/seconds",
    "validation_loss": "validation/loss",
    "validation_accuracy": "validation/accuracy",
}
"""Each group is a section of charts there."""


def make_study(name: str = "patch_size") -> ResolvedStudy:
    return ResolvedStudy(
        name=name,
        scale="smoke",
        question="Does it hold?",
        source="a test",
        factor="patch_size",
        data=DataSpec(),
        recipe=Recipe(updates=100),
        baseline=RESNET,
        arms=(VIT,),
        search=Search(),
    )
