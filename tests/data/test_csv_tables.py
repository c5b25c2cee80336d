"""Tables of image files: what their rows mean, and everything that can be wrong with them."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import content_hash, facts, load
from harness.data.sources import find
from harness.data.survey import check, outline
from harness.spec import DataSpec, InvalidInput


@pytest.fixture
def folder(tmp_path):
    """12 images of 6 x 6 px in `shots/`, number n of level 10 n."""
    (tmp_path / "set" / "shots").mkdir(parents=True)
    for number in range(12):
        pixels = np.full((6, 6, 3), 10 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / "shots" / f"{number}.png")
    return tmp_path / "set"


PARTED = ["path,label,split", *(f"shots/{n}.png,{'ab'[n % 2]},{'train' if n < 8 else 'test'}" for n in range(12))]
FLAT = ["path,label", *(f"shots/{n}.png,{'ab'[n % 2]}" for n in range(12))]


def table(folder, lines, *, encoding="utf-8", name="table.csv"):
    (folder / name).write_bytes("\n".join(lines).encode(encoding))
    return DataSpec(source=f"csv:{folder / name}")


def first_levels(split):
    return split.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rows_are_read_with_their_split(folder, encoding):
    spec = table(folder, PARTED, encoding=encoding)
    known = facts(spec.source)
    assert (known.image_size, known.channels, known.classes, known.train_images, known.test_images) == (6, 3, 2, 8, 4)
    data = load(spec, phase="confirm")
    assert first_levels(data.test) == [80, 90, 100, 110]
    assert data.test.labels.tolist() == [0, 1, 0, 1]
    assert torch.equal(data.train.labels, data.train.images[:, 0, 0, 0] // 10 % 2)
    assert sorted(first_levels(data.train) + first_levels(data.validation)) == [10 * n for n in range(8)]


def test_without_a_split_it_is_split_here_as_a_folder_is(folder):
    data = load(table(folder, FLAT), phase="confirm")
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 2, 2)
    everything = [level for part in (data.train, data.validation, data.test) for level in first_levels(part)]
    assert sorted(everything) == [10 * n for n in range(12)]


def test_a_validation_part_and_more_columns_and_any_order_of_rows(folder):
    lines = [
        "label,note,split,path",
        *(
            f'{"ab"[n % 2]},"x, {n}",{split},shots/{n}.png'
            for n, split in enumerate(["test", "TEST", "val", "validation", *["Training"] * 8])
        ),
    ]
    data = load(table(folder, lines), phase="confirm")
    assert first_levels(data.test) == [0, 10]
    assert first_levels(data.validation) == [20, 30]
    assert first_levels(data.train) == [10 * n for n in range(4, 12)]
    assert outline(table(folder, lines)).origins == {}


def test_labels_that_are_numbers_are_in_their_order(folder):
    lines = ["path,label", *(f"shots/{n}.png,{(2, 10, 9)[n % 3]}" for n in range(12))]
    assert find(table(folder, lines).source).classes == ("2", "9", "10")


def test_the_identity_is_of_rows_and_contents_not_of_places(folder, tmp_path):
    one = content_hash(table(folder, PARTED))
    shutil.copytree(folder, tmp_path / "copy")
    assert content_hash(table(tmp_path / "copy", PARTED)) == one
    swapped = [line.replace("0.png,a", "0.png,b") for line in PARTED]
    assert content_hash(table(folder, swapped)) != one
    moved = [line.replace("1.png,b,train", "1.png,b,test") for line in PARTED]
    assert content_hash(table(folder, moved)) != one
    Image.new("RGB", (6, 6), (1, 2, 3)).save(folder / "shots" / "0.png")
    assert content_hash(table(folder, PARTED)) != one


def test_a_check_finds_duplicates_by_their_rows(folder):
    shutil.copy(folder / "shots" / "0.png", folder / "shots" / "8.png")
    found, _ = check(table(folder, PARTED))
    assert (found.duplicates.test_in_train, found.duplicates.first) == (1, ("shots/8.png = shots/0.png",))
    assert [(row.name, row.train + row.validation, row.test) for row in found.classes] == [("a", 4, 2), ("b", 4, 2)]


BAD = {
    "no column": (["file,label", "shots/0.png,a"], "the first line must be path,label"),
    "nothing": ([], "is not a table"),
    "no row": (["path,label"], "has no row of split train"),
    "a missing file": ([*FLAT, "shots/99.png,a"], "row 14: there is no file 'shots/99.png' in the table"),
    "a path outside": ([*FLAT, "../x.png,a"], r"row 14: there is no file '\.\./x\.png' in the table's folder"),
    "a path from the root": ([*FLAT, "/etc/hostname,a"], "row 14: there is no file '/etc/hostname' in"),
    "an empty path": ([*FLAT, ",a"], "row 14: there is no file '.' in"),
    "a null byte": ([*FLAT, "shots/\0.png,a"], "row 14: there is no file .*x00.png|NUL"),
    "an empty label": ([*FLAT, "shots/0.png,"], "row 14: the label is empty"),
    "no label": ([*FLAT, "shots/0.png"], "row 14: the label is empty"),
    "a row twice": ([*FLAT, "shots/3.png,b"], r"names 'shots/3\.png' more than once"),
    "an unknown split": ([*PARTED, "shots/0.png,a,dev"], "row 14: split is 'dev'; it must be train, val or test"),
    "an empty split": ([*PARTED, "shots/0.png,a"], "row 14: split is ''"),
    "no test rows": (PARTED[:9], "has no row of split test. Add some, or leave the column split out"),
    "no training rows": ([PARTED[0], *PARTED[9:]], "has no row of split train"),
    "one class": ([line.replace(",b", ",a") for line in FLAT], "has 1 class; it needs at least two"),
    "a rare class": ([*FLAT[:-1], "shots/11.png,c"], "Class 'c' of .* has 1 image; a class needs at least 3"),
    "a class of the test part alone": (
        [*PARTED[:-1], "shots/11.png,bb,test"],
        "part test has the class 'bb', which train does not have. Did you mean 'b'",
    ),
    "an open quote": ([*FLAT, 'shots/0.png,"a'], "is not a table in CSV and UTF-8"),
    "a huge field": ([*FLAT, "x" * 200_000 + ",a"], "is not a table in CSV and UTF-8"),
}


@pytest.mark.parametrize(("lines", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_refused(folder, lines, message):
    with pytest.raises(InvalidInput, match=message):
        load(table(folder, lines))


def test_other_encodings_and_missing_tables_are_refused(folder):
    with pytest.raises(InvalidInput, match="is not a table in CSV and UTF-8"):
        load(table(folder, [*FLAT, "shots/0.png,é"], encoding="latin-1"))
    with pytest.raises(InvalidInput, match=r"There is no file .*/no\.csv"):
        load(DataSpec(source=f"csv:{folder / 'no.csv'}"))


def test_a_file_that_is_no_image_is_named(folder):
    (folder / "shots" / "5.png").write_text("no image")
    with pytest.raises(InvalidInput, match=r"shots/5\.png is not an image that can be read"):
        load(table(folder, PARTED))
