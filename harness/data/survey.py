"""From a specification to its data: what is known of it, the splits of a training, and what there is to tell of them.

Nothing here needs torch to be imported: plans ask for facts and hashes, and must not wait for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.data.photograph_source import class_counts
from harness.data.source import Phase, SizeNeeded, Source, memory_limit
from harness.data.sources import find
from harness.data.subsets import of_seed
from harness.records.data_facts import PARTS, DataFacts, Duplicates, shown
from harness.spec import DataSpec, InvalidInput, SourceFacts
from harness.spec.data import WHITE, named_classes
from harness.spec.errors import require
from harness.spec.formats import counted

if TYPE_CHECKING:
    import torch

    from harness.data.splits import AnySplit

MOST_BYTES = 2**32
"""Files that are hashed for nothing else are, for comparison, up to this many bytes, where not all are asked for."""

EXAMPLE = 0  # the seed whose splits are looked at, where each seed draws its own


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of a source; training subsets are taken from `train`, which is without what is held out of it."""

    train: "AnySplit"
    validation: "AnySplit"
    facts: SourceFacts
    hash: str
    sealed_test: "AnySplit | None"  # use `test`

    @property
    def test(self) -> "AnySplit":
        """The test split: in the confirm phase only. Raises `RuntimeError` in a training of the tune phase."""
        if self.sealed_test is None:
            raise RuntimeError("The test split was asked for in the tune phase; selection may use validation only.")
        return self.sealed_test


def load(
    spec: DataSpec, *, device: "str | torch.device" = "cpu", phase: Phase = "tune", seed: int | None = None
) -> Dataset:
    """The data set of a training, on `device` or streamed to it. In phase `tune` the test split is not even read.

    `seed` is the run's, which decides where each seed draws its own splits, and must then be given.
    """
    import torch

    source = find(spec)
    spec, facts = resolve(spec, source)
    require(
        seed is not None or not spec.resplit,
        "data.resplit is true, so each seed has images of its own: give load the run's, as in load(data, seed=0).",
    )
    splits = source.read(of_seed(spec, seed or 0), facts, device=torch.device(device), phase=phase)
    return Dataset(splits["train"], splits["validation"], facts, source.content_hash(), splits.get("test"))


def facts(source: str, *, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
    """Shape and sizes of a source; of photographs, only headers are opened.

    `image_size` (pixels) is what images will be resized to; None for their own size, which photographs have only where
    all are squares of one side. `channels` is what photographs will be read as; None for 1 where all are grey, else 3.
    """
    return find(source).facts(image_size, channels)


def content_hash(spec: DataSpec) -> str:
    """SHA-256 identity of the source's images and labels, 64 hexadecimal digits; a source says how it is made."""
    return find(spec).content_hash()


def resolve(spec: DataSpec, source: Source | None = None) -> tuple[DataSpec, SourceFacts]:
    """The spec with image size, both sizes and photographs' channels written out, and the facts at that image size.

    `source` is the specification's, where it has been opened. Raises `InvalidInput` for sizes that it does not have.
    """
    source = source or find(spec)
    require(
        source.photographs or (spec.fit, spec.background, spec.channels) == ("crop", WHITE, None),
        f"data.fit, data.background and data.channels say how photographs are read; {spec.source} has none. Leave them "
        "out, or set data.source=imagefolder:PATH.",
    )
    spec.check_made()
    in_colour = 3 if len(set(spec.background)) > 1 else None  # transparent and padded parts are
    known = source.facts(spec.image_size, spec.channels or in_colour)
    is_held = getattr(source, "is_held", None)  # a user's own source may lack it
    require(
        not spec.resplit or (is_held is not None and is_held(known)),
        f"data.resplit is true; it must be false for {spec.source}: each seed can draw images of its own only of a set "
        f"that is held in memory, in at most half of it ({memory_limit() / 1e9:.1f} GB here). Set data.resplit=false.",
    )
    own, held_out = known.own_validation and not spec.resplit, spec.validation_size or known.validation_images
    require(
        not own or held_out <= known.validation_images,
        f"data.validation_size is {held_out}, but {spec.source} has {counted(known.validation_images, 'image')} of "
        "its own to validate on. Leave data.validation_size out for all of them, or lower it.",
    )
    both = known.train_images if own else known.images - known.test_images
    left = both - (0 if own else held_out)
    size = spec.size or left
    require(
        1 <= size <= left,
        f"data.train_size is {spec.size or 'all'} and data.validation_size {held_out}, but {spec.source} has "
        f"{counted(both, 'training image')}{'' if own else ' to take both from'}; "
        f"{f'at most {left} are left for training' if left > 0 else 'hold fewer out'}.",
    )
    for field, value in {"train_size": size, **({} if own else {"validation_size": held_out})}.items():
        require(
            value >= known.classes,
            f"data.{field} is {value}, fewer than the {counted(known.classes, 'class')} of {spec.source}; it must be "
            f"at least {known.classes}, so that every class is there.",
        )
    channels = known.channels if source.photographs and spec.source != "imagenet" else None
    spec = replace(spec, image_size=known.image_size, validation_size=held_out, channels=channels)
    return replace(spec, train_size="unlimited" if spec.is_unlimited else size), known


def outline(spec: DataSpec, source: Source | None = None) -> DataFacts:
    """What is known without decoding an image: all but duplicates, and but the classes of arrays.

    Of splits that each seed draws, those of seed `EXAMPLE`; their sizes are the same for all.
    """
    source = source or find(spec)
    spec, facts = resolve(of_seed(spec, EXAMPLE), source)
    assert spec.validation_size is not None
    held_out = 0 if facts.own_validation and not spec.resplit else spec.validation_size
    told = dict(source.outline(spec))
    if spec.resplit:
        told["origins"] = {}
    return DataFacts(
        source=spec.source,
        data_hash=source.content_hash(),
        resplit=spec.resplit,
        train=(facts.images - facts.test_images if spec.resplit else facts.train_images) - held_out,
        validation=spec.validation_size,
        test=facts.test_images,
        **told,
    )


def survey(spec: DataSpec, data: Dataset, *, thorough: bool = False) -> DataFacts:
    """All that is known of a data set that has been loaded in phase `confirm`, as for seed `EXAMPLE`.

    Images in memory are compared by their pixels, streamed ones by the bytes of their files: not where more than
    `MOST_BYTES` would be read for it, unless `thorough`. Refuses a set all of whose test images are training images.
    """
    source, facts = find(spec), data.facts
    known = outline(spec, source)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    if data.train.is_counted:
        return known  # without end
    labels = {part: split.labels.cpu().numpy() for part, split in splits.items()}
    if not source.photographs:
        side, images = source.facts().image_size, sum(map(len, labels.values()))
        known = replace(
            known,
            classes=class_counts(named_classes(spec.source) or [*map(str, range(facts.classes))], labels),
            sizes={f"{side}x{side}": images},
            distinct_sizes=1,
            modes={"L" if facts.channels == 1 else "RGB": images},
        )
    keys = {part: split.keys(None if thorough else MOST_BYTES) for part, split in splits.items()}
    names = source.names(resolve(of_seed(spec, EXAMPLE), source)[0])
    places = [
        (key, part, int(label), names[part][at] if names else f"{part}[{at}]")
        for part in PARTS
        for at, (key, label) in enumerate(zip(keys[part] or (), labels[part], strict=False))
    ]
    if None in keys.values():
        return known
    compared = f"pixels at {facts.image_size} px" if hasattr(data.train, "images") else "bytes of the files"
    return replace(known, duplicates=_duplicates(spec.source, compared, places))


def check(spec: DataSpec) -> tuple[DataFacts, str]:
    """Load a source and look at all of it; also says what a run must be given that this was not."""
    lacking = ""
    try:
        resolve(spec)
    except SizeNeeded as error:
        spec, lacking = replace(spec, image_size=64), str(error)
    return survey(spec, load(spec, phase="confirm", seed=EXAMPLE), thorough=True), lacking


def _duplicates(source: str, compared: str, images: Sequence[tuple[str, str, int, str]]) -> Duplicates:
    """What is there more than once, of (key, part, class, name) of every image."""
    import pandas as pd

    every = pd.DataFrame(images, columns=["key", "part", "label", "name"])
    twice = every[every.duplicated("key", keep=False)]
    known = twice[twice["part"] != "test"]["key"]
    leaked = twice[(twice["part"] == "test") & twice["key"].isin(known)]
    held_out = twice[(twice["part"] == "validation") & twice["key"].isin(twice[twice["part"] == "train"]["key"])]
    relabelled = twice[twice.groupby("key")["label"].transform("nunique") > 1]
    tested = int((every["part"] == "test").sum())
    if len(leaked) == tested > 0:
        raise InvalidInput(
            f"All {counted(tested, 'test image')} of {source} are training images, too (the same {compared}): there is "
            "nothing to test on. Put other images into the test part."
        )
    names = pd.concat([leaked, relabelled, twice]).drop_duplicates("key")["key"]
    ends = twice.groupby("key")["name"].agg(["first", "last"]).loc[names.head(5)]
    return Duplicates(
        compared=compared,
        test_in_train=len(leaked),
        validation_in_train=len(held_out),
        relabelled=len(relabelled),
        repeated=int(every.duplicated("key").sum()),
        first=tuple(shown(f"{last} = {first}") for first, last in ends.itertuples(index=False)),
    )
