"""samples.npz: images by name, small enough to be kept with results, so that pages show them without the data."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.records.correctness import read_arrays, write_arrays
from harness.records.files import reading

NAME = "samples.npz"
"""Of a study's folder: one image of its data as it is, and as each intervention of the study changes it."""

Sample = npt.NDArray[np.uint8]
"""An image, (C, H, W) of 1 or 3 channels."""


def write_samples(path: Path, samples: Mapping[str, Sample]) -> None:
    """Keep images, at least one, in their order; equal images give equal bytes."""
    write_arrays(
        path,
        keys=np.array(list(samples)),
        shapes=np.array([image.shape for image in samples.values()], dtype=np.int64).reshape(-1),
        pixels=np.concatenate([image.reshape(-1) for image in samples.values()]),
    )


def read_samples(path: Path) -> dict[str, Sample]:
    """What was kept; nothing where there is no such file, `RecordsError` for one that is not whole."""
    if not path.exists() and not path.is_symlink():
        return {}
    kept = read_arrays(path, {"keys": "U", "shapes": "i", "pixels": "u"})
    with reading(path):
        shapes = kept["shapes"].reshape(len(kept["keys"]), 3)
        if not np.isin(shapes[:, 0], (1, 3)).all() or shapes.min(initial=1) < 1:
            raise ValueError("its shapes are not those of images")
        ends = np.cumsum(shapes.prod(1))
        if [0, *ends.tolist()][-1] != len(kept["pixels"]):
            raise ValueError("its numbers of images and pixels do not fit each other")
        parts = np.split(kept["pixels"].astype(np.uint8), ends[:-1])
        return {key: part.reshape(shape) for key, part, shape in zip(kept["keys"].tolist(), parts, shapes, strict=True)}
