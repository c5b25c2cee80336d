"""What every specification of a model says of it."""

from typing import Self


class Architecture:
    """What the specifications of all model families have in common; their defaults hold for most."""

    kind: str
    """The family."""

    def check_image(self, image_size: int) -> None:
        """Refuse an image side (pixels) that does not suit the model, where the specification tells."""

    def batch_norm_side(self, image_size: int) -> int | None:
        """Side of the smallest feature map that BatchNorm normalises; None without BatchNorm, or where unknown."""
        del image_size
        return None

    @property
    def needs_teacher(self) -> bool:
        """Whether a part of it can learn from a teacher alone."""
        return False

    def without_teacher(self) -> Self:
        """The same model as it learns from the labels alone."""
        return self

    @property
    def place(self) -> str | None:
        """The user's file that builds it, if any; no part of what it is."""
        return None

    def found_at(self, place: str) -> Self:
        """The same model, with its code in another file."""
        del place
        return self
