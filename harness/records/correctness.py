"""Arrays in .npz files, which may come from anybody; and which test images each run got right, a bit per image."""

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.records.files import MOST_BYTES, read_bytes, reading, write_bytes

Correct = npt.NDArray[np.bool_]
"""(N,) whether the predicted class was right, per test image in the test split's order."""


def write_arrays(path: Path, **arrays: npt.NDArray[Any]) -> bytes:
    """Keep arrays in an .npz file; returns its content."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())
    return buffer.getvalue()


def read_arrays(path: Path, kinds: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays named in `kinds`, each (n,) and of one of these numpy kinds of dtype (`u`, `i`, `U`).

    `RecordsError` for anything else, and for an archive that is damaged or unpacks to more than MOST_BYTES.
    """
    with reading(path):
        content = io.BytesIO(read_bytes(path))
        with zipfile.ZipFile(content) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise ValueError(f"it unpacks to more than {MOST_BYTES:,} bytes")
        with np.load(content, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kinds}
        for name, array in arrays.items():
            if array.dtype.kind not in kinds[name] or array.ndim != 1:
                raise ValueError(f"{name} is of type {array.dtype} and shape {array.shape}")
    return arrays


class Correctness(Mapping[str, Correct]):
    """The answers of each run by its digest; unpacked when they are asked for, as ten thousand runs fill a gigabyte."""

    def __init__(self, answers: Iterable[tuple[str, Correct]] = ()) -> None:
        self._kept = {digest: (np.packbits(correct), len(correct)) for digest, correct in answers}

    def __getitem__(self, digest: str) -> Correct:
        bits, length = self._kept[digest]
        return np.unpackbits(bits, count=length).astype(np.bool_)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def write(self, path: Path) -> None:
        """Keep them in an .npz file: digests in order, lengths (images), and all bits one after the other."""
        digests = sorted(self._kept)
        lengths = np.array([self._kept[digest][1] for digest in digests], dtype=np.int64)
        joined = np.concatenate([np.zeros(0, dtype=np.uint8), *(self._kept[digest][0] for digest in digests)])
        write_arrays(path, digests=np.array(digests, dtype="U64"), lengths=lengths, bits=joined)

    @classmethod
    def read(cls, path: Path) -> "Correctness":
        """What `write` kept; `RecordsError` for a file whose parts do not fit each other."""
        kept, answers = read_arrays(path, {"digests": "U", "lengths": "i", "bits": "u"}), cls()
        with reading(path):
            digests, lengths = kept["digests"].tolist(), kept["lengths"].tolist()
            sizes = [(length + 7) // 8 for length in lengths]
            # Checked before anything is unpacked: a length beyond the bits would be filled up with zeros.
            if len(lengths) != len(digests) or min(lengths, default=0) < 0 or sum(sizes) != kept["bits"].nbytes:
                raise ValueError("its numbers of runs, images and answers do not fit each other")
            parts = np.split(kept["bits"].view(np.uint8), np.cumsum(sizes)[:-1]) if sizes else []
            answers._kept = dict(zip(digests, zip(parts, lengths, strict=True), strict=True))
        return answers
