"""Users' own folders of images: layouts, splits, and everything that can be wrong with them."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import content_hash, facts, load, resolve
from harness.spec import DataSpec, InvalidInput

RNG = np.random.default_rng(0)


def draw(path, *, side=(8, 8), value=None, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (side[1], side[0], 3)
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8) if value is None else np.full(shape, value, dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def flat(tmp_path):
    root = tmp_path / "flat"
    for label, (name, n) in enumerate({"cat": 10, "dog": 20, "eel": 5}.items()):
        for number in range(n):
            draw(root / name / f"{number:02}.png", value=50 * label + number)
    return root


@pytest.fixture
def parted(tmp_path):
    root = tmp_path / "parted"
    for part, n in (("train", 10), ("test", 3)):
        for name in ("cat", "dog"):
            for number in range(n):
                draw(root / part / name / f"{number}.png")
    return root


def spec(root, **fields):
    return DataSpec(source=f"imagefolder:{root}", **fields)


def test_a_flat_folder_is_split_here(flat):
    known = facts(f"imagefolder:{flat}")
    assert (known.classes, known.channels, known.image_size) == (3, 3, 8)
    assert (known.train_images, known.test_images, known.validation_images) == (28, 7, 3)
    data = load(spec(flat), phase="confirm")
    assert torch.bincount(data.test.labels).tolist() == [2, 4, 1]
    assert torch.bincount(data.validation.labels).tolist() == [1, 1, 1]
    assert torch.bincount(data.train.labels).tolist() == [7, 15, 3]
    parts = (data.train, data.validation, data.test)
    values = torch.cat([part.images[:, 0, 0, 0] for part in parts]).tolist()
    assert sorted(values) == sorted([*range(10), *range(50, 70), *range(100, 105)])
    for part in parts:
        assert torch.equal(part.images[:, 0, 0, 0] // 50, part.labels)
    other = load(spec(flat, split_seed=1), phase="confirm")
    assert not torch.equal(other.test.images, data.test.images)


def test_a_folder_with_a_test_part_keeps_it(parted):
    data = load(spec(parted), phase="confirm")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 6)
    with pytest.raises(RuntimeError):
        _ = load(spec(parted)).test
    first = np.asarray(Image.open(parted / "test" / "cat" / "0.png")).transpose(2, 0, 1)
    assert np.array_equal(data.test.images[0].numpy(), first)


def test_the_decoded_folder_is_kept_and_renewed_when_a_file_changes(parted, cache):
    load(spec(parted))
    (kept,) = (cache / "decoded").iterdir()
    before = kept.stat().st_mtime_ns
    one = content_hash(spec(parted))
    load(spec(parted))
    assert kept.stat().st_mtime_ns == before
    draw(parted / "train" / "cat" / "0.png", value=7)
    assert content_hash(spec(parted)) != one
    assert (load(spec(parted), phase="confirm").train.images == 7).all((1, 2, 3)).sum() <= 1
    assert len(list((cache / "decoded").iterdir())) == 2


def test_the_identity_is_of_names_and_contents_not_of_places_or_times(parted, tmp_path, cache):
    one = content_hash(spec(parted))
    moved = tmp_path / "elsewhere"
    shutil.copytree(parted, moved)
    assert content_hash(spec(moved)) == one
    for path in parted.rglob("*.png"):
        os.utime(path, (1, 1))
    assert content_hash(spec(parted)) == one
    for index in (cache / "folders").iterdir():
        index.write_text("{ torn")
    assert content_hash(spec(parted)) == one


def test_unlike_sizes_ask_for_one(flat):
    draw(flat / "dog" / "20.png", side=(12, 9))
    with pytest.raises(
        InvalidInput,
        match=r"there are 8x8 pixels \(\S+\) and 12x9 .*dog/20\.png\)\. Set data\.image_size",
    ):
        resolve(spec(flat))
    data = load(spec(flat, image_size=6))
    assert data.train.images.shape[1:] == (3, 6, 6)
    assert data.facts.image_size == 6


def test_oblong_images_ask_for_a_side(tmp_path):
    for name in "ab":
        for number in range(5):
            draw(tmp_path / "oblong" / name / f"{number}.png", side=(12, 9))
    with pytest.raises(InvalidInput, match=r"there are 12x9 pixels .*\. Set .* e\.g\. data\.image_size=9"):
        facts(f"imagefolder:{tmp_path / 'oblong'}")


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK"])
def test_every_colour_mode_becomes_rgb(parted, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    draw(parted / "train" / "cat" / f"odd.{suffix}", mode=mode)
    assert load(spec(parted)).train.images.shape[1] == 3


def test_a_text_file_named_png_is_refused_and_nothing_kept(parted, cache):
    (parted / "train" / "dog" / "5.png").write_text("I am no image")
    for attempt in (lambda: resolve(spec(parted)), lambda: load(spec(parted, image_size=8))):
        with pytest.raises(InvalidInput, match=r"train/dog/5\.png is not an image .*\. Replace or remove it\."):
            attempt()
    assert not (cache / "decoded").exists()


def test_a_cut_image_is_refused_and_nothing_kept(parted, cache):
    path = parted / "train" / "dog" / "5.png"
    draw(path, side=(64, 64))
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(InvalidInput, match=r"dog/5\.png is not an image that can be read: .*Replace or remove it\."):
        load(spec(parted, image_size=8))
    assert not (cache / "decoded").exists()


def test_other_files_and_hidden_folders_are_passed_over(flat):
    (flat / "cat" / "README.txt").write_text("cats")
    (flat / ".thumbnails").mkdir()
    (flat / "LICENSE").touch()
    assert facts(f"imagefolder:{flat}").train_images == 28


def missing(root):
    shutil.rmtree(root)
    return "There is no folder"


def no_test(root):
    shutil.rmtree(root / "test")
    return "has the folders 'train': none of part test"


def empty_class(root):
    for part in ("train", "test"):
        (root / part / "fox").mkdir()
    return r"Class folder .*train/fox holds no image"


def other_classes(root):
    draw(root / "test" / "fox" / "0.png")
    return "part test has the class 'fox', which train does not have"


def one_class(root):
    shutil.rmtree(root / "train" / "cat")
    return "train has 1 class folder; it needs at least two"


def rare_class(root):
    for number in range(1, 10):
        (root / "train" / "cat" / f"{number}.png").unlink()
    return "Class 'cat' of .* has 1 image; a class needs at least 2"


def dangling_link(root):
    (root / "train" / "cat" / "link.png").symlink_to(root / "nowhere.png")
    return r"cat/link\.png is a link that leads to nothing"


def dangling_class(root):
    (root / "train" / "fox").symlink_to(root / "nowhere")
    return r"train/fox is a link that leads to nothing"


def link_to_itself(root):
    (root / "train" / "cat" / "link.png").symlink_to(root / "train" / "cat" / "link.png")
    return r"cat/link\.png cannot be read: Too many levels of symbolic links"


FAULTS = [
    *(missing, no_test, empty_class, other_classes, one_class, rare_class),
    *(dangling_link, dangling_class, link_to_itself),
]


@pytest.mark.parametrize("spoil", FAULTS)
def test_folders_that_cannot_be_used_say_why(parted, spoil, cache):
    message = spoil(parted)
    for attempt in (resolve, load, content_hash):
        with pytest.raises(InvalidInput, match=message):
            attempt(spec(parted))
    assert not (cache / "decoded").exists()


def test_more_than_the_memory_holds_is_refused(parted):
    with pytest.raises(InvalidInput, match=r"at 1000000 pixels takes .* GB of memory.*Lower data\.image_size"):
        load(spec(parted, image_size=1_000_000))
