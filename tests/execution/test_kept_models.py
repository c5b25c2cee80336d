"""The best model of each arm: which it is, that it answers as its run did, and that only whole ones are loaded."""

import dataclasses
import itertools
import json
import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from finished_study import tables_only
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_studies import VIT, Witness, tiny_study

import harness
from harness.__main__ import cli
from harness.data import load
from harness.execution import runner
from harness.execution.model_export import load_model
from harness.execution.runner import Options, run_study
from harness.execution.verify import verify
from harness.models import build
from harness.records.files import sha256
from harness.records.kept_models import FACTS, WEIGHTS, ModelFolder, arm_folders, find_model, models_in
from harness.records.runs import RunFolder
from harness.spec import Arm, DataSpec, InvalidInput, Module, Recipe, ResolvedStudy, study_names
from harness.training.evaluation import EVALUATION_BATCH

RECIPE = Recipe(updates=24, batch_size=16, learning_rate=3e-3, evaluations=2, precision="fp32", ema_decay=0.9)
STUDY = tiny_study(
    recipe=RECIPE,
    seeds=(0, 1, 2),
    data=DataSpec(source="digits", train_size=200),
    arms=(Arm("ViT/4", VIT, level=4), Arm("ViT/2", dataclasses.replace(VIT, patch_size=2), level=2)),
)


def run_in(results: Path, study: ResolvedStudy = STUDY, **options: Any) -> Witness:
    witness = Witness()
    with tables_only():
        run_study(study, Options(results=results, engine="inline", command="a test", **options), witness)
    return witness


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    run_in(folder)
    return folder


@pytest.fixture
def copied(results: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(results, tmp_path / "results"))


def kept_in(results: Path) -> list[ModelFolder]:
    return models_in(results / "tiny" / "smoke")


def weights_in(results: Path) -> set[str]:
    return {path.relative_to(results / "tiny/smoke/work").as_posix() for path in results.rglob(WEIGHTS)}


def run_folders(results: Path) -> Iterator[RunFolder]:
    return (RunFolder(path.parent) for path in results.glob("tiny/smoke/work/runs/*/result.json"))


@pytest.mark.slow
def test_the_run_with_the_best_validation_of_each_arm_is_kept_and_no_other(results: Path) -> None:
    assert weights_in(results) == {"models/resnet/" + WEIGHTS, "models/vit-4/" + WEIGHTS, "models/vit-2/" + WEIGHTS}
    assert not list(results.rglob("runs/*/model"))
    for kept in kept_in(results):
        scores = {
            folder.path.name: folder.result().validation_accuracy
            for folder in run_folders(results)
            if folder.config()["arm"] == kept.facts.arm
        }
        assert len(scores) == 3
        assert scores[kept.facts.digest] == max(scores.values()) == kept.facts.validation_accuracy


@pytest.mark.parametrize("arm", ["ResNet", "ViT/4", "ViT/2"])
def test_a_loaded_model_answers_as_its_run_did(results: Path, arm: str) -> None:
    """The weights are an average over the training (EMA), whose last weights answer otherwise."""
    (kept,) = [kept for kept in kept_in(results) if kept.facts.arm == arm]
    state = torch.get_rng_state()
    model, found = harness.load(kept.facts.digest[:10], results=results)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert found.spec == kept.facts.config.model
    assert found.study == "tiny/smoke"
    test = load(kept.facts.config.data, phase="confirm").test
    with torch.inference_mode():
        parts = [model(found.inputs(images)).argmax(1) for images, _ in test.chunks(EVALUATION_BATCH)]
    labels, predicted = RunFolder(results / "tiny/smoke/work/runs" / kept.facts.digest).answers()[0]
    np.testing.assert_array_equal(torch.cat(parts).numpy(), predicted)
    assert float(np.mean(labels == predicted)) == pytest.approx(kept.facts.test_accuracy)


@pytest.mark.slow
def test_models_of_other_settings_are_kept_with_their_runs(copied: Path) -> None:
    """Those of results that are set aside; back at these settings, where nothing is trained, they are those again."""
    first = {kept.facts.arm: kept.facts.digest for kept in kept_in(copied)}
    other = replace(STUDY, recipe=replace(STUDY.recipe, updates=STUDY.recipe.updates + 1))
    assert run_in(copied, other).trained
    second = {kept.facts.arm: kept.facts.digest for kept in kept_in(copied)}
    assert first.keys() == second.keys()
    assert not set(first.values()) & set(second.values())
    for digest in (*first.values(), *second.values()):
        _, found = harness.load(digest, results=copied)
        assert (found.facts.digest, found.study) == (digest, "tiny/smoke")
    assert not run_in(copied).trained
    assert {kept.facts.arm: kept.facts.digest for kept in kept_in(copied)} == first
    assert all(harness.load(digest, results=copied) for digest in second.values())


class Shuffled(torch.nn.Module):
    """A model that draws an order and a projection which are not in its state."""

    def __init__(self, image_size: int, channels: int, classes: int) -> None:
        super().__init__()
        pixels = channels * image_size**2
        self.order = torch.randperm(pixels)
        self.register_buffer("projection", torch.randn(pixels, 16), persistent=False)
        self.head = torch.nn.Linear(16, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.flatten(1)[:, self.order] @ self.projection)


def test_what_a_model_draws_and_does_not_keep_is_drawn_again(tmp_path: Path) -> None:
    study = tiny_study(baseline=Arm("shuffled", Module(build=Shuffled)), arms=(), seeds=(2,), recipe=RECIPE)
    run_in(tmp_path, study)
    (kept,) = kept_in(tmp_path)
    torch.manual_seed(5)
    model, found = harness.load(kept.facts.digest, results=tmp_path)
    test = load(kept.facts.config.data, phase="confirm", seed=2).test
    with torch.inference_mode():
        answers = model(found.inputs(test.images)).argmax(1)
    predicted = RunFolder(tmp_path / "tiny/smoke/work/runs" / kept.facts.digest).answers()[0][1]
    np.testing.assert_array_equal(answers.numpy(), predicted)


def test_a_model_answers_for_the_images_that_its_seed_drew_with_moved_pixels(tmp_path: Path) -> None:
    data = DataSpec(source="digits", train_size=200, moved_share=1.0, resplit=True)
    study = tiny_study(data=data, seeds=(1,), arms=(), recipe=RECIPE)
    run_in(tmp_path, study)
    (kept,) = kept_in(tmp_path)
    model, found = harness.load(kept.facts.digest, results=tmp_path)
    images = load(kept.facts.config.data, phase="confirm", seed=kept.facts.config.seed).test.images
    with torch.inference_mode():
        answers = model(found.inputs(images)).argmax(1)
    predicted = RunFolder(tmp_path / "tiny/smoke/work/runs" / kept.facts.digest).answers()[0][1]
    np.testing.assert_array_equal(answers.numpy(), predicted)


@pytest.mark.parametrize(("source", "tested"), [("imagefolder", "test"), ("imagenet", "val")])
def test_a_loaded_model_reads_photographs_as_its_run_did(tmp_path: Path, source: str, tested: str) -> None:
    """Of 12 x 20 pixels, lying on their side, half of them transparent at the top."""
    rng, exif = np.random.default_rng(0), Image.Exif()
    exif[0x0112] = 6
    for part in ("train", tested):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for number in range(10):
                image = Image.fromarray(rng.integers(0, 256, (20, 12), dtype=np.uint8)).convert("LA")
                image.putalpha(Image.fromarray(np.repeat([0, 255], 120).astype(np.uint8).reshape(20, 12)))
                image.save(tmp_path / "photos" / part / name / f"{number}.png", exif=exif)
    data = DataSpec(source=f"{source}:{tmp_path}/photos", image_size=8, fit="pad", background=(9, 9, 9))
    run_in(tmp_path / "results", tiny_study(data=data, seeds=(0,), arms=(), recipe=RECIPE))
    (kept,) = kept_in(tmp_path / "results")
    assert kept.facts.config.channels == 1
    model, found = harness.load(kept.facts.digest, results=tmp_path / "results")
    images = found.read(sorted((tmp_path / "photos" / tested).rglob("*.png")))
    (expected,) = (images for images, _ in load(kept.facts.config.data, phase="confirm").test.chunks(20))
    assert torch.equal(images, expected)
    assert (images[:, 0, 0] == 9).all()
    with torch.inference_mode():
        answers = model(found.inputs(images)).argmax(1)
    predicted = RunFolder(tmp_path / "results/tiny/smoke/work/runs" / kept.facts.digest).answers()[0][1]
    np.testing.assert_array_equal(answers.numpy(), predicted)


@pytest.mark.slow
def test_one_more_seed_replaces_a_model_only_where_it_is_better(copied: Path) -> None:
    run_in(copied, dataclasses.replace(STUDY, seeds=(0, 1, 2, 3, 4)))
    assert weights_in(copied) == {f"models/{arm}/{WEIGHTS}" for arm in ("resnet", "vit-4", "vit-2")}
    for kept in kept_in(copied):
        scores = [
            folder.result().validation_accuracy
            for folder in run_folders(copied)
            if folder.config()["arm"] == kept.facts.arm
        ]
        assert kept.facts.validation_accuracy == max(scores)
        load_model(copied, kept.facts.digest)


@pytest.mark.slow
def test_while_a_study_goes_on_the_disk_holds_one_model_of_each_arm_and_of_each_run_under_way(
    tmp_path: Path,
) -> None:
    most: list[int] = []
    witness = Witness()
    witness.on_start = lambda run: most.append(len(list(tmp_path.rglob(WEIGHTS))))
    with patch.object(runner, "Mirror"):
        run_study(STUDY, Options(results=tmp_path, engine="inline", command="a test"), witness)
    assert len(most) == 9
    assert max(most) <= 3


def test_unknown_short_and_ambiguous_digests_name_what_there_is(copied: Path) -> None:
    with pytest.raises(InvalidInput, match=r"The digest is 'abc'; it must be the first 6 or more .* There are: ") as no:
        find_model(copied, "abc")
    for kept in kept_in(copied):
        assert f"{kept.facts.digest[:12]} (tiny/smoke, {kept.facts.arm})" in str(no.value)
    with pytest.raises(InvalidInput, match="must be the first 6 or more digits"):
        find_model(copied, "../../x")
    with pytest.raises(InvalidInput, match=r"The digest is '000000'; .* keeps the best run of each arm"):
        find_model(copied, "000000")
    with pytest.raises(InvalidInput, match=r"There are: none\."):
        find_model(copied / "elsewhere", "000000")
    whole = kept_in(copied)[0].facts.digest
    assert find_model(copied, whole.upper()).facts.digest == whole


def test_several_digests_with_the_same_beginning_are_listed(copied: Path) -> None:
    """Two digests with six equal digits are rare; so here they are claimed."""
    facts = [kept.facts for kept in kept_in(copied)]
    same = [dataclasses.replace(item, digest="abcdef" + item.digest[6:]) for item in facts[:2]]
    found = itertools.cycle(same)
    with (
        patch("harness.records.kept_models.ModelFacts.from_json", lambda content: next(found)),
        pytest.raises(InvalidInput, match=r"The digest is 'abcdef'; .* of one model .* There are: ") as told,
    ):
        find_model(copied, "abcdef")
    assert all(item.digest[:12] in str(told.value) for item in same)


def change_header(kept: ModelFolder, change: Any) -> None:
    """Write the weights' file again with another header, and a model.json that vouches for it."""
    content = kept.weights_path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    body = content[8 + length :]
    header, body = change(header, body)
    packed = json.dumps(header).encode()
    content = struct.pack("<Q", len(packed)) + packed + body
    kept.write(content, dataclasses.replace(kept.facts, sha256=sha256(content), bytes=len(content)))


def huge(header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    name = next(name for name in header if name.endswith("weight"))
    header[name]["shape"] = [10**9, 10**9]
    return header, body


def renamed(header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    name = next(name for name in header if name.endswith("weight"))
    header["another"] = header.pop(name)
    return header, body


def other_type(header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    name = next(name for name in header if name.endswith("weight"))
    header[name]["dtype"] = "I32"
    return header, body


def other_shape(header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    name = next(name for name, part in header.items() if len(part.get("shape", ())) == 2)
    header[name]["shape"] = [*header[name]["shape"][::-1], 1]
    return header, body


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (huge, "does not hold the model of model.json: "),
        (renamed, "does not hold the model of model.json: .* Unexpected key.*another"),
        (other_type, "does not hold the model of model.json: .*floating point"),
        (other_shape, "does not hold the model of model.json: .*size mismatch"),
        (lambda header, body: (header, body[:-4]), "does not hold the model of model.json: "),
    ],
)
def test_weights_that_are_not_of_the_model_are_refused(copied: Path, change: Any, message: str) -> None:
    kept = kept_in(copied)[0]
    change_header(kept, change)
    with pytest.raises(InvalidInput, match=message):
        load_model(copied, kept.facts.digest)


def test_a_changed_byte_a_cut_file_and_a_pipe_are_refused(copied: Path) -> None:
    first, second, third = kept_in(copied)
    content = bytearray(first.weights_path.read_bytes())
    content[-1] ^= 1
    first.weights_path.write_bytes(content)
    with pytest.raises(InvalidInput, match=f"has the SHA-256 [0-9a-f]+; model.json says {first.facts.sha256}"):
        load_model(copied, first.facts.digest)
    second.weights_path.write_bytes(second.weights_path.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match=f"model.json says {second.facts.sha256}"):
        load_model(copied, second.facts.digest)
    third.weights_path.unlink()
    os.mkfifo(third.weights_path)
    with pytest.raises(InvalidInput, match=r"model\.safetensors"):
        load_model(copied, third.facts.digest)


def test_a_description_of_another_run_is_no_model(copied: Path) -> None:
    kept = kept_in(copied)[0]
    content = json.loads(kept.facts_path.read_text())
    content["config"]["seed"] += 7
    kept.facts_path.write_text(json.dumps(content))
    assert len(kept_in(copied)) == 2
    with pytest.raises(InvalidInput, match="its configuration has another digest"):
        _ = ModelFolder(kept.path).facts


JSON = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.sampled_from(["config", "digest", "weights", "arm"]), part),
)


@given(content=JSON)
def test_whatever_stands_in_a_description_is_one_message(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    folder = tmp_path_factory.mktemp("model")
    (folder / FACTS).write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match=r"Could not read .*model\.json: "):
        _ = ModelFolder(folder).facts


def test_a_copy_has_both_files_and_takes_no_others_place(results: Path, tmp_path: Path) -> None:
    kept = kept_in(results)[0]
    written = kept.copy_to(tmp_path / "vit.safetensors")
    assert [path.name for path in written] == ["vit.safetensors", "vit.json"]
    assert written[0].read_bytes() == kept.weights_path.read_bytes()
    assert json.loads(written[1].read_text()) == json.loads(kept.facts_path.read_text())
    with pytest.raises(InvalidInput, match=r"vit\.safetensors is there already; --output names a new file"):
        kept.copy_to(tmp_path / "vit.safetensors")
    with pytest.raises(InvalidInput, match=r"--output is '.*other\.json'; it names the weights, FILE\.safetensors\."):
        kept.copy_to(tmp_path / "other.json")


def test_a_damaged_model_does_not_hold(copied: Path) -> None:
    folder = copied / "tiny" / "smoke"
    with tables_only():
        assert verify(folder).faults == ()
        kept = kept_in(copied)[0]
        weights = bytearray(kept.weights_path.read_bytes())
        weights[-1] ^= 1
        kept.weights_path.write_bytes(weights)
        (fault,) = verify(folder).faults
    assert fault.path == kept.weights_path.relative_to(folder).as_posix()


def test_a_model_that_cannot_be_registered_is_not_copied_either(results: Path, tmp_path: Path) -> None:
    """So that the same command goes on once what is told has been done."""
    digest, output = kept_in(results)[0].facts.digest, tmp_path / "vit.safetensors"
    arguments = ["--results", str(results), "load", digest, "--output", str(output), "--register", "mine"]
    found = CliRunner().invoke(cli, arguments)
    assert isinstance(found.exception, InvalidInput)
    assert "lacks the run of model" in str(found.exception)
    assert list(tmp_path.iterdir()) == []


@given(names=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=8, unique=True))
def test_each_arm_has_a_folder_of_its_own(names: list[str]) -> None:
    folders = [kept.path for kept in arm_folders(Path("results/s/smoke"), names).values()]
    assert len({path.name for path in folders}) == len(names)
    assert {path.parent for path in folders} == {Path("results/s/smoke/work/models")}
    assert all(path.name.isascii() and path.name == path.name.lower() and path.name.strip(".-") for path in folders)


@pytest.mark.parametrize("name", study_names())
def test_the_weights_of_every_shipped_arm_can_be_kept_and_loaded(name: str, tmp_path: Path) -> None:
    """Names, types and shapes by the specification alone are those of the built model."""
    import safetensors.torch

    from harness.models import outline
    from harness.training.weights import _kept

    study = harness.load_study(name, scale="smoke")
    for arm in study.all_arms:
        side = study.data_of(arm, None).image_size or study.data.known_image_size
        assert side is not None
        state = build(arm.model, image_size=side, channels=1, classes=10).state_dict()
        kept = safetensors.torch.load(safetensors.torch.save({name: _kept(it) for name, it in state.items()}))
        with outline(arm.model):
            expected = build(arm.model, image_size=side, channels=1, classes=10).state_dict()
        found, known = ({name: (it.dtype, it.shape) for name, it in part.items()} for part in (kept, expected))
        assert found == known, arm.name


def test_the_command_describes_copies_and_prints_json(results: Path, tmp_path: Path) -> None:
    kept = kept_in(results)[0]
    asked = ["--results", str(results), "load", kept.facts.digest[:7]]
    output = tmp_path / "best.safetensors"
    told = CliRunner().invoke(cli, [*asked, "--output", str(output)])
    assert told.exit_code == 0, told.output
    assert f"digest    {kept.facts.digest}\n" in told.output
    assert f"{kept.facts.validation_accuracy:.2%} validation" in told.output
    assert f"Written: {output}\n" in told.output
    assert output.read_bytes() == kept.weights_path.read_bytes()
    again = CliRunner().invoke(cli, [*asked, "--output", str(output), "--json"])
    assert isinstance(again.exception, InvalidInput)
    assert again.stdout == ""
    found = json.loads(CliRunner().invoke(cli, [*asked, "--json"]).stdout)
    assert (found["digest"], found["study"], found["path"]) == (kept.facts.digest, "tiny/smoke", str(kept.path))
