"""Arrays of an .npz file from anywhere: nothing is allocated that the file's own bytes do not fill."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.records.files import MOST_BYTES, RecordsError, read_bytes

_DAMAGES = (ValueError, KeyError, EOFError, OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What an archive raises that is not whole, is encrypted, or is packed in a way of its own."""


def read_arrays(path: Path, kinds: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays named in `kinds`, each (n,) and of one of these numpy kinds of dtype (`u`, `i`, `U`).

    `RecordsError` for anything else: an archive that is damaged or unpacks to more than MOST_BYTES, another shape or
    type, a header that announces more or less than follows it.
    """
    content = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: _array(archive, name, kind) for name, kind in kinds.items()}
    except _DAMAGES as error:
        raise RecordsError(f"Could not read {path}: {error}.") from error


def _array(archive: zipfile.ZipFile, name: str, kinds: str) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as file:
        stream = io.BytesIO(file.read(MOST_BYTES + 1))
    size = stream.getbuffer().nbytes
    if size > MOST_BYTES:
        raise ValueError(f"{name} unpacks to more than {MOST_BYTES:,} bytes")
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} is of another version of numpy's format")
    try:
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # numpy parses a literal of Python, and passes on whatever its tokenizer raises
        raise ValueError(f"{name} has no header that can be read") from error
    if dtype.kind not in kinds or len(shape) != 1:
        raise ValueError(f"{name} is of type {dtype} and shape {shape}; expected (n,) of kind {' or '.join(kinds)}")
    if shape[0] * dtype.itemsize != size - stream.tell():
        raise ValueError(f"{name} announces {shape[0]} elements of {dtype}, but {size - stream.tell()} bytes follow")
    return np.frombuffer(stream.read(), dtype=dtype).copy() if shape[0] else np.zeros(0, dtype)
