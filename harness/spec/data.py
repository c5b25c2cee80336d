"""Which images a training sees, as data; and what is known of the named sources without loading them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from harness.spec.checks import Positive, Share, Within, check_types, did_you_mean, later
from harness.spec.errors import InvalidInput, require, require_choice
from harness.spec.procedural import Cued, Made, Scattered

MOST_CLASSES = 65_536


@dataclass(frozen=True)
class SourceFacts:
    """Shape of a data set: images are uint8 (N, channels, image_size, image_size)."""

    image_size: int  # side of an image, pixels
    channels: int
    classes: int
    train_images: int
    test_images: int
    validation_images: int
    """Images held out of the training part, which `train_images` counts too, unless the study says otherwise."""
    own_validation: bool = False
    """Whether validation images are a part of their own, of which the training part has none."""

    def __post_init__(self) -> None:
        told = f"at most {MOST_CLASSES:,}: answers are kept in 16 bits. Take a coarser label, or fewer classes"
        require(self.classes <= MOST_CLASSES, f"The data has {self.classes:,} classes; {told}.")

    @property
    def images(self) -> int:
        """Images of all parts together."""
        return self.train_images + self.test_images + (self.validation_images if self.own_validation else 0)


NAMED_SOURCES: dict[str, SourceFacts] = {
    "fashion_mnist": SourceFacts(28, 1, 10, 60_000, 10_000, 5_000),
    "cifar10": SourceFacts(32, 3, 10, 50_000, 10_000, 5_000),
    "cifar100": SourceFacts(32, 3, 100, 50_000, 10_000, 5_000),
    "digits": SourceFacts(8, 1, 10, 1_437, 360, 180),
}
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}
"""Of named sources, as their authors call them, in the order of the labels."""


def named_classes(source: str) -> tuple[str, ...]:
    """What the classes of a named source, or of `classes:FIRST-LAST` of one, are called; nothing where unknown."""
    kind, _, argument = source.partition(":")
    if kind != "classes":
        return CLASS_NAMES.get(source, ())
    wanted, _, inner = argument.partition(":")
    first, _, last = wanted.partition("-")
    return named_classes(inner)[int(first) : int(last) + 1]


TITLES = {
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits": "scikit-learn's digits",
    "imagenet": "ImageNet-1k",
}
"""What people call a source, by its kind; other sources are called as they are given."""

IMAGENET = SourceFacts(224, 3, 1000, 1_281_167, 50_000, 10_000)
"""ImageNet-1k as ILSVRC2012 has it: lets a study be planned and costed before the folder is there."""

SOURCES = {
    **dict.fromkeys(NAMED_SOURCES, ""),
    **dict.fromkeys(("imagefolder", "imagenet", "npz", "npy", "csv"), "PATH"),
    **dict.fromkeys(("torchvision", "huggingface"), "NAME"),
    "python": "MODULE:FUNCTION",
    "classes": "FIRST-LAST:SOURCE",
    **dict.fromkeys(("scattered", "cued"), ""),
}
"""Every kind of source, each read by a file in `harness/data/sources/`, with what follows its colon."""


def parse_source(source: str) -> tuple[str, str]:
    """Kind and argument of `KIND` or `KIND:ARGUMENT`. Raises `InvalidInput` for what is no source."""
    kind, colon, argument = source.partition(":")
    if kind not in SOURCES:
        forms = ", ".join(f"{name}:{form}" if form else name for name, form in SOURCES.items())
        raise InvalidInput(f"data.source is {source!r}. {did_you_mean(kind, SOURCES)}Valid: {forms}.")
    form = SOURCES[kind]
    if not bool(colon) == bool(form) == bool(argument) and source != "imagenet":  # which is planned without its folder
        told = f":{form}." if form else ". PATCHBENCH_DATA names the folder of files that it looks for."
        raise InvalidInput(f"data.source is {source!r}; it must be of the form {kind}{told}")
    return kind, argument


def _title_of(source: str) -> str:
    """The title of a source of images that are read."""
    kind, argument = parse_source(source)
    if kind == "classes":
        classes, _, whole = argument.partition(":")
        return f"classes {classes} of {_title_of(whole)}"
    return TITLES.get(kind, source)


Fit = Literal["squash", "crop", "pad"]
Seed = Annotated[int, Within(0, 2**31 - 1)]

WHITE = (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The images of a training."""

    _key = "data"
    source: str = "fashion_mnist"  # one of `SOURCES`: `fashion_mnist`, `imagefolder:PATH`, `torchvision:NAME`, ...
    image_size: Positive | None = None  # side that images are resized to, pixels; None for the source's own
    train_size: Positive | Literal["unlimited"] | None = None
    """Images in the (stratified, nested) training subset; None for all that validation leaves. `unlimited`, which is
    None to sources whose images are made: as many as the training sees, each once."""
    validation_size: Positive | None = None
    """Images held out of the training part, or taken of a folder's own `val/`; None for the source's number (folders: a
    tenth; made images: 5,000) or all of `val/`."""
    split_seed: Seed = 0  # decides which images are held out
    resplit: bool = later(False)
    """Whether each seed draws training, validation and test images of its own, stratified, from all of the source's, in
    parts of the source's sizes. Else all seeds are tested on the same images. For sets that memory holds."""
    moved_share: Share = 0.0
    moved_patch: Positive = 1
    moved_seed: Seed = 0
    """Share of the square patches of this side (pixels) that one permutation, the same in every image of all splits,
    moves to other places; for one seed, those moved at a smaller share are among those of a larger one."""
    fit: Fit = later("crop")
    """How photographs become square: their middle (`crop`), with background (`pad`), each side resized (`squash`)."""
    background: tuple[int, ...] = later(WHITE)
    """Red, green, blue, 0 to 255: seen through transparent parts of photographs, and beside padded ones."""
    channels: int | None = later(None)
    """Photographs as 1: grey, or 3: RGB; None for 1 where every file is grey, else 3."""
    scattered: Scattered = later(Scattered())
    cued: Cued = later(Cued())
    """How the sources of these names make their images."""

    def __post_init__(self) -> None:
        check_types(self)
        parse_source(self.source)
        if len(self.background) != 3 or not all(0 <= level <= 255 for level in self.background):
            raise InvalidInput(f"data.background is {self.background}; it must be three levels of 0 to 255.")
        require_choice("data.channels", self.channels, (1, 3, None))

    @property
    def known_image_size(self) -> int | None:
        """Side of the source's own images, pixels; None where they must be looked at."""
        if self.made is not None:
            return self.made.side
        kind = self.kind
        if kind == "classes":  # whose images are those of the set that they are of
            kind = parse_source(self.source)[1].partition(":")[2]
        facts = IMAGENET if kind == "imagenet" else NAMED_SOURCES.get(kind)
        return None if facts is None else facts.image_size

    @property
    def made(self) -> Made | None:
        """How images are made; None where they are read."""
        found: dict[str, Made] = {"scattered": self.scattered, "cued": self.cued}
        return found.get(self.kind)

    @property
    def title(self) -> str:
        """The images as people call them: `Fashion-MNIST`, `made images: digits among clutter`."""
        if self.made is None:
            return _title_of(self.source)
        objects = self.made.objects if self.made.objects == "digits" else f"objects of {_title_of(self.made.objects)}"
        if isinstance(self.made, Scattered):
            return f"made images: {objects} {'among clutter' if self.made.clutter else 'in noise'}"
        return f"made images: {'glyphs' if objects == 'digits' else objects} with a cue"

    @property
    def read_from(self) -> str:
        """The source that is read: of the images, or of what they are made of."""
        return self.source if self.made is None else self.made.objects

    @property
    def images_of(self) -> str:
        """The set that the images are of: also some classes of it, or images that are made of its."""
        kind, rest = parse_source(self.read_from)
        return (rest.partition(":")[2] if kind == "classes" else self.read_from).rstrip("/")

    @property
    def is_unlimited(self) -> bool:
        """Whether a training never sees an image twice."""
        return self.train_size == "unlimited" or (self.train_size is None and self.made is not None)

    @property
    def size(self) -> int | None:
        """`train_size` where it is a number."""
        return None if self.train_size == "unlimited" else self.train_size

    def check_made(self, epochs: float | None = None) -> None:
        """Refuse images that cannot be made as asked, and passes (`epochs` of a recipe) over those without end."""
        for name, asked in (("scattered", self.scattered), ("cued", self.cued)):
            require(
                self.kind == name or asked == type(asked)(),
                f"data.{name} says how the images of data.source={name} are made; the source is {self.source}. Leave "
                f"data.{name} out, or set the source.",
            )
        require(
            self.made is not None or self.train_size != "unlimited",
            f"data.train_size is unlimited; {self.source} has a number of images. Give a number, or a source whose "
            "images are made: data.source=scattered.",
        )
        if self.made is None:
            return
        self.made.check()
        require(
            self.image_size in (None, self.made.side),
            f"data.image_size is {self.image_size}, and {self.kind} makes images of {self.made.side} pixels: leave it "
            f"out, or set data.{self.kind}.side.",
        )
        require(
            epochs is None or not self.is_unlimited,
            f"recipe.epochs is {epochs}, but data.train_size is unlimited: such a training never ends a pass. Set "
            "recipe.updates or recipe.images, or a number of training images.",
        )

    @property
    def kind(self) -> str:
        """The source without its path or name: `imagefolder`."""
        return parse_source(self.source)[0]

    def check_moved(self, image_size: int) -> None:
        """Refuse patches that do not tile an image of this side (pixels), and a share of fewer than two of them."""
        if self.moved_share == 0:
            return
        side = self.moved_patch
        if image_size % side:
            raise InvalidInput(f"data.moved_patch is {side}; it must divide the image side of {image_size} pixels.")
        patches = (image_size // side) ** 2
        if round(self.moved_share * patches) < 2:
            told = f"{self.moved_share:g} of {patches} patches; at least two must move. Take more or smaller ones."
            raise InvalidInput(f"data.moved_share is {told}")
