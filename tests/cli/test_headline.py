"""`patchbench headline`: its files, what it says of what is lacking, and the index."""

import csv
import html
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.records.run_table import (
    CURVE_COLUMNS,
    RUN_COLUMNS,
    TRIAL_COLUMNS,
    StudyRecords,
    with_columns,
    write_tables,
)
from harness.report import write_index
from harness.spec import Arm, DataSpec, Recipe, ResNetSpec, ResolvedStudy, ViTSpec

Here = Callable[..., "subprocess.CompletedProcess[str]"]
SIZES = (100, 400, 1200)
LEADS = {"as they are": (0.2, 0.1, 0.05), "patches permuted": (0.1, -0.1, -0.2)}
RESNET, VIT = ResNetSpec(depth=8, width=4), ViTSpec(patch_size=4, width=16, depth=1, heads=2)
FILES = ("headline.svg", "headline.png", "headline.csv")


def keep(results: Path, name: str, conditions: tuple[str, ...], source: str = "digits", images: int = 500) -> Path:
    """Results of a study in which the ResNet, whose accuracy is .7, leads by LEADS; each run saw 1,200 images."""
    moved = {"data.moved_share": 1.0, "data.moved_patch": 4}
    arms = [
        Arm(
            f"{family} {condition}",
            model,
            against=f"ResNet {condition}" if family == "ViT" else None,
            changes=moved if condition == "patches permuted" else {},
        )
        for family, model in (("ResNet", RESNET), ("ViT", VIT))
        for condition in conditions
    ]
    study = ResolvedStudy(
        name=name,
        scale="laptop",
        question="Does data beat bias?",
        source="none",
        factor="moved",
        data=DataSpec(source=source),
        recipe=Recipe(updates=10, batch_size=8),
        baseline=arms[0],
        arms=tuple(arms[1:]),
        train_sizes=SIZES,
        seeds=(0, 1, 2),
    )
    rng, rows, curves = np.random.default_rng(0), list[dict[str, object]](), list[dict[str, object]]()
    for arm, size in study.cells:
        family, condition = arm.name.split(" ", 1)
        lead = LEADS[condition][SIZES.index(size or 0)] if family == "ViT" else 0.0
        for seed in study.seeds:
            own = {"study": name, "scale": "laptop", "arm": arm.name, "is_baseline": arm is study.baseline}
            own |= {"train_size": size, "seed": seed, "status": "completed", "digest": f"{arm.name}-{size}-{seed}"}
            own |= {"images_seen": 1200}
            rows.append(own | {"test_accuracy": 0.7 - lead + rng.normal(0, 0.003), "params": 1, "macs_per_image": 1})
            losses = zip((1, 2), (1.0, 0.2), (1.0, 0.8), strict=True)
            names = ("update", "train_loss", "validation_loss")
            curves += [own | {"validation_accuracy": 0.5} | dict(zip(names, at, strict=True)) for at in losses]
    folder = results / name / "laptop"
    runs, trials, evaluations = (
        with_columns(of, columns) for of, columns in ((rows, RUN_COLUMNS), ([], TRIAL_COLUMNS), (curves, CURVE_COLUMNS))
    )
    folder.mkdir(parents=True)
    write_tables(folder, StudyRecords(study=study, provenance={}, runs=runs, trials=trials, curves=evaluations))
    return folder


class Images:
    """Stands for the process that is asked for images: each is grey."""

    def __init__(self, function: str, asked: list[DataSpec]) -> None:
        assert function == "sample"
        self.hear = iter([np.full((1, 8, 8), 128, dtype=np.uint8)] * len(asked)).__next__

    def close(self) -> None:
        pass


@pytest.fixture
def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.execution.headline.Call", Images)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    results = tmp_path / "results"
    keep(results, "data_scale", ("as they are", "patches permuted"))
    keep(results, "dataset_size", ("as they are",))
    return results


def rows(results: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((results / "headline.csv").read_text())))


@pytest.mark.slow
def test_picture_of_both_panels_with_samples(results: Path, here: Here) -> None:
    done = here(results, "headline", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["notes"] == []
    assert said["files"] == [str(results / name) for name in FILES]
    title = said["title"]
    assert re.fullmatch(
        r"From 100 to 1,200 images: on images as they are the ResNet's lead goes from [\d.]+ points to [\d.]+; "
        r"with patches permuted the ViT overtakes at about \d+",
        title,
    )
    assert "Scikit-learn's digits: as they are +" in said["text"]
    drawing = (results / "headline.svg").read_text()
    assert f"<title>{html.escape(title)}</title><desc>{html.escape(said['text'])}</desc>" in drawing
    assert drawing.count("<image") == 3
    with Image.open(results / "headline.png") as picture:
        assert picture.width == 2000
    found = rows(results)
    leads = [row for row in found if row["mark"] == "lead" and row["panel"] == "data_scale/laptop"]
    assert [row["condition"] for row in leads] == ["as they are"] * 3 + ["patches permuted"] * 3
    assert [float(row["lead"]) for row in leads] == pytest.approx(
        [*LEADS["as they are"], *LEADS["patches permuted"]], abs=0.01
    )
    assert [row["limited_by_updates"] for row in leads] == ["", "", "ResNet and ViT"] * 2  # 1,200 images, seen once
    assert "ResNet and ViT limited by updates" in said["text"]
    crossing, published = (row for row in found if row["mark"] == "crossing")
    assert (crossing["panel"], crossing["condition"]) == ("data_scale/laptop", "patches permuted")
    low, place, high = (float(crossing[name]) for name in ("images_low", "images", "images_high"))
    assert 100 < low < place < high < 400
    assert f"[{float(f'{low:.2g}'):,.0f}, {float(f'{high:.2g}'):,.0f}]" in said["text"]
    assert (published["panel"], published["images"][:3], published["images_low"]) == ("published", "204", "")


@pytest.mark.usefixtures("without_data")
def test_equal_results_give_equal_bytes_and_samples_are_kept(
    results: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here(results, "headline").returncode == 0
    before = {name: (results / name).read_bytes() for name in (*FILES, "headline.npz")}
    monkeypatch.setattr("harness.execution.headline.Call", None)  # no second process is asked for images
    assert here(results, "headline").returncode == 0
    assert {name: (results / name).read_bytes() for name in before} == before


def test_images_that_are_not_at_hand_and_a_study_that_is_not(tmp_path: Path, here: Here) -> None:
    results = tmp_path / "results"
    keep(results, "data_scale", ("as they are",), source="python:nowhere:images")
    done = here(results, "headline")
    assert done.returncode == 0, done.stderr
    assert "Without real images, as there are no results of dataset_size." in done.stdout
    assert "run dataset_size --scale laptop" in done.stdout
    assert "Without sample images of python:nowhere:images." in done.stdout
    assert "<image" not in (results / "headline.svg").read_text()
    assert not (results / "headline.npz").exists()
    assert {row["panel"] for row in rows(results)} == {"data_scale/laptop", "published"}


def test_without_results_it_names_what_to_run(tmp_path: Path, here: Here) -> None:
    results = tmp_path / "results"
    results.mkdir()
    done = here(results, "headline")
    assert done.returncode == 2
    assert "run data_scale --scale laptop" in done.stderr
    assert list(results.iterdir()) == []
    keep(results, "data_scale", ("as they are",))
    assert here(results, "headline", "--scale", "gpu").returncode == 2
    assert not (results / "headline.svg").exists()


@pytest.mark.usefixtures("without_data")
def test_index_shows_the_picture_where_it_is(results: Path, here: Here) -> None:
    write_index(results)
    assert "headline.svg" not in (results / "index.html").read_text() + (results / "README.md").read_text()
    said = json.loads(here(results, "headline", "--json").stdout)
    page, text = (results / "index.html").read_text(), (results / "README.md").read_text()
    assert page.count('src="headline.svg"') == text.count('src="headline.svg"') == 1
    assert said["title"] in html.unescape(page)
    assert said["title"] in html.unescape(text).replace("\\", "")
    assert said["text"] in html.unescape(page)
    (results / "headline.svg").write_text("<svg><title>x</title></svg>")
    write_index(results)
    assert "headline.svg" not in (results / "index.html").read_text()
