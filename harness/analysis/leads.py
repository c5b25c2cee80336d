"""Data against bias: a ResNet's lead over a vision transformer by training images, and where it ends."""

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.axis import Crossing, crossing, size_axis
from harness.analysis.curve import Curve
from harness.analysis.evidence import Evidence
from harness.analysis.scales import ratio_of_errors
from harness.spec import DataSpec, Estimate, ResNetSpec, ViTSpec
from harness.spec.formats import count, plain

AS_THEY_ARE = "as they are"

_NONE = Estimate(math.nan)


@dataclass(frozen=True, kw_only=True)
class Lead:
    """A ResNet's lead over a vision transformer, on two scales, at one number of images."""

    images: float
    accuracy: Estimate  # that of the ResNet less that of the vision transformer, a fraction
    ratio: Estimate  # error of the vision transformer over that of the ResNet
    n: int  # seeds that it rests on; 0 where no seed was repeated
    updates: int | None = None  # of each training; None where they differ between the two, or are not known
    limited: tuple[str, ...] = ()  # of `ResNet` and `ViT` those that their updates limit there, not their data


@dataclass(frozen=True, kw_only=True)
class Line:
    """The lead by the number of images, under one condition."""

    condition: str  # what is done to images: `as they are`, `patches permuted`, `pixels permuted`
    resnet: str
    vit: str
    leads: tuple[Lead, ...]  # ascending; without sizes at which nothing is known
    crossing: Estimate = _NONE  # images at which the other one overtakes; NaN where none is shown
    change: str = ""  # what becomes of the lead, where the two ends do not tell it: `the ViT overtakes at about ...`

    def finding(self, *, brief: bool = False) -> str:
        """Who overtakes, and where; where no one does, who leads at the two ends, and by how much.

        `the ResNet leads by 39 points with 1,000 images and by 0.6 with 1,024,000 (8 times the updates)`; `brief`,
        after a line of the same sizes, without these: `the ViT leads by 8.1 and by 5.5`.
        """
        if self.change:
            return self.change
        first, last = self.leads[0], self.leads[-1]
        (one, by), (other, at_last) = map(_led, (first, last))
        at = "" if brief else f" with {count(first.images)} images"
        then = "" if brief else f" with {count(last.images)}{self._updates_at_last}"
        points = "" if brief else " points"
        if one == other == "":
            return f"neither leads significantly{at or ' at first'}{' or' + then if then else ' or at last'}"
        if one == other:
            return f"the {one} leads by {by}{points}{at} and by {at_last}{then}"
        start = f"the {one} leads by {by}{points}" if one else "neither leads significantly"
        end = f"the {other} by {at_last}{'' if one else points}" if other else "neither significantly"
        return f"{start}, then {end}" if brief else f"{start}{at}, {end}{then}"

    @property
    def in_short(self) -> str:
        """The finding for a title: `the ResNet's lead goes from 39 points to 0.6`, `the ViT overtakes ...`."""
        (one, by), (other, at_last) = map(_led, (self.leads[0], self.leads[-1]))
        if math.isfinite(self.crossing.value) and self.change:
            return f"the {other} overtakes at about {about(self.crossing.value)}" if other else self.change
        if self.change or one != other or not one:
            return self.finding(brief=True)
        return f"the {one}'s lead goes from {by} points to {at_last}"

    @property
    def ends(self) -> tuple[float, float, float]:
        """The least and the most images, and how many times the updates of the first were made with the last."""
        first, last = self.leads[0], self.leads[-1]
        times = last.updates / first.updates if first.updates and last.updates else 1.0
        return first.images, last.images, times

    @property
    def _updates_at_last(self) -> str:
        """` (8 times the updates)`, where the last size was trained with other numbers of them than the first."""
        *_, times = self.ends
        told = f"{times:.0f}" if times >= 9.95 else plain(times, 2)
        return "" if times == 1 else f" ({told} times the updates)"


def condition_of(data: DataSpec) -> str:
    """What is done to images, in words."""
    if not data.moved_share:
        return AS_THEY_ARE
    what = "pixels" if data.moved_patch == 1 else "patches"
    share = {1: "", 0.5: "half the "}.get(data.moved_share, f"{100 * data.moved_share:g} % of ")
    return f"{share}{what} permuted"


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
            updates = {
                evidence.study.recipe_of(evidence.study.arm(arm)).resolved_updates(size) for arm in arms.values()
            }
            same = updates.pop() if len(updates) == 1 else None
            leads.append(Lead(images=images, accuracy=lead, ratio=ratio, n=lead.n, limited=limited, updates=same))
    return Line(
        condition=condition,
        resnet=resnet,
        vit=vit,
        leads=tuple(leads),
        crossing=Estimate(found.place, found.ci_low, found.ci_high),
        change=_change(found),
    )


def _change(found: Crossing) -> str:
    """What becomes of the lead over all sizes, in words; empty where no change is shown."""
    if found.trouble:
        return f"nothing can be judged ({textwrap.shorten(found.trouble, 90, placeholder=' …')})"
    if found.shown:
        return f"the {'ViT' if found.leads[-1] > 0 else 'ResNet'} overtakes {_where(found)}"
    return "the lead changes more than once" if found.changes > 1 else ""


def _led(lead: Lead) -> tuple[str, str]:
    """Who leads by the interval, empty where it holds zero, and by how many points."""
    found = lead.accuracy
    who = "ResNet" if found.ci_low > 0 else "ViT" if found.ci_high < 0 else ""
    by = 100 * abs(found.value)
    return who, f"{by:.0f}" if by >= 9.95 else f"{by:.1f}"


def _where(found: Crossing) -> str:
    low, high = (about(end) if math.isfinite(end) else "beyond" for end in (found.ci_low, found.ci_high))
    if math.isnan(found.place):
        return f"between {low} and {high} images"
    return f"at about {about(found.place)} images [{low}, {high}]"


def about(images: float, digits: int = 2) -> str:
    """A number of images with a few significant digits: `3,100`."""
    return count(float(f"{images:.{digits}g}"))


def findings(lines: Sequence[Line]) -> tuple[str, ...]:
    """The finding of each line, brief after one of the same sizes."""
    found, ends = list[str](), None
    for line in lines:
        found.append(line.finding(brief=line.ends == ends))
        ends = ends if line.change else line.ends
    return tuple(found)


def clauses(lines: Sequence[Line]) -> tuple[str, ...]:
    """The same in short: `from 500 to 8,000 images: on images as they are the ...`, `with patches permuted ...`."""
    told = [f"{'on images' if x.condition == AS_THEY_ARE else 'with'} {x.condition} {x.in_short}" for x in lines]
    ends = dict.fromkeys(line.ends[:2] for line in lines)
    if len(ends) == 1:
        told[0] = "from {} to {} images: {}".format(*map(count, next(iter(ends))), told[0])
    return tuple(told)


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
        change=f"cross at about {about(zeros[0], 3)} images seen" if len(zeros) == 1 else "do not cross once",
    )
