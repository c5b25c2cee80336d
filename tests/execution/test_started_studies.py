"""Studies whose arms start from trained weights: made once for all, in either engine; and what is refused before."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from finished_study import tables_only
from safetensors.torch import load_file, save_file
from tiny_studies import RESNET, VIT, Witness, tiny_study

import harness
from harness.execution.plan import make_plan
from harness.execution.publish import read_results
from harness.execution.rehearsal import forecast
from harness.execution.runner import Options, run_study
from harness.execution.verify import verify
from harness.models import build
from harness.models.transfer import HEADS
from harness.records.kept_models import models_in
from harness.records.layout import pretrained_folder
from harness.records.runs import RunFolder
from harness.records.study_file import read_study
from harness.spec import (
    Arm,
    Choice,
    DataSpec,
    InvalidInput,
    Pretraining,
    Recipe,
    ResolvedStudy,
    Search,
    StartFrom,
    ViTSpec,
    WeightsFile,
)
from harness.spec.run import pretraining_config
from harness.training.device import choose

SMALL = DataSpec(source="digits", image_size=12, train_size=120)
UPSTREAM = Pretraining(data=SMALL, recipe=Recipe(updates=4, batch_size=16, evaluations=1, precision="fp32"))
TUNED = {"recipe.start_from": StartFrom(pretraining=UPSTREAM)}
LINEAR = {"recipe.start_from": StartFrom(pretraining=UPSTREAM, trained="head")}


@pytest.fixture(autouse=True)
def _tables_only() -> Iterator[None]:
    with tables_only():
        yield


def study_of(model: Any = VIT, changes: Any = TUNED, **fields: Any) -> ResolvedStudy:
    arms = (Arm("tuned", model, level=1, changes=changes), *fields.pop("arms", ()))
    return tiny_study(arms=arms, **({"seeds": (0, 1)} | fields))


STUDY = study_of(
    arms=(Arm("linear", VIT, level=2, changes=LINEAR), Arm("ResNet, tuned", RESNET, level=3, changes=TUNED)),
    search=Search(space=tiny_study().search.space, trials=2),
)


def upstream_of(results: Path) -> dict[str, RunFolder]:
    """The kept pre-trainings by the kind of their model."""
    folders = [RunFolder(path) for path in pretrained_folder(results).iterdir() if path.is_dir()]
    return {folder.config()["config"]["model"]["kind"]: folder for folder in folders}


def numbers(folder: Path) -> pd.DataFrame:
    runs = read_results(folder)[0].runs
    return runs[["arm", "seed", "digest", "test_accuracy", "test_loss", "train_loss"]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("started")
    with tables_only():
        run_study(STUDY, Options(results=results, engine="inline", command="a test"), Witness())
    return results


@pytest.mark.slow
def test_both_engines_make_each_pretraining_once_and_the_same(results: Path, processes: Options) -> None:
    run_study(STUDY, processes, Witness())
    done = []
    for made in (results, processes.results):
        found = upstream_of(made)
        assert found.keys() == {"vit", "resnet"}
        assert [log.log_path.read_text().count("images · seed") for log in found.values()] == [1, 1]
        assert {folder.result().status for folder in found.values()} == {"completed"}  # type: ignore[union-attr]
        weights = [(folder.path / "model" / "model.safetensors").read_bytes() for folder in found.values()]
        done.append((numbers(made / "tiny" / "smoke"), sorted(weights)))
    pd.testing.assert_frame_equal(done[0][0], done[1][0])
    assert done[0][1] == done[1][1]


def test_models_that_were_started_load_and_a_linear_one_has_the_pretrainings_body(results: Path) -> None:
    folder = results / "tiny" / "smoke"
    kept = {model.facts.arm: model for model in models_in(folder)}
    assert kept.keys() == {"ResNet", "tuned", "linear", "ResNet, tuned"}
    model, loaded = harness.load(kept["linear"].facts.digest, results=results)
    assert loaded.facts.config == kept["linear"].facts.config
    before = load_file(upstream_of(results)["vit"].path / "model" / "model.safetensors")
    same = {name for name in before if not name.startswith((*HEADS, "position."))}
    assert all(torch.equal(before[name], model.state_dict()[name]) for name in same)


def test_what_is_kept_reads_back_and_holds(results: Path) -> None:
    folder = results / "tiny" / "smoke"
    assert read_study(folder)[0] == STUDY
    found = verify(folder)
    assert found.faults == ()
    assert {check.what: check.checked for check in found.checks}["pre-trainings that runs started from"] == 2


@pytest.mark.parametrize("name", ["model/model.safetensors", "model/model.json", "result.json", "config.json"])
def test_a_damaged_pretraining_is_named_with_a_remedy(results: Path, name: str) -> None:
    folder, path = results / "tiny" / "smoke", upstream_of(results)["vit"].path / name
    content = path.read_bytes()
    at = next(at for at in range(len(content) // 2, len(content)) if content[at : at + 1] in b"12345678")
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    run = path.relative_to(pretrained_folder(results)).parts[0]
    try:
        (fault,) = verify(folder).faults
    finally:
        path.write_bytes(content)
    assert fault.path == f"../../work/pretrained/{run}/{name}"
    assert run[:12] in fault.expected
    assert f"Remove {pretrained_folder(results) / run}: the next run that starts from it makes it again" in str(fault)


def test_a_pretraining_that_is_not_kept_any_more_is_no_fault(results: Path) -> None:
    path = upstream_of(results)["vit"].path
    path.rename(aside := results / "aside")
    try:
        found = verify(results / "tiny" / "smoke")
    finally:
        aside.rename(path)
    assert found.faults == ()
    assert any(note.startswith(f"The pre-training {path.name[:12]} is not kept any more") for note in found.notes)


def test_another_study_starts_from_the_same_pretraining(results: Path, inline: Options) -> None:
    before = {path: path.stat().st_mtime_ns for path in pretrained_folder(results).rglob("result.json")}
    run_study(study_of(name="other", seeds=(5,)), replace(inline, results=results), Witness())
    assert {path: path.stat().st_mtime_ns for path in pretrained_folder(results).rglob("result.json")} == before


def test_a_kept_model_of_another_study_is_a_start(results: Path, inline: Options) -> None:
    """By its file; and as the description of an arm, which is trained where it lacks."""
    kept = {model.facts.arm: model for model in models_in(results / "tiny" / "smoke")}["tuned"]
    start = StartFrom(file=WeightsFile(path=str(kept.weights_path)), trained="head")
    larger = DataSpec(source="digits", image_size=16, train_size=100)
    study = study_of(changes={"recipe.start_from": start}, data=larger, seeds=(0,))
    folder = run_study(study, inline, Witness())
    config = next(model.facts.config for model in models_in(folder) if model.facts.arm == "tuned")
    assert config.recipe.start_from is not None
    assert config.recipe.start_from.file is not None
    assert config.recipe.start_from.file.sha256 == kept.facts.sha256
    described = tiny_study().pretraining("ViT/4", seeds=2)
    assert (described.model, described.recipe, described.data) == (VIT, tiny_study().recipe, tiny_study().data)


def config_of(study: ResolvedStudy) -> Any:
    cell = make_plan(study).cells[1]
    return cell.confirm(0, cell.own_values).config


def test_the_digest_is_that_of_the_pretraining_too() -> None:
    others = (
        replace(UPSTREAM, recipe=replace(UPSTREAM.recipe, updates=5)),
        replace(UPSTREAM, data=replace(SMALL, train_size=130)),
        replace(UPSTREAM, model=replace(VIT, dropout=0.1)),
        replace(UPSTREAM, seeds=2),
    )
    starts = [StartFrom(pretraining=made) for made in (UPSTREAM, *others)]
    configs = [config_of(study_of(changes={"recipe.start_from": start})) for start in starts]
    assert len({config.digest for config in configs}) == 5
    assert len({pretraining_config(config).digest for config in configs}) == 4  # the number of them is not its own
    told = config_of(study_of(changes={"recipe.start_from": StartFrom(pretraining=replace(UPSTREAM, model=VIT))}))
    assert told.digest == configs[0].digest


def test_a_forecast_counts_a_pretraining_once() -> None:
    found = forecast(make_plan(STUDY), choose("cpu"), threads=1)
    by_arm = {one.cell.arm.name: one.pretraining_seconds for one in found}
    assert [name for name, seconds in by_arm.items() if seconds] == ["tuned", "ResNet, tuned"]
    assert found[1].seconds > by_arm["tuned"] > 0


RELATIVE = replace(VIT, position="relative")
BAD: dict[str, tuple[Any, Any, str]] = {
    "another family": (RESNET, replace(UPSTREAM, model=VIT), "has a model of family 'vit'; the arm's is 'resnet'"),
    "another width": (
        VIT,
        replace(UPSTREAM, model=replace(VIT, width=32)),
        "has a model with width 32, the arm's has 16; weights fit the model that they were trained in.",
    ),
    "other patches": (replace(VIT, patch_size=2), replace(UPSTREAM, model=VIT), "with patch_size 4, the arm's has 2;"),
    "relative positions": (
        RELATIVE,
        UPSTREAM,
        "has images of 12 pixels, the run of 8; a relative position bias cannot be resized.",
    ),
    "patches that do not tile": (
        VIT,
        replace(UPSTREAM, data=replace(SMALL, image_size=10)),
        "patch_size 4 does not divide image_size 10.",
    ),
    "images seen before": (
        VIT,
        replace(UPSTREAM, data=replace(SMALL, split_seed=1)),
        "start_from sees digits, as the run does, in other splits (split_seed): images that are tested on would be",
    ),
    "draws of their own": (VIT, replace(UPSTREAM, data=replace(SMALL, resplit=True)), "in other splits (resplit): "),
    "made of the images of the run": (
        VIT,
        replace(UPSTREAM, data=replace(SMALL, source="scattered", image_size=None)),
        "start_from sees scattered, the run digits, and both show images of digits: those that are made",
    ),
    "some classes in other splits": (
        VIT,
        replace(UPSTREAM, data=replace(SMALL, source="classes:0-4:digits", split_seed=1)),
        "start_from sees digits, as the run does, in other splits (split_seed)",
    ),
    "channels": (VIT, replace(UPSTREAM, data=DataSpec(source="cifar10")), "with 3 channels, and its own have 1. Use"),
}


@pytest.mark.parametrize(("model", "made", "told"), BAD.values(), ids=BAD)
def test_what_cannot_start_is_refused_by_name_when_it_is_planned(model: Any, made: Pretraining, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make_plan(study_of(model, {"recipe.start_from": StartFrom(pretraining=made)}))
    assert str(caught.value).startswith("Arm 'tuned'")
    assert told in str(caught.value)


def test_a_search_of_other_bodies_is_refused() -> None:
    for name, told in (("model.width", "with width 16, the arm's has 32"), ("model.dropout", None)):
        search = Search(by_arm={"tuned": {name: Choice(values=(16, 32) if told else (0.0, 0.1))}}, trials=2, updates=2)
        search = replace(search, space={"learning_rate": Choice(values=(1e-3, 1e-2))})
        made = StartFrom(pretraining=replace(UPSTREAM, model=VIT))
        if told is None:
            make_plan(study_of(changes={"recipe.start_from": made}, search=search))
            continue
        with pytest.raises(InvalidInput, match=told):
            study_of(changes={"recipe.start_from": made}, search=search)


def test_a_start_is_one_and_of_a_known_family() -> None:
    for both in ({}, {"pretraining": UPSTREAM, "file": WeightsFile(path="x")}):
        with pytest.raises(InvalidInput, match="start_from needs one of pretraining and file"):
            StartFrom(**both)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="weights come from one place"):
        replace(UPSTREAM, recipe=replace(UPSTREAM.recipe, start_from=StartFrom(pretraining=UPSTREAM)))
    with pytest.raises(InvalidInput, match=r"weights_file\.grid is \(4,\); it must be rows and columns"):
        WeightsFile(path="x", grid=(4,))
    with pytest.raises(InvalidInput, match="Arm 'tuned': start_from: the family of the model is 'timm'"):
        study_of(harness.spec.Timm("vit_tiny_patch16_224"))


def test_a_file_that_does_not_fit_is_refused_before_the_first_run(tmp_path: Path, inline: Options) -> None:
    missing = study_of(changes={"recipe.start_from": StartFrom(file=WeightsFile(path=str(tmp_path / "no")))})
    with pytest.raises(InvalidInput, match="which is no file"):
        run_study(missing, inline, Witness())
    path = tmp_path / "w.safetensors"
    save_file(build(ViTSpec(width=32, heads=2), image_size=8, channels=1, classes=10).state_dict(), path)
    with pytest.raises(InvalidInput, match=r"Arm 'tuned': .*w\.safetensors has blocks\.1\..*Give weights of the same"):
        run_study(
            study_of(changes={"recipe.start_from": StartFrom(file=WeightsFile(path=str(path)))}), inline, Witness()
        )
    assert not inline.results.exists()
