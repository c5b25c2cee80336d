"""Arrays in .npz files, which may come from anybody; and which test images each run got right, a bit per image."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.records.files import MOST_BYTES, read_bytes, reading, write_bytes

Correct = npt.NDArray[np.bool_]  # (N,) whether the predicted class was right, per test image in the run's own order


def write_arrays(path: Path, **arrays: Any) -> bytes:
    """Keep arrays in an .npz file; returns its content."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())
    return buffer.getvalue()


def read_arrays(path: Path, kinds: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays named in `kinds`, each (n,), of one of these kinds of dtype (`u`, `i`, `U`); else `RecordsError`."""
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


def write_answers(path: Path, answers: Mapping[str, Correct]) -> None:
    """Keep each run's answers, by its digest, in an .npz file: digests in order, lengths (images), and all bits."""
    digests = sorted(answers)
    write_arrays(
        path,
        digests=np.array(digests, dtype="U64"),
        lengths=np.array([len(answers[digest]) for digest in digests], dtype=np.int64),
        bits=np.concatenate([np.zeros(0, dtype=np.uint8), *(np.packbits(answers[digest]) for digest in digests)]),
    )


def read_answers(path: Path) -> dict[str, Correct]:
    """What `write_answers` kept; `RecordsError` for a file whose parts do not fit each other."""
    kept = read_arrays(path, {"digests": "U", "lengths": "i", "bits": "u"})
    with reading(path):
        digests, lengths, bits = kept["digests"].tolist(), kept["lengths"].tolist(), kept["bits"].view(np.uint8)
        ends = np.cumsum([(length + 7) // 8 for length in lengths], dtype=np.int64).tolist()
        # Checked before anything is unpacked: a length beyond the bits would be filled up with zeros.
        if len(lengths) != len(digests) or min(lengths, default=0) < 0 or [0, *ends][-1] != len(bits):
            raise ValueError("its numbers of runs, images and answers do not fit each other")
        return {
            digest: np.unpackbits(bits[start:end], count=length).astype(np.bool_)
            for digest, length, start, end in zip(digests, lengths, [0, *ends], ends, strict=False)
        }
