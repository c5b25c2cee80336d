"""Arrays in .npz files, which may come from anybody; and what each run answered for each test image."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from harness.records.files import MOST_BYTES, read_bytes, reading, write_bytes

K = TypeVar("K")

Correct = npt.NDArray[np.bool_]  # (N,) whether the predicted class was right, per test image in the run's own order
Labels = npt.NDArray[np.uint16]  # (N,) classes


class Classes(NamedTuple):
    """Of each test image (N,), in the run's own order: its class, and the one that was predicted."""

    labels: Labels
    predicted: Labels

    @property
    def correct(self) -> Correct:
        return np.equal(self.labels, self.predicted)

    @property
    def weighted(self) -> npt.NDArray[np.float64]:
        """(N,) the right answers, weighted so that each class of the labels counts alike in their mean."""
        counts = np.bincount(self.labels)
        return np.where(self.correct, len(self.labels) / ((counts > 0).sum() * counts[self.labels]), 0.0)

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes that the labels have of the accuracy on the images of each."""
        return float(self.weighted.mean())


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What runs answered, by digest."""

    correct: Mapping[str, Correct] = field(default_factory=dict)
    classes: Mapping[str, Classes] = field(default_factory=dict)  # of some of these: earlier versions kept none
    top5: Mapping[str, Correct] = field(default_factory=dict)
    """Whether the label is among the five likeliest classes; of runs on more than five classes."""
    at_patches: Mapping[tuple[str, int], Correct] = field(default_factory=dict)
    """By digest and side of the patches (pixels), of models for patches of several sizes."""


def write_arrays(path: Path, **arrays: Any) -> bytes:
    """Keep arrays in an .npz file; returns its content."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())
    return buffer.getvalue()


def read_arrays(path: Path, kinds: Mapping[str, str], later: Mapping[str, str] = {}) -> dict[str, npt.NDArray[Any]]:
    """The arrays named in `kinds`, each (n,), of one of these kinds of dtype (`u`, `i`, `U`); else `RecordsError`.

    Those named in `later` files of earlier versions lack.
    """
    with reading(path):
        content = io.BytesIO(read_bytes(path))
        with zipfile.ZipFile(content) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise ValueError(f"it unpacks to more than {MOST_BYTES:,} bytes")
        with np.load(content, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in (*kinds, *(name for name in later if name in kept.files))}
        for name, array in arrays.items():
            if array.dtype.kind not in {**kinds, **later}[name] or array.ndim != 1:
                raise ValueError(f"{name} is of type {array.dtype} and shape {array.shape}")
    return arrays


def write_answers(path: Path, answers: Answers) -> None:
    """Keep the answers of runs in an .npz file: digests in order, lengths (images), and all bits.

    Then, where they are known, the classes, as `_class_arrays` has them; the digests and bits of runs with the top
    five; and digests, sides and bits of tests with patches of several sizes.
    """
    digests, top5 = sorted(answers.correct), sorted(answers.top5)
    arrays: dict[str, npt.NDArray[Any]] = {
        "digests": np.array(digests, dtype="U64"),
        "lengths": np.array([len(answers.correct[digest]) for digest in digests], dtype=np.int64),
        "bits": _packed(answers.correct[digest] for digest in digests),
    }
    if answers.classes:
        arrays |= _class_arrays(answers.classes)
    if top5:
        arrays |= {"top5_digests": np.array(top5, dtype="U64"), "top5": _packed(answers.top5[each] for each in top5)}
    if answers.at_patches:
        tests = sorted(answers.at_patches)
        arrays["patch_digests"] = np.array([digest for digest, _ in tests], dtype="U64")
        arrays["patch_sizes"] = np.array([size for _, size in tests], dtype=np.uint16)
        arrays["patches"] = _packed(answers.at_patches[test] for test in tests)
    write_arrays(path, **arrays)


def _class_arrays(classes: Mapping[str, Classes]) -> dict[str, npt.NDArray[Any]]:
    """What runs share or got right is kept once: different labels, whose are whose, and the class of each mistake."""
    digests, different = sorted(classes), dict[bytes, int]()
    whose = [different.setdefault(classes[digest].labels.tobytes(), len(different)) for digest in digests]
    labels = np.concatenate([classes[digests[whose.index(place)]].labels for place in different.values()])
    mistakes = np.concatenate([(pair := classes[digest]).predicted[~pair.correct] for digest in digests])
    return {
        "class_digests": np.array(digests, dtype="U64"),
        "whose": np.array(whose, dtype=np.uint32),
        **{
            name: each.astype(np.min_scalar_type(each.max(initial=0)))
            for name, each in (("labels", labels), ("mistakes", mistakes))
        },
    }


def _packed(rows: Iterable[Correct]) -> npt.NDArray[np.uint8]:
    return np.concatenate([np.zeros(0, dtype=np.uint8), *map(np.packbits, rows)])


_LATER = {"class_digests": "U", **dict.fromkeys(Classes._fields, "u"), "top5_digests": "U", "top5": "u"}
_LATER |= {"whose": "u", "mistakes": "u"}  # in place of `predicted`
_LATER |= {"patch_digests": "U", "patch_sizes": "u", "patches": "u"}


def read_answers(path: Path) -> Answers:
    """What `write_answers` kept; `RecordsError` for a file whose parts do not fit each other."""
    kept = read_arrays(path, {"digests": "U", "lengths": "i", "bits": "u"}, _LATER)
    with reading(path):
        digests, lengths = kept["digests"].tolist(), kept["lengths"].tolist()
        if len(lengths) != len(digests) or min(lengths, default=0) < 0:
            raise ValueError("its numbers of runs, images and answers do not fit each other")
        images = dict(zip(digests, lengths, strict=True))
        correct, classes = _unpacked(kept["bits"], images), dict[str, Classes]()
        if "class_digests" in kept:
            classes = (_classes if "mistakes" in kept else _joined_classes)(kept, correct)
            if not all(np.array_equal(pair.correct, correct[name]) for name, pair in classes.items()):
                raise ValueError("its classes do not fit its answers")
        top5 = {name: images[name] for name in kept["top5_digests"].tolist()} if "top5_digests" in kept else {}
        return Answers(
            correct=correct,
            classes=classes,
            top5=_unpacked(kept["top5"], top5) if top5 else {},
            at_patches=_unpacked(kept["patches"], _patch_tests(kept, images)) if "patches" in kept else {},
        )


_NO_FIT = "its numbers of images and classes do not fit each other"


def _classes(kept: Mapping[str, Any], correct: Mapping[str, Correct]) -> dict[str, Classes]:
    """As `_class_arrays` kept them. Raises `ValueError` where numbers do not fit each other."""
    names, whose = kept["class_digests"].tolist(), kept["whose"].tolist()
    lengths = {place: len(correct[name]) for name, place in zip(names, whose, strict=False)}
    fits = len(names) == len(whose) and set(lengths) == set(range(len(lengths)))
    if not fits or any(lengths[place] != len(correct[name]) for name, place in zip(names, whose, strict=True)):
        raise ValueError(_NO_FIT)
    labels = _cut(kept["labels"], [lengths[place] for place in range(len(lengths))])
    mistakes = _cut(kept["mistakes"], [int((~correct[name]).sum()) for name in names])
    classes = {}
    for name, place, wrong in zip(names, whose, mistakes, strict=True):
        predicted = labels[place].copy()
        predicted[~correct[name]] = wrong
        classes[name] = Classes(labels[place], predicted)
    return classes


def _joined_classes(kept: Mapping[str, Any], correct: Mapping[str, Correct]) -> dict[str, Classes]:
    """As earlier versions kept them: labels and predictions of one run after the other."""
    names = kept["class_digests"].tolist()
    parts = [_cut(kept[name], [len(correct[each]) for each in names]) for name in Classes._fields]
    return {name: Classes(*pair) for name, *pair in zip(names, *parts, strict=True)}


def _cut(joined: npt.NDArray[Any], lengths: Sequence[int]) -> list[Labels]:
    if len(joined) != sum(lengths):
        raise ValueError(_NO_FIT)
    return np.split(joined.astype(np.uint16), np.cumsum(lengths, dtype=np.int64)[:-1])


def _patch_tests(kept: Mapping[str, Any], images: Mapping[str, int]) -> dict[tuple[str, int], int]:
    """The images of each test, by digest and side of the patches."""
    tests = zip(kept["patch_digests"].tolist(), kept["patch_sizes"].tolist(), strict=True)
    return {(digest, size): images[digest] for digest, size in tests}


def _unpacked(packed: npt.NDArray[Any], images: Mapping[K, int]) -> dict[K, Correct]:
    """The bits of each run, or test, of so many images. Raises `ValueError` for another number of bits."""
    bits, ends = packed.view(np.uint8), np.cumsum([(length + 7) // 8 for length in images.values()], dtype=np.int64)
    # Checked before anything is unpacked: a length beyond the bits would be filled up with zeros.
    if [0, *ends.tolist()][-1] != len(bits):
        raise ValueError("its numbers of runs, images and answers do not fit each other")
    return {
        name: np.unpackbits(bits[start:end], count=length).astype(np.bool_)
        for (name, length), start, end in zip(images.items(), [0, *ends.tolist()], ends.tolist(), strict=False)
    }
