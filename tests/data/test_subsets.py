"""Training subsets are stratified and nested, whatever the class sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.splits import Split, subset
from harness.data.subsets import apportion, stratified
from harness.spec import InvalidInput

counts_of_classes = st.lists(st.integers(1, 60), min_size=2, max_size=12)
seeds = st.integers(0, 2**31)


def split_of(counts, seed=0):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    return Split(torch.zeros((len(labels), 1, 1, 1), dtype=torch.uint8), torch.from_numpy(labels))


@given(counts=counts_of_classes, seed=seeds, data=st.data())
def test_subsets_are_nested(counts, seed, data):
    train = split_of(counts)
    small = data.draw(st.integers(1, len(train)))
    large = data.draw(st.integers(small, len(train)))
    one, two = subset(train, small, seed=seed), subset(train, large, seed=seed)
    assert len(one) == small
    assert len(two) == large
    assert set(one.tolist()) <= set(two.tolist())
    assert one.tolist() == sorted(set(one.tolist()))


@given(counts=counts_of_classes, data=st.data())
def test_every_class_is_there_and_has_its_share(counts, data):
    counts = np.array(counts)
    size = data.draw(st.integers(len(counts), counts.sum()))
    taken = apportion(counts, size)
    share = size * counts / counts.sum()
    assert taken.sum() == size
    assert (taken >= 1).all()
    assert (taken <= counts).all()
    assert (taken < share + 1).all()
    if (share >= 1).all():  # else the rare classes' one image each is taken from the frequent ones
        assert (taken > share - 1).all()


@given(classes=st.integers(2, 12), each=st.integers(1, 50), data=st.data())
def test_equal_classes_differ_by_one_image_at_most(classes, each, data):
    size = data.draw(st.integers(1, classes * each))
    taken = apportion(np.full(classes, each), size)
    assert taken.sum() == size
    assert taken.max() - taken.min() <= 1


@given(counts=st.lists(st.integers(3, 60), min_size=2, max_size=12), seed=seeds, data=st.data())
def test_what_is_held_out_leaves_some_of_each_class(counts, seed, data):
    counts, leave = np.array(counts), data.draw(st.integers(0, 2))
    size = data.draw(st.integers(1, int((counts - leave).sum())))
    labels = np.repeat(np.arange(len(counts)), counts)
    out = stratified(labels, size, seed=seed, leave=leave)
    assert len(set(out.tolist())) == size
    assert (counts - np.bincount(labels[out], minlength=len(counts)) >= leave).all()


def test_the_seed_decides_and_nothing_else():
    train = split_of([50] * 10)
    assert torch.equal(subset(train, 100, seed=1), subset(train, 100, seed=1))
    assert not torch.equal(subset(train, 100, seed=1), subset(train, 100, seed=2))
    assert torch.equal(subset(train, 500, seed=1), torch.arange(500))


@settings(max_examples=20)
@given(seed=seeds)
def test_the_500_are_part_of_the_2000(seed):
    train = split_of([5_500] * 10)
    small, large = subset(train, 500, seed=seed), subset(train, 2_000, seed=seed)
    assert set(small.tolist()) <= set(large.tolist())
    assert torch.bincount(train.labels[small]).tolist() == [50] * 10
    assert torch.bincount(train.labels[large]).tolist() == [200] * 10


@pytest.mark.parametrize("size", [0, 21])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(InvalidInput, match=rf"data\.train_size is {size}; it must lie in \[1, 20\]"):
        subset(split_of([10, 10]), size, seed=0)
