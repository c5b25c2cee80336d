"""What was seen inside models: kept and read back, drawn in a section of the report, and told with its numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from figure_texts import collisions
from matplotlib.colors import to_hex
from report_cases import single, thirty_long

from harness.records.files import RecordsError
from harness.records.insides import (
    NAME,
    AttentionAtSize,
    AttentionSeen,
    FiltersSeen,
    InsideArm,
    PositionsSeen,
    SimilaritySeen,
    read_insides,
    write_insides,
)
from harness.report import figures, write_report
from harness.report.figures import PICTURES, drawings
from harness.report.style import theme
from harness.report.view import View


def plain(*shape, low=0.0, high=1.0):
    """Nested tuples of numbers from `low` to `high`."""
    frozen = lambda value: tuple(map(frozen, value)) if isinstance(value, list) else value  # noqa: E731
    return frozen(np.linspace(low, high, int(np.prod(shape))).reshape(shape).tolist())


def seen_in(arm, digest, *, grid=4, blocks=4, channels=1):
    """A vision transformer on 28 px, compared with a ResNet of three blocks."""
    return InsideArm(
        arm=arm,
        digest=digest,
        images=256,
        side=28,
        shuffled=((1, 0.9), (2, 0.6), (7, 0.2)),
        blackened=((0.0, 0.9), (0.25, 0.7), (0.5, 0.55), (0.75, 0.3), (0.9, 0.15)),
        black_side=4,
        field=plain(28, 28),
        middle=13.5,
        half_side=9.0,
        attention=AttentionSeen(
            distances=plain(blocks, 3, low=3.14, high=9.8),
            even=11.23,
            rollout=plain(3, grid, grid),
            images=plain(3, 28, 28, channels, high=255),
            half_share=0.21,
        ),
        filters=FiltersSeen(components=plain(10, channels, 7, 7, low=-1), shares=(0.3, 0.2, 0.1, 0.1, *[0.05] * 6)),
        positions=PositionsSeen(maps=plain(4, 4, 4, 4, low=-1), beside=0.62, in_line=0.4, elsewhere=-0.08),
        similarity=SimilaritySeen(other="ResNet-8", digest="r", cka=plain(blocks, 3)),
        by_size=tuple(
            AttentionAtSize(train_size=size, digest=digest, distances=plain(blocks, 3, low=low, high=low + 1))
            for size, low in ((1000, 8.0), (9000, 6.0), (55_000, 4.0))
        ),
    )


def case(simulated=single, **fields):
    """A simulated study whose arms were looked into, each in the run of its first seed."""
    records, findings = simulated()
    digests = records.runs.drop_duplicates("arm").set_index("arm")["digest"]
    insides = [seen_in(arm.name, digests[arm.name], **fields) for arm in records.study.arms]
    resnet = replace(seen_in("ResNet-8", digests[records.study.baseline.name]), arm=records.study.baseline.name)
    insides.append(replace(resnet, attention=None, filters=None, positions=None, similarity=None, by_size=None))
    return replace(records, insides=tuple(insides)), findings


def drawn(records, findings):
    """The figures of the section, by their names; no others are drawn."""
    with theme(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "PICTURES", {"inside": PICTURES["inside"]})
        found = drawings(View(records, findings))
        return {name: drawing for name, section, drawing in found if section == "inside"}


@pytest.fixture(scope="module")
def pictures():
    return drawn(*case())


def test_every_figure_is_drawn_where_models_were_looked_into(pictures):
    assert list(pictures) == [draw.__name__ for draw in PICTURES["inside"]]
    assert drawn(*single()) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [{}, {"simulated": thirty_long}, {"blocks": 1, "grid": 1, "channels": 3}],
    ids=["as most are", "thirty arms", "one block, in colour"],
)
def test_their_texts_do_not_collide(more):
    for name, drawing in drawn(*case(**more)).items():
        assert collisions(drawing.figure) == [], name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("attention_distance", "ViT/14, in block 1 heads attend over 3.1 to 4.4 px, in block 4 over 8.6 to 9.8 px"),
        ("attention_distance", "in block 4 over 8.6 to 9.8 px (evenly: 11.2)"),
        (
            "attention_by_size",
            "ViT/7, more locally with more data: 8.2 px at 1,000 images and 4.2 px",
        ),
        ("attention_rollout", "ViT/7, half of what reaches the head comes from 21% of the patches"),
        ("embedding_filters", "ViT/7, the first 4 components of the filters hold 70% of their variance"),
        ("position_similarity", "ViT/7, mean cosine 0.62 side by side, 0.4 in one row or column, −0.08 elsewhere"),
        ("block_similarity", "ViT/7, block 1 is most like block 3 (0.18), block 4 is most like block 3 (1.00)"),
        ("receptive_field", "ResNet-8, half of it within 9 of 28 px"),
        ("accuracy_shuffled", "ResNet-8 90.0%, with 7 x 7 patches shuffled 20.0%"),
        ("accuracy_blackened", "ViT/4 90.0%, with 50% black 55.0%"),
    ],
)
def test_each_figure_has_its_reading(pictures, name, said):
    assert said in pictures[name].text


def test_arms_look_as_in_other_figures(pictures):
    records, findings = case()
    looks = View(records, findings).looks
    lines = pictures["accuracy_blackened"].figure.axes[0].lines
    assert [to_hex(line.get_color()) for line in lines] == [looks[seen.arm].colour for seen in View(*case()).insides]


def test_models_of_runs_that_the_report_lacks_are_left_out():
    records, findings = case()
    others = [replace(seen, digest="another") for seen in records.insides[:2]]
    shown = View(replace(records, insides=(*others, *records.insides[2:])), findings).insides
    assert [seen.arm for seen in shown] == ["ResNet-8", "ViT/4"]


@pytest.mark.usefixtures("words")
def test_the_report_has_a_section_of_them(tmp_path: Path):
    records, findings = case()
    written = write_report(records, findings, tmp_path)
    assert {path.name for path in (tmp_path / "inside").iterdir()} == {
        f"{draw.__name__}.{kind}" for draw in PICTURES["inside"] for kind in ("png",)
    }
    assert {path for path in written if path.parent.name == "inside"} == set((tmp_path / "inside").iterdir())
    text, said = (tmp_path / "REPORT.md").read_text(), json.loads((tmp_path / "report.json").read_bytes())
    assert "## Inside the models" in text
    assert "](inside/attention_distance.png)" in text
    assert any("heads attend over 3.1 to 4.4 px" in line for line in text.splitlines() if line.startswith("- "))
    assert len(said["inside"]) == 9
    assert {"figures/accuracy_by_level.png", "inside/receptive_field.png"} < set(said["files"]["figures"])
    write_report(replace(records, insides=()), findings, tmp_path)
    assert list((tmp_path / "inside").iterdir()) == []


def test_what_was_seen_is_read_back(tmp_path: Path):
    insides = case()[0].insides
    write_insides(tmp_path, insides)
    found = read_insides(tmp_path)
    write_insides(tmp_path, found)
    assert read_insides(tmp_path) == found
    assert [seen.arm for seen in found] == [seen.arm for seen in insides]
    np.testing.assert_allclose(found[0].attention.distances, insides[0].attention.distances, rtol=1e-3)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda kept: kept[0].update(field=[[0, 1], [1]]), "inhomogeneous"),
        (lambda kept: kept[0].update(field=[]), "field is empty"),
        (lambda kept: kept[0].pop("half_side"), "half_side"),
        (lambda kept: kept[0].update(shuffled=[]), "shuffled is empty"),
        (lambda kept: kept[0]["attention"].update(distances="far"), "distances"),
    ],
)
def test_what_nobody_saw_is_refused(tmp_path: Path, damage, said):
    write_insides(tmp_path, case()[0].insides)
    kept = json.loads((tmp_path / NAME).read_bytes())
    damage(kept)
    (tmp_path / NAME).write_text(json.dumps(kept))
    with pytest.raises(RecordsError, match=f"Could not read .*{NAME}: .*{said}"):
        read_insides(tmp_path)


def test_without_the_file_nothing_was_seen(tmp_path: Path):
    assert read_insides(tmp_path) == ()
