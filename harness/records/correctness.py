"""Arrays in .npz files, which may come from anybody; and what each run answered for each test image."""

import io
import zipfile
from collections.abc import Iterable, Mapping
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

    Then, where they are known, the digests of the runs with classes, these one run after the other, and the digests and
    bits of those with the top five; and digests, sides and bits of tests with patches of several sizes.
    """
    digests, classes, top5 = sorted(answers.correct), sorted(answers.classes), sorted(answers.top5)
    arrays: dict[str, npt.NDArray[Any]] = {
        "digests": np.array(digests, dtype="U64"),
        "lengths": np.array([len(answers.correct[digest]) for digest in digests], dtype=np.int64),
        "bits": _packed(answers.correct[digest] for digest in digests),
    }
    if classes:
        arrays["class_digests"] = np.array(classes, dtype="U64")
        for name in Classes._fields:
            joined = np.concatenate([getattr(answers.classes[digest], name) for digest in classes])
            arrays[name] = joined.astype(np.min_scalar_type(joined.max(initial=0)))
    if top5:
        arrays |= {"top5_digests": np.array(top5, dtype="U64"), "top5": _packed(answers.top5[each] for each in top5)}
    if answers.at_patches:
        tests = sorted(answers.at_patches)
        arrays["patch_digests"] = np.array([digest for digest, _ in tests], dtype="U64")
        arrays["patch_sizes"] = np.array([size for _, size in tests], dtype=np.uint16)
        arrays["patches"] = _packed(answers.at_patches[test] for test in tests)
    write_arrays(path, **arrays)


def _packed(rows: Iterable[Correct]) -> npt.NDArray[np.uint8]:
    return np.concatenate([np.zeros(0, dtype=np.uint8), *map(np.packbits, rows)])


_LATER = {"class_digests": "U", **dict.fromkeys(Classes._fields, "u"), "top5_digests": "U", "top5": "u"}
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
            names, each = kept["class_digests"].tolist(), [kept[name].astype(np.uint16) for name in Classes._fields]
            ends = np.cumsum([images[name] for name in names], dtype=np.int64)
            if any(len(array) != [0, *ends][-1] for array in each):
                raise ValueError("its numbers of images and classes do not fit each other")
            rows = zip(*(np.split(array, ends[:-1]) for array in each), strict=True)
            classes = {name: Classes(*pair) for name, pair in zip(names, rows, strict=False)}
            if not all(np.array_equal(pair.correct, correct[name]) for name, pair in classes.items()):
                raise ValueError("its classes do not fit its answers")
        top5 = {name: images[name] for name in kept["top5_digests"].tolist()} if "top5_digests" in kept else {}
        return Answers(
            correct=correct,
            classes=classes,
            top5=_unpacked(kept["top5"], top5) if top5 else {},
            at_patches=_unpacked(kept["patches"], _patch_tests(kept, images)) if "patches" in kept else {},
        )


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
