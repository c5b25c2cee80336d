"""`scattered`, `cued`: images that are made of real objects, as many as are asked for, by `harness.data.rendering`.

They are made so that a bias fits, or does not fit: they show when data beats bias, not that it does on photographs.
The objects are split first, so that no part has one of another's. A part that memory holds is made once, a larger one
batch by batch on the device that trains, and both have the same images.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.data.array_source import PARTS, ArraySource, resized
from harness.data.source import Pair, Phase, Source
from harness.data.subsets import derive, parted
from harness.records.data_facts import Duplicates
from harness.spec import DataSpec, SourceFacts
from harness.spec.errors import require
from harness.spec.formats import counted
from harness.spec.procedural import MOST_IMAGES, TESTED, VALIDATED, Made, Scattered
from harness.spec.run import canonical_json, to_plain

if TYPE_CHECKING:
    import torch

    from harness.data.splits import AnySplit, Splits

RENDERER = 1
"""Version of `harness.data.rendering`: raise it when the same settings, key and number give another image."""

VALIDATION_IMAGES = 5_000


@dataclass(frozen=True, eq=False)
class ProceduralSource:
    """The images that a specification's `made` describes."""

    photographs: ClassVar[bool] = False
    spec: DataSpec

    @property
    def made(self) -> Made:
        assert self.spec.made is not None
        return self.spec.made

    def facts(self, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
        """See `Source`; the training part has `MOST_IMAGES`, of which a training takes the first."""
        self.spec.check_made()
        objects = self._objects_facts
        return SourceFacts(
            image_size=self.made.side,
            channels=objects.channels,
            classes=objects.classes,
            train_images=MOST_IMAGES,
            test_images=self.made.test_images,
            validation_images=self.spec.validation_size or VALIDATION_IMAGES,
            own_validation=True,
        )

    def content_hash(self) -> str:
        """SHA-256 of the objects' own, of all settings and of the renderer's version, without an image being made."""
        objects = _opened(*self._asked)[1].content_hash()
        told = to_plain(self.made) | {"kind": self.spec.kind, "objects": objects, "renderer": RENDERER}
        return hashlib.sha256(canonical_json(told).encode()).hexdigest()

    def is_held(self, facts: SourceFacts) -> bool:
        """Each seed can have images, and a split of the objects, of its own."""
        return True

    def read(self, spec: DataSpec, facts: SourceFacts, *, device: "torch.device", phase: Phase) -> "Splits":
        """See `Source`. All follows from the split seed: the objects of each part, and each image from its number."""
        from harness.data.made import made_split
        from harness.data.rendering import Objects, Renderer

        images, labels = _objects(*self._asked)
        number = np.bincount(labels, minlength=facts.classes)
        require(
            bool(number.min() >= len(PARTS)),
            f"data.{spec.kind}.objects is {self.made.objects!r}, where class {number.argmin()} (counted from 0) has "
            f"{counted(number.min(), 'object')}; it must have at least 3: for training, for validation and for test.",
        )
        counts = self._object_counts()
        objects = replace(spec, validation_size=counts["validation"], resplit=False)
        of_part = parted({"train": labels}, objects, tested=counts["test"])
        sizes = {"train": spec.size or facts.train_images, "validation": facts.validation_images}
        if phase == "confirm":
            sizes["test"] = facts.test_images
        found = dict[str, "AnySplit"]()
        for part, size in sizes.items():
            own = Objects.of(images[of_part[part]], labels[of_part[part]], device)
            found[part] = made_split(Renderer(self.made, own, key=derive(spec.split_seed, "made", part)), size)
        return found

    def outline(self, spec: DataSpec) -> Mapping[str, Any]:
        facts, counts = self.facts(), self._object_counts()
        told = {part: f"made of {counted(number, 'object')} that no other part has" for part, number in counts.items()}
        side = f"{facts.image_size}x{facts.image_size}"
        told["train"] = f"at most, {told['train']}"
        none = Duplicates(
            compared="the objects' parts", test_in_train=0, validation_in_train=0, relabelled=0, repeated=0
        )
        return {"origins": told, "sizes": {side: facts.images}, "distinct_sizes": 1, "duplicates": none}

    def names(self, spec: DataSpec) -> Mapping[str, Sequence[str]]:
        return {}

    @property
    def _asked(self) -> tuple[str, int]:
        """What objects are made of, and the largest side that they are shown at, pixels."""
        return self.made.objects, self.made.largest if isinstance(self.made, Scattered) else self.made.glyph

    @property
    def _objects_facts(self) -> SourceFacts:
        spec, source = _opened(*self._asked)
        return source.facts(spec.image_size, spec.channels)

    def _object_counts(self) -> dict[str, int]:
        """Objects of each part."""
        known = self._objects_facts
        test, held_out = (max(known.classes, round(share * known.images)) for share in (TESTED, VALIDATED))
        return {"train": known.images - test - held_out, "validation": held_out, "test": test}


def _opened(objects: str, most: int) -> tuple[DataSpec, Source]:
    """The source of objects; the cut-outs of a folder are read as squares on black."""
    from harness.data.sources import find

    spec = DataSpec(source=objects)
    if spec.kind == "imagefolder":
        spec = replace(spec, image_size=most, fit="pad", background=(0, 0, 0))
    return spec, find(spec)


@cache
def _objects(objects: str, most: int) -> Pair:
    """All objects, of every part, with a side of at most `most` pixels."""
    import torch

    from harness.data.survey import load

    spec, source = _opened(objects, most)
    if isinstance(source, ArraySource):
        pairs = [source.arrays(part) for part in ("train", "test")]
        images, labels = (np.concatenate(arrays) for arrays in zip(*filter(None, pairs), strict=True))
        return np.concatenate(list(resized(images, most))) if images.shape[-1] > most else images, labels
    data = load(spec, phase="confirm")
    read = [pair for part in (data.train, data.validation, data.test) for pair in part.chunks(1000)]
    images, labels = (torch.cat(tensors).numpy() for tensors in zip(*read, strict=True))
    return images, labels


def open_made(spec: DataSpec) -> ProceduralSource:
    """The source of a specification."""
    return ProceduralSource(spec)
