"""The image that a study's interventions change: which there are, and that it is kept and read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_studies import VIT, tiny_study

from harness.execution.interventions import interventions, keep_samples
from harness.records.files import RecordsError
from harness.records.samples import NAME, read_samples, write_samples
from harness.spec import Arm, DataSpec

MOVED = tuple(
    Arm(name, VIT, level=name, changes={"data.moved_share": share, "data.moved_patch": side})
    for name, share, side in (("patches", 1.0, 4), ("other patches", 1.0, 2), ("half", 0.5, 4), ("pixels", 1.0, 1))
)


def test_one_image_is_kept_as_each_intervention_changes_it(tmp_path: Path):
    study = tiny_study(arms=MOVED, test_shifts=(3,))
    keep_samples(study, tmp_path)
    kept = read_samples(tmp_path / NAME)
    plain = kept["as it is"]
    assert list(kept)[1:] == [
        *(
            "patches permuted",
            "patches permuted, 2 px, seed 0",
            "half the patches permuted",
            "pixels permuted",
            "shifted by 3 px",
        ),
    ]
    assert plain.shape == (1, 8, 8)
    for name in list(kept)[1:-1]:
        assert (kept[name] != plain).any()
        assert sorted(kept[name].flat) == sorted(plain.flat)
    assert (kept["shifted by 3 px"][:, :, 3:] == plain[:, :, :-3]).all()
    assert not kept["shifted by 3 px"][:, :, :3].any()
    keep_samples(replace(study, arms=(Arm("ViT", VIT, level=1),), test_shifts=()), tmp_path)
    assert read_samples(tmp_path / NAME) == {}


def test_of_a_cue_at_several_distances_one_image_each_is_kept(tmp_path: Path):
    data = DataSpec(source="cued", train_size=100, validation_size=50)
    arms = (Arm("far", VIT, level=16, changes={"data.cued.distance": 16}),)
    study = tiny_study(data=data, baseline=Arm("near", VIT, level=8), arms=arms)
    keep_samples(study, tmp_path)
    near, far = (image[0].astype(int) for image in read_samples(tmp_path / NAME).values())
    assert list(read_samples(tmp_path / NAME)) == ["cue 8 px away", "cue 16 px away"]
    apart = np.argwhere(abs(near - far) > 100)  # only the mark lies elsewhere, 8 pixels lower
    assert len(apart) >= 4
    assert np.ptp(apart[:, 0]) == pytest.approx(9, abs=1)
    assert np.ptp(apart[:, 1]) <= 2
    keep_samples(tiny_study(data=data), tmp_path)
    assert read_samples(tmp_path / NAME) == {}


def test_a_study_of_models_changes_no_image():
    assert interventions(tiny_study()) == {}


def test_pixels_that_do_not_fit_their_shapes_are_refused(tmp_path: Path):
    path = tmp_path / NAME
    write_samples(path, {"as it is": np.zeros((1, 2, 2), np.uint8)})
    with np.load(path) as kept:
        arrays = dict(kept)
    for name, wrong in (("pixels", np.zeros(5, np.uint8)), ("shapes", [2, 2, 1]), ("shapes", [1, -2, -2])):
        np.savez(path, **{**arrays, name: np.array(wrong)})
        with pytest.raises(RecordsError, match=NAME):
            read_samples(path)
