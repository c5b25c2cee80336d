"""What every model checks of the images it is given."""

from torch import Tensor


def check_images(images: Tensor, expected: tuple[int, int, int]) -> None:
    """Raise ValueError unless `images` is (B, *expected) and floating point."""
    if images.ndim != 4 or tuple(images.shape[1:]) != expected:
        raise ValueError(f"Expected images of shape (B, {', '.join(map(str, expected))}), found {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise ValueError(f"Expected images of a floating-point type, normalised; found {images.dtype}.")
