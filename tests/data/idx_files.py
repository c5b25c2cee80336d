"""Files in the format of MNIST."""

import struct

import numpy as np
import numpy.typing as npt


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """An array of bytes as the content of an IDX file."""
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
