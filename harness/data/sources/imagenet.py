"""ImageNet-like folders, `train/CLASS/**` and `val/CLASS/**`: cropped at random while they are trained on.

`val/`, the official validation part, which papers report, is what is tested on. Without a folder, `imagenet` can be
planned and costed, not trained on.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from harness.data.listing import Walk
from harness.data.photograph_source import PhotographSource
from harness.data.photographs import Header, look
from harness.data.source import Source
from harness.data.sources.imagefolder import parted_folder
from harness.spec import IMAGENET, DataSpec, InvalidInput, SourceFacts
from harness.spec.errors import require

if TYPE_CHECKING:
    from harness.data.duplicates import Place

MOST_LOOKED_AT = 1000
"""Files that are opened for their sizes and modes, spread evenly over all."""


def open_source(kind: str, path: str) -> Source:
    """List the folder. Raises `InvalidInput` where it is not such a folder."""
    if not path:
        return Unnamed()
    root = Path(path).expanduser()
    walk = Walk(root)
    folders = walk.parts() if root.is_dir() else {}
    for part, name in (("train", "train"), ("validation", "val")):
        require(
            part in folders,
            f"There is no folder {root / name} (data.source={kind}:{path}). It must hold train/CLASS/*.JPEG and "
            "val/CLASS/*.JPEG.",
        )
    tested = {"train": folders["train"], "test": folders["validation"]}
    return parted_folder(ImageNet, kind, walk, tested)


class ImageNet(PhotographSource):
    """A folder of so many files that none is read for its identity, and few for its facts."""

    crops: ClassVar[bool] = True

    def facts(self, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
        """At the image size of papers; where `channels` is None, headers are opened up to the first in colour."""
        if channels is None:
            every = range(len(self.files))
            channels = 1 if all(look(picture).is_grey for at in every for picture in self.pictures([at])) else 3
        found = super().facts(image_size or IMAGENET.image_size, channels)
        return replace(found, validation_images=min(IMAGENET.validation_images, found.validation_images))

    def content_hash(self) -> str:
        """SHA-256 over the path and size of every file."""
        return self._digest((name, str((self.root / name).stat().st_size)) for name, _ in self.files)

    def headers(self) -> list[Header]:
        every = range(0, len(self.files), -(-len(self.files) // MOST_LOOKED_AT))
        return [look(picture) for picture in self.pictures(every)]


@dataclass(frozen=True)
class Unnamed:
    """ImageNet without its folder: known, not there."""

    photographs: ClassVar[bool] = True

    def facts(self, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
        del channels
        return replace(IMAGENET, image_size=image_size or IMAGENET.image_size)

    def content_hash(self) -> str:
        return hashlib.sha256(b"imagenet").hexdigest()

    def read(self, *_: Any, **__: Any) -> NoReturn:
        raise InvalidInput("data.source is 'imagenet'; to train on it, name its folder: data.source=imagenet:PATH.")

    def outline(self, spec: DataSpec) -> Mapping[str, Any]:
        del spec
        return {"origins": {"validation": "held out of the training part"}}

    def places(self, *_: Any) -> "list[Place]":
        return []
