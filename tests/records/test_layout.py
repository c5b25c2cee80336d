"""Where things of a study lie, and that nothing is written through links that lead elsewhere."""

import pytest

from harness.records.layout import StudyFolder
from harness.spec import InvalidInput

PLACES = (
    "widths",
    "widths/smoke",
    "widths/smoke/figures",
    "widths/smoke/work",
    "widths/smoke/work/runs",
    "widths/smoke/work/models",
    "widths/smoke/work/models/vit-4",
    "widths/smoke/work/runs/0123/model",
    "widths/smoke/work/set_aside",
    "widths/smoke/work/runs/0123",
    "widths/smoke/work/runs/0123/damaged",
    "work",
    "work/pretrained",
    "work/pretrained/0123/model",
)


@pytest.mark.parametrize("name", PLACES)
def test_a_link_that_leads_out_of_the_results_is_refused(tmp_path, name):
    results, outside = tmp_path / "results", tmp_path / "outside"
    (results / name).parent.mkdir(parents=True)
    outside.mkdir()
    folder = StudyFolder(results / "widths" / "smoke")
    folder.require_inside(results)
    (results / name).symlink_to(outside)
    with pytest.raises(InvalidInput) as caught:
        folder.require_inside(results)
    assert str(caught.value) == (
        f"{results / name} is a link that leads out of {results}. Put the folder itself there."
    )
    assert list(outside.iterdir()) == []


def test_links_within_the_results_and_to_them_are_followed(tmp_path):
    (tmp_path / "disk" / "elsewhere").mkdir(parents=True)
    (tmp_path / "results").symlink_to(tmp_path / "disk")
    (tmp_path / "results" / "widths").symlink_to(tmp_path / "results" / "elsewhere")
    StudyFolder(tmp_path / "results" / "widths" / "smoke").require_inside(tmp_path / "results")


def test_the_latest_study_is_the_launched_one(tmp_path):
    folder = StudyFolder(tmp_path)
    assert folder.latest_study_file == tmp_path / "study.json"
    folder.work.mkdir()
    folder.launched_study_file.write_text("{}")
    assert folder.latest_study_file == tmp_path / "work" / "study.json"
