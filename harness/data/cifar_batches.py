"""The batches of CIFAR-10 and CIFAR-100, which are pickles, read as data: nothing that they name is ever looked up.

Format: https://www.cs.toronto.edu/~kriz/cifar.html, the Python version; names and MD5 of the files as in torchvision.
"""

import hashlib
import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.fetching import Unusable

VALUES = 3 * 32 * 32
"""Bytes of an image: red, green and blue planes."""

MOST_BYTES = 2**28
"""The largest batch that is read; the true ones have up to 156 MB."""


class _Said:
    """Stands for an object of numpy: keeps what a pickle says of it."""

    def __init__(self, *arguments: object) -> None:
        self.arguments, self.state = arguments, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    """Unpickles what a batch consists of: text, numbers, lists, dicts, and arrays as what is said of them."""

    _OF_NUMPY = frozenset(
        {
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._OF_NUMPY:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no batch of CIFAR does")
        return _Said


def read_batch(path: Path, md5: str, classes: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,) of a batch. Raises `Unusable`, naming the file and the reason.

    MD5 is what is published of the single files. It is no guard against whoever made the true ones, but nobody knows
    how to make another file of a given MD5; and what gets past it is read as data all the same.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if found != md5:
        raise Unusable(f"{path} is damaged: MD5 {found}, expected {md5}")
    return parse_batch(raw, str(path), classes)


def _check_numbers(raw: bytes) -> None:
    """Refuse a number for what is kept in mind that is beyond the pickle's own length: memory is filled up to it."""
    for code, argument, _ in pickletools.genops(raw):
        if code.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(raw):
            raise pickle.UnpicklingError(f"it numbers an object {argument}")


def parse_batch(raw: bytes, name: str, classes: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """What a batch holds; see `read_batch`. `classes` tells CIFAR-10's labels from CIFAR-100's fine ones."""
    try:
        _check_numbers(raw)
        content = _Reader(io.BytesIO(raw), encoding="latin1").load()
        labels = content["labels" if classes == 10 else "fine_labels"]
        _, shape, kind, is_transposed, pixels = content["data"].state
        pixels = pixels.encode("latin1") if isinstance(pixels, str) else pixels
        fits = isinstance(pixels, bytes) and (shape, kind.arguments[0], is_transposed) == (
            (len(labels), VALUES),
            "u1",
            False,
        )
    except Exception as error:  # whatever a pickle of another kind leads to
        raise Unusable(f"{name} is no batch of CIFAR: {error}") from error
    if not (fits and len(pixels) == len(labels) * VALUES):
        raise Unusable(f"{name} is no batch of CIFAR: it must hold {VALUES} bytes (u1) for each of its labels")
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise Unusable(f"{name} is no batch of CIFAR: its labels must be integers from 0 to {classes - 1}")
    images = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, 3, 32, 32)
    return images, np.array(labels, dtype=np.int64)
