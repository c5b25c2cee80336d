"""How a model is trained: optimiser, schedule, augmentation, regularisation and budget."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from harness.spec.checks import (
    AboveZero,
    Checked,
    Count,
    NotNegative,
    Positive,
    Probability,
    Share,
    Within,
    check_types,
    known,
    later,
)
from harness.spec.data import DataSpec
from harness.spec.errors import require, require_within
from harness.spec.model import ModelSpec, ResNetSpec, require_same_body

BUDGET_UNITS = ("updates", "epochs", "images")

DEFAULT_UPDATES = 1000  # the budget of a recipe that names none

USUAL_SETTINGS: dict[str, tuple[float, float]] = {
    "muon": (2e-2, 0.05),
    "adamw": (3e-3, 0.05),
    "schedule_free": (3e-3, 0.05),
    "adam": (3e-3, 0.0),
    "sgd": (5e-2, 5e-4),
}
"""Learning rate and weight decay by optimiser: what a recipe that names none of its own means. Part of the schema."""


@dataclass(frozen=True, kw_only=True)
class Augmentation(Checked):
    """What is done to a training batch, drawn anew for each image."""

    _key = "augmentation"
    shift: Count = 0  # largest translation, pixels in each direction (a crop of the image padded with zeros)
    flip: bool = False  # mirror half of the images left to right (fewer below strength 1)
    erase: Share = 0.0  # probability of blanking a random rectangle of an image (random erasing, arXiv 1708.04896).
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    """Parameter alpha of the Beta distribution of mixup (arXiv 1710.09412), CutMix (arXiv 1905.04899); 0 for none."""
    randaugment: Count = 0  # number of RandAugment operations per image (torchvision v2); 0 turns it off
    strength: Annotated[float, Within(0, 10)] = 1.0
    """Scales `shift`, `flip`, `erase` and RandAugment's magnitude together, 0 turns them off; one number to tune."""


@dataclass(frozen=True, kw_only=True)
class Distillation(Checked):
    """Learning from a teacher (arXiv 2012.12877, section 4), which each run trains first, on its own images.

    The teacher has the run's budget, batches and augmentation; what it costs is not counted as the arm's.
    """

    _key = "distillation"
    teacher: ResNetSpec
    learning_rate: AboveZero
    weight_decay: NotNegative = 0.05  # the teacher's peak learning rate and weight decay, which are not tuned
    weight: Share = 0.5
    """Weight of the teacher's part in the loss: cross-entropy with its most likely class (hard distillation)."""


@dataclass(frozen=True, kw_only=True)
class Pretraining(Checked):
    """A training whose weights others start from: made where it lacks, kept once, shared by all that ask for it.

    It is a confirm run of its own, of `data`, `recipe` and `model`; what it costs is not counted as the arm's.
    """

    _key = "pretraining"
    data: DataSpec
    recipe: "Recipe"
    model: ModelSpec | None = None  # None for the arm's own
    seeds: Positive = 1
    """How many there are, of seeds 0 to `seeds` - 1; a run of seed s starts from number s modulo `seeds`."""
    data_hash: str | None = None
    channels: Positive | None = None
    classes: Positive | None = None
    """SHA-256, channels and classes of the images; None, and written out by the plan."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.recipe.start_from is None, "pretraining.recipe.start_from is given; weights come from one place.")


@dataclass(frozen=True, kw_only=True)
class WeightsFile(Checked):
    """A safetensors file of weights; its path and SHA-256 are part of a run's identity."""

    _key = "weights_file"
    path: str
    names: Literal["patchbench", "timm"] = "patchbench"
    """Whose names the tensors have: this project's (`model.safetensors` of a kept model), or timm's of a ViT without
    extras, or of a ResNet-18, -34 or -50."""
    grid: tuple[Positive, ...] = ()  # rows and columns of its position embeddings; empty for a square grid
    sha256: str | None = None  # None for whatever the file has when a study is planned, which is then written out

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.grid) in (0, 2), f"weights_file.grid is {self.grid}; it must be rows and columns, or empty.")


@dataclass(frozen=True, kw_only=True)
class StartFrom(Checked):
    """Weights to start from in place of fresh ones (arXiv 2010.11929, section 3.2), under a new head of zeros.

    Position embeddings are resized to the grid of the images; everything else is loaded as it is, BatchNorm's running
    statistics too. Images are normalised by their own training subset.
    """

    _key = "start_from"
    pretraining: Pretraining | None = None
    file: WeightsFile | None = None
    trained: Literal["all", "head"] = "all"
    """Fine-tuning, or a linear classifier: the body keeps its weights and statistics, and is in evaluation mode."""

    def __post_init__(self) -> None:
        check_types(self)
        both = (self.pretraining, self.file)
        require(both.count(None) == 1, "start_from needs one of pretraining and file: give one, leave the other out.")

    def check(self, model: ModelSpec, data: DataSpec, image_size: int) -> None:
        """Refuse what cannot start: another family or body, positions that cannot be resized, images seen before.

        `image_size` is the side of the images of `data`, pixels.
        """
        made = self.pretraining
        require_same_body(model, (made and made.model) or model)
        if made is None:
            return
        before = made.data.image_size or made.data.known_image_size
        if before is not None:
            (made.model or model).check_image(before)
            is_relative = getattr(model, "position", None) == "relative"
            require(
                not is_relative or before == image_size,
                f"start_from has images of {before} pixels, the run of {image_size}; a relative position bias cannot "
                "be resized. Use images of one size, or another model.position.",
            )
        drawn = ("split_seed", "resplit", "validation_size")
        others = [key for key in drawn if getattr(made.data, key) != getattr(data, key)]
        if made.data.images_of != data.images_of:
            return
        require(
            (made.data.made is None) == (data.made is None),
            f"start_from sees {made.data.source}, the run {data.source}, and both show images of {data.images_of}: "
            "those that are made are of all of it, so that images that are tested on would be trained on. Name another "
            "source.",
        )
        require(
            not (others or data.resplit),
            f"start_from sees {data.images_of}, as the run does, in other splits ({', '.join(others) or 'resplit'}): "
            "images that are tested on would be trained on. Give both the same splits, and data.resplit=false.",
        )


@dataclass(frozen=True, kw_only=True)
class Recipe(Checked):
    """One training's procedure. The defaults train a small model on small images."""

    _key = "recipe"
    updates: Positive | None = None
    epochs: AboveZero | None = None
    images: Positive | None = None
    """Budget in optimiser updates, passes over the training subset, or images seen; by default DEFAULT_UPDATES."""
    least_epochs: AboveZero | None = later(None)
    """Passes over the training subset that a budget in updates or images grows to where it is fewer; None for none."""
    batch_size: Positive = 128
    accumulate: Positive = 1
    """Images per update, and the parts that they are taken in, to save memory; the parts' gradients are summed."""
    optimizer: Literal["adamw", "adam", "sgd", "muon", "schedule_free"] = "muon"
    """`muon` updates hidden matrices by Muon and everything else by AdamW; `schedule_free` is schedule-free AdamW
    (arXiv 2405.15682), whose average of the weights is evaluated and kept (with BatchNorm's last statistics)."""
    sam_radius: NotNegative = later(0.0)
    """Radius rho of SAM (arXiv 2010.01412): gradients are taken that far up the first ones, so that an update costs two
    passes; 0 for none."""
    learning_rate: AboveZero | None = None
    """Peak learning rate, of the whole batch; None for the optimiser's usual one (`rate`)."""
    weight_decay: NotNegative | None = None
    """Decoupled (AdamW, Muon) or L2 (Adam, SGD), not on norms, biases, embeddings; None for the usual one (`decay`)."""
    momentum: Annotated[float, Within(0, 0.9999)] = 0.9  # momentum of SGD; first-moment decay of the others
    schedule: Literal["cosine", "constant", "wsd"] = "cosine"
    """After warm-up: cosine to 0, constant, or constant and then linear to 0 over the last fifth (`wsd`)."""
    warmup: Share = 0.05  # share of the updates over which the learning rate rises linearly from 0
    clip_norm: AboveZero | None = 1.0  # largest global norm of the gradient; None for no clipping
    label_smoothing: Probability = 0.0  # probability mass spread evenly over all classes
    ema_decay: Annotated[float, Within(0, 0.99999)] | None = None
    """Decay per update of an exponential moving average of the model, BatchNorm's statistics too, which is then what is
    evaluated and kept; at most (1 + n) / (10 + n) after n updates."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 autocast where the device has it in hardware, else fp32."""
    compile: bool = False  # use torch.compile: worth its start-up time in long trainings only.
    evaluations: Positive = 10
    """Evaluations on the validation split, evenly spaced; the last one is after the last update."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    distillation: Distillation | None = None  # a teacher to learn from besides the labels; None for the labels alone
    start_from: StartFrom | None = later(None)  # trained weights to start from; None for fresh ones

    def __post_init__(self) -> None:
        super().__post_init__()
        given = ", ".join(f"{unit}={value}" for unit in BUDGET_UNITS if (value := getattr(self, unit)) is not None)
        if not given:
            object.__setattr__(self, "updates", DEFAULT_UPDATES)
        require("," not in given, f"A recipe's budget is given as {given}. Set one, and the others to None.")
        require_within("recipe.accumulate", self.accumulate, 1, self.batch_size)
        if self.optimizer == "schedule_free":
            for name, fitting in (("schedule", "constant"), ("ema_decay", None)):
                found = getattr(self, name)
                told = f"schedule-free AdamW averages the weights in its place: set it to {fitting!r}."
                require(found == fitting, f"recipe.{name} is {found!r}; {told}")

    @property
    def rate(self) -> float:
        """The peak learning rate: the recipe's own, else the optimiser's usual one."""
        return USUAL_SETTINGS[self.optimizer][0] if self.learning_rate is None else self.learning_rate

    @property
    def decay(self) -> float:
        """The weight decay: the recipe's own, else the optimiser's usual one."""
        return USUAL_SETTINGS[self.optimizer][1] if self.weight_decay is None else self.weight_decay

    @property
    def averages(self) -> bool:
        """Whether an average of the model is what is evaluated."""
        return self.ema_decay is not None or self.optimizer == "schedule_free"

    @property
    def passes(self) -> int:
        """Forward and backward passes of an update over its images."""
        return 2 if self.sam_radius else 1

    @property
    def total_updates(self) -> int:
        """The budget in updates, of a recipe that is `resolved`."""
        return known(self.updates)

    @property
    def total_images(self) -> int:
        """The budget in training images seen, of a recipe that is `resolved`."""
        return self.total_updates * self.batch_size

    def check_shared(self, cards: int) -> None:
        """Refuse a batch whose parts so many cards cannot share evenly, and torch.compile on more than one."""
        parts = self.accumulate * cards
        require(
            cards == 1 or self.batch_size % parts == 0,
            f"recipe.batch_size is {self.batch_size}; over {cards} cards it must be a multiple of {parts}, the cards "
            "times recipe.accumulate. Change it, recipe.accumulate or --cards-per-run.",
        )
        told = "recipe.compile is for runs on one card. Set it to false, or leave out --cards-per-run."
        require(cards == 1 or not self.compile, told)

    def written_out(self) -> "Recipe":
        """The same recipe with the optimiser's usual settings as values."""
        return replace(self, learning_rate=self.rate, weight_decay=self.decay)

    def resolved(self, train_images: int) -> "Recipe":
        """The same recipe with nothing left open: its budget is in updates."""
        updates = self.resolved_updates(train_images)
        return replace(self.written_out(), updates=updates, epochs=None, images=None, least_epochs=None)

    def resolved_updates(self, train_images: int) -> int:
        """The budget in updates for a training subset of `train_images`; at least one."""
        images = self.images if self.images is not None else (self.epochs or 0.0) * train_images
        updates = round(images / self.batch_size) if self.updates is None else self.updates
        return max(1, updates, round((self.least_epochs or 0.0) * train_images / self.batch_size))


def evaluation_points(recipe: Recipe) -> frozenset[int]:
    """Updates after which validation is scored: evenly spaced, the last one included."""
    updates = recipe.total_updates
    count = min(recipe.evaluations, updates)
    return frozenset(round(updates * part / count) for part in range(1, count + 1))
