"""Data against bias: a ResNet's lead over a vision transformer by training images, and where it ends."""

import io
import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from harness.analysis.axis import Crossing, crossing, size_axis
from harness.analysis.curve import Curve
from harness.analysis.evidence import Evidence
from harness.analysis.scales import ratio_of_errors
from harness.analysis.wording import listed
from harness.spec import DataSpec, Estimate, ResNetSpec, ViTSpec
from harness.spec.formats import count

AS_THEY_ARE = "as they are"

_NONE = Estimate(math.nan)


@dataclass(frozen=True, kw_only=True)
class Lead:
    """A ResNet's lead over a vision transformer, on two scales, at one number of images."""

    images: float
    accuracy: Estimate  # that of the ResNet less that of the vision transformer, a fraction
    ratio: Estimate  # error of the vision transformer over that of the ResNet
    n: int  # seeds that it rests on; 0 where no seed was repeated
    limited: tuple[str, ...] = ()  # of `ResNet` and `ViT` those that their updates limit there, not their data


@dataclass(frozen=True, kw_only=True)
class Line:
    """The lead by the number of images, under one condition."""

    condition: str  # what is done to images: `as they are`, `patches moved`, `pixels moved`
    resnet: str
    vit: str
    leads: tuple[Lead, ...]  # ascending; without sizes at which nothing is known
    crossing: Estimate = _NONE  # images at which the other one overtakes; NaN where none is shown
    finding: str  # `the ViT overtakes at about 3,000 images [2,100, 4,300]`


def condition_of(data: DataSpec) -> str:
    """What is done to images, in words."""
    if not data.moved_share:
        return AS_THEY_ARE
    what = "pixels" if data.moved_patch == 1 else "patches"
    return f"{what} moved" if data.moved_share == 1 else f"{100 * data.moved_share:g} % of {what} moved"


def lines_of(evidence: Evidence) -> tuple[Line, ...]:
    """A line per condition under which a study compares a vision transformer with a ResNet over its training sizes.

    Where it compares several under one condition, the first of them.
    """
    study, found = evidence.study, dict[str, Line]()
    for name, other in evidence.against.items() if study.train_sizes else ():
        arm, reference = study.arm(name), study.arm(other)
        condition = condition_of(study.data_of(arm))
        fits = isinstance(arm.model, ViTSpec) and isinstance(reference.model, ResNetSpec)
        if fits and condition not in found and condition == condition_of(study.data_of(reference)):
            found[condition] = _line(evidence, condition, other, name)
    return tuple(line for line in found.values() if line.leads)


def _line(evidence: Evidence, condition: str, resnet: str, vit: str) -> Line:
    axis = size_axis(evidence.study, vit, resnet)
    ratios, found, leads = ratio_of_errors(evidence, axis).at, crossing(evidence, axis), []
    for images, ratio, size in zip(axis.points, ratios, evidence.study.train_sizes, strict=True):
        lead = evidence.difference(resnet, vit, size)
        if lead.n:
            arms = {"ResNet": resnet, "ViT": vit}
            limited = tuple(who for who, arm in arms.items() if evidence.limit((arm, size)).limited_by_updates)
            leads.append(Lead(images=images, accuracy=lead, ratio=ratio, n=lead.n, limited=limited))
    return Line(
        condition=condition,
        resnet=resnet,
        vit=vit,
        leads=tuple(leads),
        crossing=Estimate(found.place, found.ci_low, found.ci_high),
        finding=_finding(found),
    )


def _finding(found: Crossing) -> str:
    """Who leads, and where that changes, in words: by the crossing's own rule where one is shown, else by the sizes."""
    if found.trouble:
        return f"nothing can be judged ({textwrap.shorten(found.trouble, 90, placeholder=' …')})"
    if found.shown:
        return f"the {'ViT' if found.leads[-1] > 0 else 'ResNet'} overtakes {_where(found)}"
    if found.changes > 1:
        return "the lead changes more than once"
    signs = Counter(found.signs)
    counts = Counter({"ResNet": signs[-1], "ViT": signs[1]})
    if leader := next((who for who, times in counts.items() if times == len(found.signs)), None):
        return f"the {leader} leads at every size"
    if not any(counts.values()):
        return "neither leads significantly at any size"
    (one, most), (other, least) = counts.most_common()
    if not least and all(found.signs[:most]):
        return f"the {one} leads up to {count(found.axis.points[most - 1])} images, neither significantly beyond"
    return f"the {one} leads at {most} of {len(found.signs)} sizes, the {other} at {least or 'none'}"


def _where(found: Crossing) -> str:
    low, high = (about(end) if math.isfinite(end) else "beyond" for end in (found.ci_low, found.ci_high))
    if math.isnan(found.place):
        return f"between {low} and {high} images"
    return f"at about {about(found.place)} images [{low}, {high}]"


def about(images: float, digits: int = 2) -> str:
    """A number of images with a few significant digits: `3,100`."""
    return count(float(f"{images:.{digits}g}"))


def told(lines: Sequence[Line]) -> str:
    """The finding of a set of lines: `on images as they are the ResNet leads at every size; with patches moved ...`."""
    clauses = []
    for finding, alike in groupby(lines, key=lambda line: line.finding):
        conditions = [f"{'on images' if x.condition == AS_THEY_ARE else 'with'} {x.condition}" for x in alike]
        clauses.append(f"{listed(conditions)} {finding}")
    return "; ".join(clauses)


def published_line(table: str) -> Line:
    """The same from published learning curves, one run per model: without intervals, and read between the points.

    `table`: CSV with columns model (of two, the ResNet first), images_seen, error. The curves are monotone cubics over
    the logarithm of the images seen; a lead stands at each point of either within the range that both have.
    """
    models = {str(name): rows for name, rows in pd.read_csv(io.StringIO(table)).groupby("model", sort=False)}
    resnet, vit = models
    points = {name: np.log(rows["images_seen"].to_numpy(dtype=np.float64)) for name, rows in models.items()}
    curves = {name: Curve(points[name], rows["error"].to_numpy(dtype=np.float64)) for name, rows in models.items()}
    low, high = (end(own[at] for own in points.values()) for end, at in ((max, 0), (min, -1)))
    at = np.array([x for x in np.union1d(*points.values()) if low <= x <= high])
    errors = {name: np.array([curve.at(x) for x in at]) for name, curve in curves.items()}
    leads = errors[vit] - errors[resnet]
    zeros = [math.exp(x) for x in Curve(at, leads).zeros()]
    return Line(
        condition=AS_THEY_ARE,
        resnet=resnet,
        vit=vit,
        leads=tuple(
            Lead(images=math.exp(x), accuracy=Estimate(lead), ratio=Estimate(ratio), n=0)
            for x, lead, ratio in zip(at.tolist(), leads.tolist(), (errors[vit] / errors[resnet]).tolist(), strict=True)
        ),
        crossing=Estimate(zeros[0]) if len(zeros) == 1 else _NONE,
        finding=f"cross at about {about(zeros[0], 3)} images seen" if len(zeros) == 1 else "do not cross once",
    )
