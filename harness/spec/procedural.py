"""Settings of the sources whose images are made, not read: each a task in which a model's bias fits or does not fit."""

from dataclasses import dataclass
from typing import Annotated

from harness.spec.checks import Count, Positive, Share, Within, check_types
from harness.spec.errors import InvalidInput, require

OBJECTS = ("digits", "fashion_mnist", "imagefolder:PATH")

FRAGMENT = 3  # side of a fragment of clutter, pixels

MARK = 2  # side of the cue, pixels

MOST_IMAGES = 10**9  # of a training part that is made; an unlimited training may take so many

TESTED, VALIDATED = 1 / 5, 1 / 10  # shares of the objects that only test and validation images are made of

Side = Annotated[int, Within(4, 1024)]
Turn = Annotated[float, Within(0, 180)]


def _check_objects(place: str, objects: str) -> None:
    kind, colon, path = objects.partition(":")
    if objects not in OBJECTS[:2] and not (kind == "imagefolder" and colon and path):
        raise InvalidInput(f"{place}.objects is {objects!r}. Valid: {', '.join(OBJECTS)}.")


@dataclass(frozen=True, kw_only=True)
class Scattered:
    """One object somewhere in the image, its class the label, among fragments of others, in noise.

    A network of convolutions knows from the start that an object is the same wherever it lies.
    """

    _key = "data.scattered"
    objects: str = "digits"  # one of OBJECTS: what is scattered; a folder of cut-outs, on black or transparent
    side: Side = 16  # of the images, pixels
    smallest: Positive = 8
    largest: Positive = 13
    """Side of an object, pixels, drawn evenly from this range (in sixteenths)."""
    turn: Turn = 20.0  # an object is turned by at most this many degrees, to either side
    clutter: Annotated[int, Within(0, 64)] = 2  # fragments of 3 x 3 pixels of other objects, pasted by maximum
    noise: Share = 0.1  # standard deviation of the normal noise of every pixel; 1 is the range from black to white
    test_images: Positive = 10_000

    def __post_init__(self) -> None:
        check_types(self)
        _check_objects(self._key, self.objects)

    def check(self) -> None:
        """Refuse objects that do not fit into the image; all fields are looked at together."""
        sizes = f"{self._key}.smallest is {self.smallest} and largest {self.largest}"
        require(self.smallest <= self.largest, f"{sizes}; the smallest size must not be above the largest.")
        require(
            self.largest <= self.side,
            f"{sizes}, and images have {self.side} pixels (data.scattered.side); an object must not be larger than the "
            f"image. Set data.scattered.largest to at most {self.side}, or a larger side.",
        )


@dataclass(frozen=True, kw_only=True)
class Cued:
    """Several objects side by side, and a mark below one of them: the class of that one is the label.

    What must be seen together lies `distance` pixels apart.
    """

    _key = "data.cued"
    objects: str = "digits"  # one of OBJECTS
    side: Side = 32  # of the images, pixels
    glyphs: Annotated[int, Within(2, 64)] = 3  # objects, each in the middle of its share of the width, but for `jitter`
    glyph: Positive = 8  # side of an object, pixels
    jitter: Count = 1  # each object is moved by at most this many pixels, across and down
    distance: Positive = 8
    """Pixels from the centre of the object that is meant down to the centre of the mark, a bright square of 2 x 2."""
    turn: Turn = 10.0  # degrees, to either side
    noise: Share = 0.1  # as `Scattered.noise`
    test_images: Positive = 10_000

    def __post_init__(self) -> None:
        check_types(self)
        _check_objects(self._key, self.objects)

    def check(self) -> None:
        """Refuse objects that overlap or do not fit, and a cue that overlaps them or lies outside."""
        cell, room = self.side // self.glyphs, self.glyph + 2 * self.jitter
        require(
            room <= cell,
            f"{self._key}: {self.glyphs} glyphs of {self.glyph} pixels, each moved by up to {self.jitter}, take {room} "
            f"pixels each, and a {self.side}-pixel image has {cell} for each. Lower glyphs, glyph or jitter.",
        )
        least, most = self.distances
        require(
            least <= self.distance <= most,
            f"{self._key}.distance is {self.distance}; it must be {least} to {most} for glyphs of {self.glyph} pixels, "
            f"a jitter of {self.jitter} and images of {self.side}: nearer, the cue overlaps glyphs; farther, it may "
            "lie outside the image.",
        )

    @property
    def distances(self) -> tuple[int, int]:
        """Least and greatest distance of the cue, which never overlaps a glyph and always lies in the image."""
        half = -(-self.glyph // 2)
        return half + 2 * self.jitter + MARK // 2, self.side - half - 2 * self.jitter - MARK // 2


Made = Scattered | Cued
"""How the images of a procedural source are made."""
