"""What a trained model's features are worth to another task, learned from a few images of each class."""

from dataclasses import dataclass

from harness.spec.checks import AboveZero, Positive, check_types
from harness.spec.data import DataSpec
from harness.spec.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class FewShot:
    """Few-shot linear evaluation of the frozen model (arXiv 2010.11929, section 4.1), after every confirm run."""

    data: DataSpec
    """The other task: learned from images of its training part, tested on its test part, in the size of the model's."""
    shots: tuple[Positive, ...] = (5, 10)  # images of each class, ascending; metrics are those of the last
    draws: Positive = 20  # random choices of these images; the accuracy is the mean over them
    l2: AboveZero = 1024.0  # weight of the squared coefficients against the squared errors: that of the paper's code

    def __post_init__(self) -> None:
        check_types(self)
        if not self.shots or list(self.shots) != sorted(set(self.shots)):
            raise InvalidInput(f"few_shot.shots is {self.shots}; at least one is needed, ascending, each once.")
        if self.data.is_unlimited:
            told = "it must be a number: the images that shots are drawn from"
            raise InvalidInput(f"few_shot.data.train_size is {self.data.train_size or 'unlimited'}; {told}.")
        if self.data.moved_share:
            told = "its pixels are moved as those of the training; leave it 0"
            raise InvalidInput(f"few_shot.data.moved_share is {self.data.moved_share}; {told}.")

    def check_images(self, image_size: int | None) -> None:
        """Refuse, in a study, a side of its own for the images of the other task."""
        if image_size is not None:
            told = "they are resized to those that the model is trained on; leave it out"
            raise InvalidInput(f"few_shot.data.image_size is {image_size}; {told}.")

    def check_target(self, fewest: int, channels: int, wanted: int) -> None:
        """Refuse a task of too few images: `fewest` of a class; or of colours that a model of grey images lacks."""
        if fewest < self.shots[-1]:
            raise InvalidInput(
                f"few_shot.shots is {self.shots}, but {self.data.source} has {fewest} training images of a class; "
                f"there must be as many as shots. Take at most {fewest}, or another few_shot.data."
            )
        if channels not in (1, wanted):
            raise InvalidInput(
                f"few_shot.data: {self.data.source} has {channels} channels, the model {wanted}; they must be the "
                "same, or grey, which is repeated. Take another source, or photographs with few_shot.data.channels=1."
            )
