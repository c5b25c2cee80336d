"""What is known of a study's images is told at its start and stands in its report, which rebuilds without them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from finished_study import Kept, no_figures, tables_only
from PIL import Image
from tiny_studies import Witness, tiny_study

from harness.data.survey import check
from harness.execution.publish import rebuild
from harness.execution.runner import Options, run_study
from harness.records.data_facts import ClassCount, DataFacts, class_names, of_provenance
from harness.records.files import RecordsError
from harness.records.study_file import read_study, write_study
from harness.spec import Arm, DataSpec, InvalidInput, Recipe, ViTSpec, to_plain

VIT = ViTSpec(patch_size=4, width=8, depth=1, heads=1, pool="mean")
RECIPE = Recipe(updates=2, batch_size=8, evaluations=1, precision="fp32")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """12 images of each of two classes, one of them twice, a test part of four, and a file that is none."""
    rng, root = np.random.default_rng(0), tmp_path / "photographs"
    for part, images in (("train", 12), ("test", 2)):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for number in range(images):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
    shutil.copy(root / "train" / "cat" / "0.png", root / "test" / "dog" / "0.png")
    (root / "train" / "notes.txt").touch()
    return root


@pytest.mark.slow
def test_a_run_keeps_what_it_has_found_out(plain: Kept) -> None:
    (facts,) = of_provenance(read_study(plain.folder)[1])
    assert (facts.source, facts.train, facts.validation, facts.test) == ("digits", 1_257, 180, 360)
    assert [row.test for row in facts.classes] == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    assert facts.duplicates is not None
    assert "Images of digits" in (plain.folder / "REPORT.md").read_text()


@pytest.mark.slow
def test_facts_and_cautions_stand_in_every_report(again: Path, photographs: Path, witness: Witness) -> None:
    """Made from the results folder alone, to the same bytes."""
    facts = check(DataSpec(source=f"imagefolder:{photographs}"))[0]
    assert len(facts.cautions()) == 3
    study, provenance = read_study(again / "work")
    write_study(again / "work", study, provenance | {"data": to_plain((facts,))})
    with no_figures():
        rebuild(again, witness.note)
    told = json.loads((again / "report.json").read_text())
    assert set(facts.cautions()) <= set(told["warnings"])
    assert told["data"][0]["duplicates"]["first"] == ["test/dog/0.png = train/cat/0.png"]
    for page in ("REPORT.md", "report.html"):
        text = (again / page).read_text()
        assert "only 4 test images" in text
        assert "train/notes.txt" in text
    before = {path.name: path.read_bytes() for path in again.iterdir() if path.is_file()}
    shutil.rmtree(again / "work")
    shutil.rmtree(photographs)
    with no_figures():
        rebuild(again, witness.note)
    assert {path.name: path.read_bytes() for path in again.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_the_facts_stand_at_the_start_of_a_run(photographs: Path, inline: Options, witness: Witness) -> None:
    data = DataSpec(source=f"imagefolder:{photographs}")
    study = tiny_study(data=data, recipe=RECIPE, baseline=Arm("ViT/4", VIT, level=4), arms=(), seeds=(0,))
    with tables_only():
        folder = run_study(study, inline, witness)
    start = next(note for note in witness.notes if note.startswith(study.data.source))
    assert "training images 22; validation images 2, held out; test images 4" in start
    assert "Skipped: other endings: 1 (train/notes.txt)" in witness.notes
    (facts,) = of_provenance(read_study(folder)[1])
    assert {f"note: {caution}" for caution in facts.cautions()} <= set(witness.notes)
    with tables_only():
        run_study(study, inline, witness)
    assert of_provenance(read_study(folder)[1]) == (facts,)
    before = (folder / "runs.csv").read_bytes()
    shutil.rmtree(photographs)  # a report needs no images, beside the runs neither
    with tables_only():
        assert len(rebuild(folder, witness.note).arms) == 1
    assert (folder / "runs.csv").read_bytes() == before
    assert witness.notes[-1].startswith(f"There is no folder {photographs}")
    assert witness.notes[-1].endswith("The report is made from the tables.")


def test_a_test_part_of_known_images_is_refused_before_a_training(photographs: Path, inline: Options) -> None:
    shutil.rmtree(photographs / "test")
    shutil.copytree(photographs / "train", photographs / "test")
    data = DataSpec(source=f"imagefolder:{photographs}")
    witness = Witness()
    with pytest.raises(InvalidInput, match="nothing to test on"):
        run_study(tiny_study(data=data, recipe=RECIPE), inline, witness)
    assert not witness.trained
    assert not inline.results.exists()


def test_results_without_facts_show_none_and_others_are_refused() -> None:
    assert of_provenance({}) == ()
    with pytest.raises(RecordsError, match=r"Could not read study\.json: "):
        of_provenance({"data": [{"source": 3}]})


def test_classes_of_a_named_set_have_their_names() -> None:
    """Also in results whose facts number them."""
    counts = tuple(ClassCount(name=str(label), train=4, validation=1, test=1) for label in range(10))
    facts = DataFacts(source="fashion_mnist", data_hash="", train=40, validation=10, test=10, classes=counts)
    assert class_names({"data": [to_plain(facts)]}, "fashion_mnist", 10)[6] == "Shirt"
    assert class_names({}, "classes:5-9:fashion_mnist", 5) == ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    assert class_names({}, "cifar100", 2) == ("class 0", "class 1")


def test_deep_greys_are_cautioned_of() -> None:
    """Of 12 bits in a file of 16, of which nothing tells."""
    facts = DataFacts(source="npz:a.npz", data_hash="", train=90, validation=100, test=200, modes={"I;16": 3, "L": 7})
    (told,) = facts.cautions()
    assert told.startswith("3 images of npz:a.npz of more than 8 bits per pixel (modes I;16): ")
    assert replace(facts, modes={"L": 7, "RGB": 3}).cautions() == ()
