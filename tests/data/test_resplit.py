"""Each seed draws training, validation and test images of its own: the draws, whatever the classes; who may draw."""

from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.data import load, photograph_source, resolve
from harness.data.array_source import taken
from harness.data.photographs import Reading
from harness.data.splits import subset
from harness.data.subsets import of_seed, parted
from harness.data.survey import check, outline
from harness.execution.plan import make_plan
from harness.spec import DataSpec, InvalidInput
from harness.spec.catalogue import find_study

DIGITS = DataSpec(source="digits", resplit=True)
seeds = st.integers(0, 2**31 - 1)


@st.composite
def pools(draw):
    """Labels of a source by part, some of two parts and some of three, and a specification with a validation size."""
    classes = draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(seeds))
    each = {"train": draw(st.integers(2, 30)), "validation": draw(st.integers(0, 6)), "test": draw(st.integers(1, 12))}
    labels = {}
    for part, most in each.items():
        counts = rng.integers(2 if part == "train" else 0, most + 1, size=classes)
        if counts.sum():
            labels[part] = rng.permutation(np.repeat(np.arange(classes), counts))
    labels.setdefault("test", np.zeros(1, dtype=np.int64))
    left = sum(map(len, labels.values())) - len(labels["test"]) - classes
    held_out = draw(st.integers(classes, max(classes, left)))
    data = replace(DIGITS, validation_size=held_out, split_seed=draw(seeds))
    return labels, data


@given(pool=pools(), seed=seeds)
def test_every_image_of_the_pool_is_in_exactly_one_part(pool, seed):
    labels, data = pool
    found = parted(labels, of_seed(data, seed), tested=0)
    every = np.concatenate(list(labels.values()))
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(len(every)))
    assert {part: len(at) for part, at in found.items() if part != "train"} == {
        "test": len(labels["test"]),
        "validation": data.validation_size,
    }
    assert all((np.diff(at) > 0).all() for at in found.values())
    assert set(every[found["train"]]) == set(every)


@given(each=st.lists(st.integers(20, 60), min_size=2, max_size=6), seed=seeds, at=st.floats(0.1, 0.4))
def test_every_part_has_its_share_of_every_class(each, seed, at):
    every = np.repeat(np.arange(len(each)), each)
    tested = int(at * len(every))
    labels = {"train": every[tested:], "test": every[:tested]}  # the source's own parts lack classes
    data = replace(DIGITS, validation_size=max(len(each), len(every) // 5))
    found = parted(labels, of_seed(data, seed), tested=0)
    pool = np.concatenate(list(labels.values()))
    for at_part in found.values():
        share = len(at_part) * np.array(each) / len(every)
        assert (abs(np.bincount(pool[at_part], minlength=len(each)) - share) < 2).all()


@given(pool=pools(), seed=seeds, other=seeds)
def test_what_is_drawn_follows_from_both_seeds_alone(pool, seed, other):
    labels, data = pool
    found = parted(labels, of_seed(data, seed), tested=0)
    changed = replace(data, train_size=3, image_size=9, moved_share=0.5, moved_seed=7, source="cifar10")
    again = parted(labels, of_seed(changed, seed), tested=0)
    assert all((found[part] == again[part]).all() for part in found)
    fewer = replace(data, validation_size=len(set(labels["train"])))
    assert (parted(labels, of_seed(fewer, seed), tested=0)["test"] == found["test"]).all()
    drawn = {of_seed(spec, number).split_seed for spec in (data, replace(data, split_seed=other)) for number in (0, 1)}
    assert len(drawn) == (2 if other == data.split_seed else 4)
    assert of_seed(replace(data, resplit=False), seed) == replace(data, resplit=False)


def test_a_known_draw():
    """The same on every machine and of every version: other images would be another experiment under one digest."""
    found = load(DIGITS, phase="confirm", seed=3)
    assert found.test.images.long().sum().item() == 1_801_395
    assert found.validation.labels[:12].tolist() == [0, 8, 3, 5, 2, 3, 1, 2, 5, 5, 9, 0]


def test_training_subsets_are_nested_within_a_seed():
    kept = {}
    for size in (100, 500, 1000):
        data = load(replace(DIGITS, train_size=size), phase="tune", seed=5)
        kept[size] = set(subset(data.train, size, seed=5).tolist())
        assert len(data.train) == 1_257
    assert kept[100] < kept[500] < kept[1000]


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=3), data=st.data())
def test_images_are_taken_through_all_parts(lengths, data):
    levels = np.arange(sum(lengths), dtype=np.uint8)
    ends = np.cumsum(lengths)[:-1]
    pairs = [(part[:, None, None, None], part.astype(np.int64) + 100) for part in np.split(levels, ends)]
    at = np.array(sorted(data.draw(st.sets(st.integers(0, len(levels) - 1)))), dtype=np.int64)
    images, labels = taken(pairs, at)
    assert images[:, 0, 0, 0].tolist() == at.tolist()
    assert labels.tolist() == (at + 100).tolist()


def test_images_of_no_seed_are_not_given():
    """A model that is tested on another seed's images may know them."""
    with pytest.raises(InvalidInput, match=r"give load the run's, as in load\(data, seed=0\)"):
        load(DIGITS, phase="confirm")


# --- of sources -------------------------------------------------------------------------------------------------------

PARTS = {"train": 16, "val": 6, "test": 8}


@pytest.fixture(params=["npz", "npz of two parts", "imagefolder", "imagefolder of one part", "csv"])
def spec(request, tmp_path):
    """30 images, the n-th of the one level 8 n and of class n % 2, in parts of three kinds."""
    kind, _, which = request.param.partition(" of ")
    parts = {"two parts": {"train": 22, "test": 8}, "one part": {"": 30}}.get(which, PARTS)
    level = iter(range(0, 240, 8))
    rows, arrays = ["path,label,split"], {}
    for part, images in parts.items():
        levels = [next(level) for _ in range(images)]
        arrays[f"x_{part}"] = np.repeat(np.array(levels, dtype=np.uint8), 16).reshape(-1, 4, 4)
        arrays[f"y_{part}"] = np.array(levels) // 8 % 2
        for one in levels:
            path = tmp_path / "set" / part / "ab"[one // 8 % 2] / f"{one:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), one).save(path)
            rows.append(f"{path.relative_to(tmp_path / 'set')},{'ab'[one // 8 % 2]},{part}")
    (tmp_path / "set" / "table.csv").write_text("\n".join(rows))
    np.savez(tmp_path / "set.npz", **arrays)
    place = {"npz": tmp_path / "set.npz", "csv": tmp_path / "set" / "table.csv"}.get(kind, tmp_path / "set")
    return DataSpec(source=f"{kind}:{place}", resplit=True, validation_size=4)


def levels_of(split):
    return split.images[:, 0, 0, 0].tolist()


def test_every_source_gives_each_image_to_one_part_of_a_seed(spec):
    tested = set()
    for seed in range(6):
        data = load(spec, phase="confirm", seed=seed)
        parts = data.train, data.validation, data.test
        assert sorted(chain(*map(levels_of, parts))) == list(range(0, 240, 8))
        for split in parts:
            assert (split.images.flatten(1) == split.images[:, 0, 0, :1]).all()
            assert (split.labels == split.images[:, 0, 0, 0] // 8 % 2).all()
        assert len(data.validation) == 4
        assert data.test.labels.bincount().tolist() == [len(data.test) // 2] * 2
        tested.add(tuple(levels_of(data.test)))
        while_tuning = load(spec, phase="tune", seed=seed)
        assert torch.equal(while_tuning.train.images, data.train.images)
        assert torch.equal(while_tuning.validation.images, data.validation.images)
        with pytest.raises(RuntimeError):
            _ = while_tuning.test
    assert len(tested) == 6
    again = load(spec, phase="confirm", seed=2)
    assert tuple(levels_of(again.test)) in tested


def test_sizes_are_those_of_the_source_and_of_all_that_is_there(spec):
    known, facts = resolve(spec)
    told = outline(spec)
    assert known.train_size == told.train == 30 - 4 - facts.test_images
    assert (told.validation, told.test, told.images, told.resplit) == (4, facts.test_images, 30, True)
    assert "its own training, validation and test images from all 30 (" in dict(told.lines())["Each seed"]
    assert "All seeds" in dict(outline(replace(spec, resplit=False)).lines())
    assert len(load(spec, seed=1).train) == known.train_size
    with pytest.raises(InvalidInput, match=r"at most \d+ are left for training"):
        resolve(replace(spec, train_size=known.train_size + 1))
    with pytest.raises(InvalidInput, match=r"data\.validation_size is 1, fewer than the 2 classes"):
        resolve(replace(spec, validation_size=1))


def test_a_check_tells_of_one_draw_and_names_its_images(spec):
    found, _ = check(spec)
    assert [(row.train + row.validation + row.test) for row in found.classes] == [15, 15]
    data = load(spec, phase="confirm", seed=0)
    assert [row.test for row in found.classes] == data.test.labels.bincount().tolist()
    assert found.duplicates.repeated == 0
    assert found.origins == {}


def test_photographs_are_decoded_once_for_all_seeds(spec, cache, monkeypatch):
    """What is kept does not grow with the seeds."""
    times = Counter()
    decode = Reading.__call__

    def counted(self, picture):
        times[str(picture)] += 1
        return decode(self, picture)

    monkeypatch.setattr(Reading, "__call__", counted)
    for seed in range(4):
        load(spec, phase="confirm", seed=seed)
    is_photographs = not spec.source.startswith("npz")
    assert len(list((cache / "decoded").glob("*.npy"))) == is_photographs
    assert set(times.values()) == ({1} if is_photographs else set())


# --- who may not draw -------------------------------------------------------------------------------------------------

OWN_SOURCE = """
from harness.data.sources.named_files import Digits

class Streamed:
    photographs = False

    def facts(self, *sizes): return Digits().facts(*sizes)
    def content_hash(self): return "0" * 64
    def read(self, *asked, **more): return Digits().read(*asked, **more)
    def outline(self, spec): return {}
    def names(self, spec): return {}
"""


def refused(spec):
    rule = r"data\.resplit is true; it must be false for .*held in memory.*Set data\.resplit=false"
    with pytest.raises(InvalidInput, match=rule):
        resolve(spec)
    assert resolve(replace(spec, resplit=False))


@pytest.mark.parametrize("spec", ["imagefolder", "imagefolder of one part", "csv"], indirect=True)
def test_images_that_memory_does_not_hold_are_refused_before_any_is_decoded(spec, monkeypatch):
    monkeypatch.setattr(photograph_source, "memory_limit", lambda: 100)
    monkeypatch.setattr(Reading, "__call__", lambda *asked: pytest.fail("an image was decoded"))
    refused(spec)


def test_an_imagenet_is_refused(tmp_path):
    refused(DataSpec(source="imagenet", resplit=True))
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "imagenet" / part / name).mkdir(parents=True)
            for number in range(4):
                Image.new("L", (8, 8)).save(tmp_path / "imagenet" / part / name / f"{number}.png")
    refused(DataSpec(source=f"imagenet:{tmp_path / 'imagenet'}", resplit=True))


def test_a_users_own_source_that_says_nothing_is_refused(tmp_path):
    (tmp_path / "own.py").write_text(OWN_SOURCE)
    refused(DataSpec(source=f"python:{tmp_path}/own.py:Streamed", resplit=True))


def test_a_plan_refuses_it_by_name():
    study = find_study("pooling")[1].resolve("pooling", "paper")
    with pytest.raises(InvalidInput, match=r"data\.resplit is true; it must be false for imagenet:"):
        make_plan(replace(study, data=replace(study.data, resplit=True)))


@pytest.mark.parametrize(("key", "value"), [("resplit", False), ("split_seed", 4)])
def test_arms_that_would_be_tested_on_other_images_are_refused(key, value):
    study = find_study("pooling")[1].resolve("pooling", "smoke")
    arms = (replace(study.arms[0], changes={f"data.{key}": value}), *study.arms[1:])
    with pytest.raises(InvalidInput, match=rf"Arm .* has data\.{key} {value}, the baseline .* must be the same"):
        replace(study, data=DIGITS, arms=arms)
