"""Which test images each run got right: a bit per image, in memory as on disk."""

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.records.arrays import read_arrays
from harness.records.files import RecordsError, write_bytes

Correct = npt.NDArray[np.bool_]
"""(N,) whether the predicted class was right, per test image in the test split's order."""

_Bits = npt.NDArray[np.uint8]


class Correctness(Mapping[str, Correct]):
    """The answers of each run by its digest; unpacked when they are asked for, as ten thousand runs fill a gigabyte."""

    def __init__(self, answers: Iterable[tuple[str, Correct]] = ()) -> None:
        self._kept: dict[str, tuple[_Bits, int]] = {
            digest: (np.packbits(correct), len(correct)) for digest, correct in answers
        }

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
        buffer = io.BytesIO()
        np.savez_compressed(buffer, digests=np.array(digests, dtype="U64"), lengths=lengths, bits=joined)
        write_bytes(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> "Correctness":
        """What `write` kept; `RecordsError` for a file whose parts do not fit each other."""
        kept = read_arrays(path, {"digests": "U", "lengths": "i", "bits": "u"})
        lengths = [int(length) for length in kept["lengths"]]
        sizes = [(length + 7) // 8 for length in lengths]
        bits = kept["bits"]
        # Checked before anything is unpacked: a length beyond the bits would be filled up with zeros.
        if len(lengths) != len(kept["digests"]) or min(lengths, default=0) < 0 or sum(sizes) != bits.nbytes:
            raise RecordsError(f"Could not read {path}: its numbers of runs, images and answers do not fit each other.")
        parts = np.split(bits.view(np.uint8), np.cumsum(sizes)[:-1]) if sizes else []
        answers = cls()
        try:
            digests = [str(digest) for digest in kept["digests"]]
        except ValueError as error:  # a name that is no text
            raise RecordsError(f"Could not read {path}: {error}.") from error
        answers._kept = dict(zip(digests, zip(parts, lengths, strict=True), strict=True))
        return answers
