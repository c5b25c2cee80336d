"""Looking into the kept models of a study: by the command and at the end of a run, and what cannot be looked into."""

import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from finished_study import Kept, run_in, tables_only
from tiny_studies import VIT, tiny_study

from harness.__main__ import cli
from harness.execution import inside_models, publish
from harness.execution.inside_models import look_inside
from harness.execution.publish import read_results
from harness.records.insides import NAME, InsideArm, read_insides
from harness.records.kept_models import models_in
from harness.records.study_file import read_study
from harness.spec import Arm, InvalidInput, Search, SwinSpec

SWIN = SwinSpec(patch_size=2, width=8, depths=(1, 1), heads=(1, 1), window=2)


def looked(folder: Path, *arms: str, anew: bool = True) -> tuple[list[InsideArm], list[str]]:
    said = list[str]()
    return look_inside(folder, read_study(folder)[0], said.append, arms, anew=anew), said


def test_what_was_seen_is_of_the_kept_models(kept: Kept) -> None:
    seen = read_insides(kept.folder)
    assert {arm.arm: arm.digest for arm in seen} == {it.facts.arm: it.facts.digest for it in models_in(kept.folder)}
    resnet, vit = seen
    assert (resnet.arm, resnet.attention, resnet.similarity, resnet.side) == ("ResNet", None, None, 8)
    assert vit.attention is not None
    assert vit.similarity is not None
    assert (len(vit.attention.distances), len(vit.attention.distances[0])) == (VIT.depth, VIT.heads)
    assert vit.similarity.digest == resnet.digest
    assert (len(vit.similarity.cka), len(vit.similarity.cka[0])) == (1, 3)  # the blocks of both


def test_accuracies_are_those_of_the_run_where_nothing_is_changed(kept: Kept) -> None:
    """On all test images, the first of each curve is the run's test accuracy."""
    with patch.object(inside_models, "IMAGES", 10_000), kept.copy() as folder:
        seen, _ = looked(folder)
        for arm, model in zip(seen, models_in(folder), strict=True):
            assert arm.arm == model.facts.arm
            assert arm.shuffled[0] == (1, pytest.approx(model.facts.test_accuracy))
            assert arm.blackened[0] == (0, pytest.approx(model.facts.test_accuracy))


def test_looking_again_sees_the_same_and_only_where_it_is_needed(kept: Kept) -> None:
    first = read_insides(kept.folder)
    with kept.copy() as folder:
        assert looked(folder, anew=False) == (list(first), [])
        again, said = looked(folder, "ViT/4")
        assert [text.split(",")[0] for text in said] == ["Looked into ViT/4"]
        publish.write_insides(folder, again)
        assert read_insides(folder) == first


def test_what_was_seen_is_published(kept: Kept) -> None:
    """That such a study holds is tested in `test_verify.py`."""
    assert "inside/attention_distance.png" in (kept.folder / "manifest.json").read_text()


@pytest.mark.parametrize(("scale", "looks"), [("laptop", True), ("smoke", False)])
def test_a_run_looks_inside_but_at_scale_smoke(tmp_path: Path, scale: str, looks: bool) -> None:
    folder = tmp_path / "tiny" / scale
    with tables_only():
        run_in(folder, tiny_study(scale=scale))
        assert bool(read_insides(folder)) == looks
        with patch.object(inside_models, "_look", side_effect=AssertionError("nothing is new")):
            witness, records = run_in(folder, tiny_study(scale=scale))
    assert not any("not looked into" in note for note in witness.notes)
    assert bool(records.insides) == looks


def test_what_goes_wrong_inside_costs_no_report(tmp_path: Path) -> None:
    with tables_only(), patch.object(inside_models, "_look", side_effect=RuntimeError("out of luck")):
        witness, records = run_in(tmp_path / "tiny" / "laptop", tiny_study(scale="laptop"))
    (note,) = (note for note in witness.notes if "not looked into" in note)
    assert "(out of luck). Try again: patchbench --results" in note
    assert note.endswith("look tiny --scale laptop")
    assert records.insides == ()


def test_models_of_other_settings_are_looked_into_anew(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "laptop"
    with tables_only():
        run_in(folder, tiny_study(scale="laptop"))
        before = {seen.digest for seen in read_insides(folder)}
        changed = tiny_study(scale="laptop", seeds=(5, 6, 7), data=replace(tiny_study().data, train_size=120))
        run_in(folder, changed)
        after = {seen.digest for seen in read_insides(folder)}
    assert len(before) == len(after) == 2
    assert not before & after
    assert len(list(folder.glob(f"work/set_aside/results.*/{NAME}"))) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--arm", "ViT/5"],
            r"tiny has no arm 'ViT/5'\. Did you mean 'ViT/4'\? Arms that can be looked into: ResNet, ",
        ),
        (["--arm", "ViT/4", "--arm", "Swin"], r"Arm 'Swin' cannot be looked into: .*\(swin\).* ViT and ResNet have\."),
    ],
)
def test_arms_that_cannot_be_looked_into(kept: Kept, arguments: list[str], said: str) -> None:
    study = tiny_study(arms=(Arm("ViT/4", VIT), Arm("Swin", SWIN)), name=kept.records.study.name)
    with kept.copy() as folder, patch.object(publish, "read_study", return_value=(study, {})):
        found = CliRunner().invoke(
            cli, ["--results", str(folder.parents[1]), "look", "tiny", "--scale", "smoke", *arguments]
        )
        assert isinstance(found.exception, InvalidInput)
        with pytest.raises(InvalidInput, match=said):
            raise found.exception
        assert (folder / "manifest.json").exists()


def test_a_study_without_models_is_refused_with_the_command(kept: Kept) -> None:
    remedy = r"has no model that can be looked into; .* Run: patchbench --results .* run tiny --scale smoke"
    with kept.copy(work=False) as folder, pytest.raises(InvalidInput, match=remedy):
        publish.look(folder, print)
    with kept.copy() as folder:
        shutil.rmtree(folder / "work" / "models" / "vit-4")
        assert [seen.arm for seen in looked(folder)[0]] == ["ResNet"]
        with pytest.raises(InvalidInput, match="has no model of ViT/4 that can be looked into"):
            publish.look(folder, print, ["ViT/4"])


def test_models_are_compared_on_the_same_images(tmp_path: Path) -> None:
    """Where each seed draws its own, those of the other model's seed, as large as each model takes them."""
    data = replace(tiny_study().data, resplit=True)
    other = Arm("4 px", VIT, changes={"data.image_size": 4})
    with tables_only():
        run_in(tmp_path / "tiny" / "smoke", tiny_study(data=data, arms=(Arm("ViT/4", VIT), other)))
        seen, _ = looked(tmp_path / "tiny" / "smoke")
    assert [bool(arm.similarity) for arm in seen] == [False, True, True]
    assert [arm.side for arm in seen] == [8, 8, 4]


@pytest.mark.slow
def test_attention_is_looked_at_by_training_size(tmp_path: Path) -> None:
    """In the best model of the smallest, the middle and the largest, which are kept wherever they lie."""
    folder, sizes = tmp_path / "tiny" / "laptop", (40, 60, 80, 100)
    with tables_only():
        run_in(folder, tiny_study(scale="laptop", train_sizes=sizes, search=Search()))
        resnet, vit = read_insides(folder)
        assert resnet.by_size is None
        runs = read_results(folder)[0].runs
        of_vit = runs[runs["arm"] == "ViT/4"].sort_values(["validation_accuracy", "seed"], ascending=[False, True])
        best = of_vit.drop_duplicates("train_size").set_index("train_size")["digest"]
        assert vit.by_size is not None
        assert {at.train_size: at.digest for at in vit.by_size} == {size: best[size] for size in (40, 80, 100)}
        elsewhere = {at.digest for at in vit.by_size} - {vit.digest}  # the arm's best one may be of another size
        assert len(list(folder.glob("work/models_by_size/*"))) == len(elsewhere)
        assert not list(folder.glob("work/runs/*/model"))
        with patch.object(inside_models, "_look", side_effect=AssertionError("nothing is new")):
            witness, _ = run_in(folder, tiny_study(scale="laptop", train_sizes=sizes, search=Search()))
    assert not any("not looked into" in note for note in witness.notes)
