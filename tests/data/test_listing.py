"""Which files of a folder are read as images of which class, and that nothing is left out in silence."""

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import content_hash, facts, load, resolve
from harness.data.sources import find
from harness.data.survey import check, outline, survey
from harness.spec import DataSpec, InvalidInput

RNG = np.random.default_rng(1)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "set"


def draw(path, *, side=8, kind=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path, format=kind)


def make(root, **parts):
    """`part={class: images}`; a part called `flat` is the root itself."""
    for part, classes in parts.items():
        for name, images in classes.items():
            for number in range(images):
                draw((root if part == "flat" else root / part) / name / f"{number}.png")
    return root


def source(root, **fields):
    return DataSpec(source=f"imagefolder:{root}", **fields)


def skipped(root):
    return {item.reason: (item.files, item.first) for item in outline(source(root)).skipped}


def test_every_ending_of_a_photograph_is_read(root):
    """30 images of which 10 are .jfif were 20."""
    for name in ("cat", "dog"):
        for number in range(5):
            draw(root / name / f"{number}.png")
            draw(root / name / f"{number}.JFIF", kind="JPEG")
            draw(root / name / f"{number}.jpe", kind="JPEG")
    assert len(find(f"imagefolder:{root}").files) == 30


def test_avif_is_read(root):
    make(root, flat={"cat": 5, "dog": 5})
    draw(root / "cat" / "6.avif")
    assert "cat/6.avif" in find(f"imagefolder:{root}").files
    assert len(load(source(root)).train) == 7
    assert skipped(root) == {}


def test_nested_folders_below_a_class_are_read(root):
    make(root, flat={"cat": 3, "dog": 4, "cat/2024/may": 2})
    assert Counter(find(f"imagefolder:{root}").labels.tolist()) == {0: 5, 1: 4}
    assert "cat/2024/may/1.png" in find(f"imagefolder:{root}").files


def test_what_is_passed_over_is_counted_by_reason_and_named(root):
    make(root, train={"cat": 3, "dog": 3}, test={"cat": 2, "dog": 2})
    (root / "README.md").touch()
    (root / ".git").mkdir()
    (root / "more").mkdir()
    (root / "train" / "cat" / ".DS_Store").touch()
    for number in range(7):
        (root / "train" / "cat" / f"{number}.heic").write_bytes(b"no decoder")
    draw(root / "train" / "cover.png")
    assert skipped(root) == {
        "folders of no part": (1, ("more/",)),
        "hidden": (2, (".git/", "train/cat/.DS_Store")),
        "images in no class folder": (1, ("train/cover.png",)),
        "other endings": (8, ("README.md", *(f"train/cat/{number}.heic" for number in range(4)))),
    }
    told = dict(outline(source(root)).lines())
    assert told["Skipped: hidden"] == "2 (.git/, train/cat/.DS_Store)"
    assert told["Skipped: other endings"].endswith("train/cat/3.heic, ...)")


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "valid", "Test"), ("TRAINING", "Val", "testing")]
)
def test_parts_are_known_by_their_usual_names(root, names):
    train, validation, test = names
    make(root, **{train: {"cat": 4, "dog": 4}, validation: {"cat": 2, "dog": 3}, test: {"cat": 2, "dog": 1}})
    data = load(source(root), phase="confirm")
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 5, 3)
    first = np.asarray(Image.open(root / validation / "dog" / "2.png")).transpose(2, 0, 1)
    assert np.array_equal(data.validation.images[4].numpy(), first)
    spec, _ = resolve(source(root))
    assert (spec.train_size, spec.validation_size) == (8, 5)
    assert resolve(spec)[0] == spec
    assert dict(outline(spec).lines())["Validation images"] == "5"


def test_a_validation_part_counts_for_the_identity_and_may_be_used_in_part(root):
    make(root, train={"cat": 4, "dog": 4}, val={"cat": 4, "dog": 4}, test={"cat": 1, "dog": 1})
    before = content_hash(source(root))
    part = source(root, validation_size=4)
    assert torch.bincount(load(part).validation.labels).tolist() == [2, 2]
    with pytest.raises(InvalidInput, match=r"data\.validation_size is 9, but .* has 8 images of its own"):
        resolve(source(root, validation_size=9))
    draw(root / "val" / "cat" / "0.png")
    assert content_hash(source(root)) != before


def test_train_and_val_without_test_name_the_remedy(root):
    make(root, train={"cat": 4, "dog": 4}, val={"cat": 4, "dog": 4})
    with pytest.raises(InvalidInput) as error:
        find(f"imagefolder:{root}")
    assert "none of part test." in str(error.value)
    assert "To test on val, rename it to test" in str(error.value)
    assert f"data.source=imagenet:{root}" in str(error.value)


def test_two_folders_of_one_part_are_refused(root):
    make(root, train={"cat": 4}, training={"cat": 4}, test={"cat": 1})
    with pytest.raises(InvalidInput, match=r"two folders of one part: 'train' and 'training'"):
        find(f"imagefolder:{root}")


def test_class_folders_that_are_numbers_are_in_natural_order(root):
    make(root, flat={"10": 3, "2": 3, "0": 3, "1": 3})
    assert find(f"imagefolder:{root}").classes == ("0", "1", "2", "10")
    make(root, flat={"a": 3})
    assert find(f"imagefolder:{root}").classes == ("0", "1", "10", "2", "a")


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        ("cat", "cat ", "part test has the class 'cat ', which train does not have. Did you mean 'cat'"),
        ("cat", "Cat", "'Cat', which train does not have. Did you mean 'cat'"),
        ("cat", "lion", r"'lion', which train does not have\. Rename it, or add training images"),
    ],
)
def test_a_class_that_only_the_test_part_has_is_quoted_and_likened(root, there, here, message):
    make(root, train={there: 3, "dog": 3}, test={here: 1, "dog": 1})
    with pytest.raises(InvalidInput, match=message):
        find(f"imagefolder:{root}")


def test_links_to_files_classes_and_parts_are_followed(root, tmp_path):
    store = tmp_path / "store"
    make(store, one={"cat": 3, "dog": 4}, two={"cat": 2, "dog": 2})
    (root / "train").mkdir(parents=True)
    (root / "train" / "cat").symlink_to(store / "one" / "cat")
    (root / "train" / "dog").mkdir()
    for number in range(4):
        (root / "train" / "dog" / f"{number}.png").symlink_to(store / "one" / "dog" / f"{number}.png")
    draw(root / "train" / "dog" / "5.png")
    (root / "train" / "dog" / "6.png").symlink_to(root / "train" / "dog" / "5.png")
    (root / "test").symlink_to(store / "two")
    known = outline(source(root))
    assert (sum(row.train + row.validation for row in known.classes), known.test) == (9, 4)
    shutil.copytree(root, tmp_path / "copy")
    assert content_hash(source(tmp_path / "copy")) == content_hash(source(root))


def test_a_folder_that_links_lead_to_twice_is_read_once(root):
    """Also one that leads back to where it stands."""
    make(root, flat={"cat": 3, "dog": 3, "dog/more": 2})
    (root / "dog" / "same").symlink_to(root / "dog" / "more")
    (root / "dog" / "again").symlink_to(root / "dog")
    assert len(find(f"imagefolder:{root}").files) == 8
    assert skipped(root)["folders that a link leads to again"][0] == 2


def test_an_imagenet_folder_is_listed_by_the_same_rules(root):
    make(root, train={"n1": 6, "n2": 6, "n2/sub": 1}, val={"n1": 2, "n2": 1}, test={"unlabelled": 2})
    draw(root / "train" / "n1" / "a.JFIF", kind="JPEG")
    known = outline(DataSpec(source=f"imagenet:{root}"))
    assert [(row.train + row.validation, row.test) for row in known.classes] == [(7, 2), (7, 1)]
    assert known.origins == {"validation": "held out"}
    assert [(item.reason, item.first) for item in known.skipped] == [("folders of no part", ("test/",))]
    assert facts(f"imagenet:{root}").test_images == 3


def surveyed(root, **fields):
    spec = source(root, **fields)
    return survey(spec, load(spec, phase="confirm"))


def test_the_same_image_in_train_and_test_is_counted_and_warned_of(root):
    make(root, train={"cat": 9, "dog": 9}, test={"cat": 3, "dog": 3})
    assert surveyed(root).duplicates.repeated == 0
    shutil.copy(root / "train" / "cat" / "0.png", root / "test" / "cat" / "0.png")
    Image.open(root / "train" / "cat" / "1.png").save(root / "test" / "cat" / "x.bmp")  # by content
    shutil.copy(root / "train" / "cat" / "2.png", root / "train" / "dog" / "y.png")
    found = surveyed(root)
    assert (found.duplicates.test_in_train, found.duplicates.relabelled, found.duplicates.repeated) == (2, 2, 3)
    assert found.duplicates.first[0] == "test/cat/0.png = train/cat/0.png"
    told = " ".join(found.cautions())
    assert "2 of 7 test images" in told
    assert "2 images of" in told
    assert "under more than one class" in told


def test_identical_parts_are_refused(root):
    make(root, train={"cat": 4, "dog": 4})
    shutil.copytree(root / "train", root / "test")
    with pytest.raises(InvalidInput, match=r"All 8 test images of .* are training images, too .*nothing to test on"):
        surveyed(root)


def test_duplicates_of_a_stream_are_found_by_size_and_bytes(root):
    make(root, train={"n1": 6, "n2": 6}, val={"n1": 2, "n2": 2})
    shutil.copy(root / "train" / "n1" / "0.png", root / "val" / "n2" / "0.png")
    found, _ = check(DataSpec(source=f"imagenet:{root}"))
    assert (found.duplicates.compared, found.duplicates.test_in_train) == ("bytes of the files", 1)
    assert found.duplicates.relabelled == 2


def test_small_and_odd_sets_are_told(root):
    make(root, train={"cat": 30, "dog": 3, "eel": 5}, val={"cat": 2, "dog": 2}, test={"cat": 3, "dog": 2})
    told = outline(source(root)).cautions()
    assert len(told) == 4
    assert "has only 5 test images: one of them is 20 points" in told[0]
    assert told[1].startswith("The validation images of")
    assert "lack 1 class, 'eel'" in told[1]
    assert told[2].startswith("The test images of")
    assert "'cat' has 30 training images, 'dog' 3" in told[3] or "'cat' has 35 images" in told[3]
    assert outline(DataSpec(source="digits")).cautions() == ()
    assert outline(DataSpec()).cautions() == ()


def test_photographs_of_any_size_can_be_checked(root):
    make(root, flat={"cat": 5, "dog": 5})
    draw(root / "cat" / "large.png", side=20)
    found, lacking = check(source(root))
    assert found.sizes == {"8x8": 10, "20x20": 1}
    assert "Set data.image_size" in lacking
    assert check(source(root, image_size=9))[1] == ""
