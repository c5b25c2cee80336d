"""Differences between series over the factor's levels, and as a map of levels and training sizes."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from harness.analysis.axis import is_geometric
from harness.report.figures.canvas import Canvas, Drawing, from_to
from harness.report.figures.marks_on_axes import Places, asides, difference_note, draw_line
from harness.report.style import INK, LABEL_SIZE, Mark, ordered_marks
from harness.report.view import Row, Size, View, difference, interval_of, rows_of
from harness.spec.formats import MINUS, count, counted, number, plain, points
from harness.spec.palette import family_of

_OF_MAP = ["arm", "baseline", "level", "train_size", "difference", "ci_low", "ci_high"]


@dataclass(frozen=True, eq=False)
class Gap:
    """A series of arms against the arms that they are compared with: another series, or the baseline."""

    series: str
    other: str
    rows: list[Row]  # of `findings.comparisons`, each with its `level`, by training size and increasing level
    crossings: list[Row]  # of `findings.crossovers` along the factor, one per training size

    @property
    def name(self) -> str:
        return f"{self.series} {MINUS} {self.other}"

    @property
    def sizes(self) -> list[int]:
        return sorted({int(row["train_size"]) for row in self.rows})

    def at(self, size: Size) -> "Gap":
        """What there is at one training size; all where `size` is None."""
        rows, crossings = (
            [row for row in part if size in (None, row["train_size"])] for part in (self.rows, self.crossings)
        )
        return Gap(self.series, self.other, rows, crossings)


def gaps_of(view: View) -> list[Gap]:
    """Each series against another one, or an arm outside it, where they are compared at two levels or more."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in view.comparisons():
        arm, other = view.study.arm(row["arm"]), view.study.arm(row["baseline"])
        if arm.series is not None and arm.series != other.series:
            found[arm.series, other.series or other.name].append({**row, "level": arm.level})
    crossed = view.along(view.findings.crossovers, factor=True)
    gaps = []
    for pair, rows in found.items():
        rows.sort(key=lambda row: (row["train_size"], row["level"]))
        if len({row["level"] for row in rows}) > 1:
            gaps.append(Gap(*pair, rows, [row for row in crossed if (row["arm"], row["baseline"]) == pair]))
    return gaps


def gap_by_level(view: View) -> Drawing | None:
    """Difference of each series to its partner by level, with the zero line and where it is crossed.

    A line per pair of series; with several training sizes a line per size, and a panel per pair.
    """
    if not (found := gaps_of(view)):
        return None
    family = family_of(view.study.series[found[0].series][0].model)
    sizes = dict(zip(view.sizes, ordered_marks(len(view.sizes), family), strict=True))
    panels = {gap.name: [(gap.at(size), look) for size, look in sizes.items()] for gap in found}
    if not sizes:
        panels = {"": [(gap, view.looks[gap.series]) for gap in found]}
    note = f"{difference_note(view.level, view.varied)}; above zero: the first named is better."
    if any(number(row["ci_low"]) is not None for gap in found for row in gap.crossings):
        note += f" Shaded on the zero line: {view.level} interval of a crossing, or the two levels that bracket it."
    canvas = Canvas(
        f"Gap between series by {view.factor}",
        note,
        finding=view.finding,
        height=3.4 if len(panels) == 1 else 2.3,
        panels=list(panels),
        columns=1,
    )
    canvas.key |= {counted(size, "image"): look for size, look in sizes.items()}
    levels = sorted({float(row["level"]) for gap in found for row in gap.rows})
    places = Places(levels, is_geometric(levels))
    for axes, lines in zip(canvas.panels, panels.values(), strict=True):
        axes.axhline(0, color=INK, linewidth=1)
        for (gap, mark), aside in zip(lines, asides(len(lines)), strict=True):
            points, heights = [row["level"] for row in gap.rows], [100 * row["difference"] for row in gap.rows]
            curve = places.curve(points, heights, aside, log=is_geometric(points))
            xs, seeds = [places.at(x, aside) for x in points], view.seed_differences
            draw_line(axes, xs, gap.rows, mark, of="difference", curve=curve, seeds=seeds)
            for row in gap.crossings:
                _draw_crossing(axes, row, mark, partial(places.at, aside=aside))
            if not sizes:
                canvas.key[gap.name] = mark
        places.set_on(axes)
    told = []
    for gap in [gap.at(view.largest) if gap.at(view.largest).rows else gap for gap in found]:
        told.append(_told(gap))
        told += [str(row["statement"]).rstrip(".") for row in gap.crossings]
    return canvas.finish(view.levels, "difference (points)", told)


def _told(gap: Gap) -> str:
    return from_to(gap.name, [f"{difference(row)} at {plain(row['level'])}" for row in gap.rows])


def _draw_crossing(axes: Axes, row: Row, mark: Mark, at: Callable[[float], float]) -> None:
    """The interval as a bar on the zero line, the crossing as a stroke across it where it is one point.

    `at`: where a level of its line stands.
    """
    if interval := interval_of(row):
        axes.plot(
            list(map(at, interval)), [0, 0], color=mark.colour, linewidth=6, alpha=0.4, solid_capstyle="butt", zorder=2
        )
    if (place := number(row["crossing"])) is not None:
        axes.plot([at(place)], [0], color=mark.colour, marker="|", markersize=14, markeredgewidth=1.6, zorder=3)


def difference_map(view: View) -> Drawing | None:
    """Heat map of the difference between two series, training size by level, with where it changes sign."""
    found = [gap for gap in gaps_of(view) if gap.other in view.study.series and len(gap.sizes) > 1]
    if not found:
        return None
    frontiers = [_frontier(gap, view) for gap in found]
    canvas = Canvas(
        f"Difference by {view.factor} and training images",
        "Difference in points of test accuracy; blue: the first named is better, red: the second. "
        f"*: the {view.level} interval excludes zero."
        + f" Strokes: where the difference changes sign; upright: its {view.level} interval."
        * any(frontiers),
        finding=view.finding,
        height=max(1.2, 0.42 * max(len(gap.sizes) for gap in found)) + 0.5,
        panels=[gap.name for gap in found],
        columns=1,
        share="x",
    )
    largest = max(abs(100 * row["difference"]) for gap in found for row in gap.rows) or 1
    for axes, gap, frontier in zip(canvas.panels, found, frontiers, strict=True):
        _draw_map(axes, gap, frontier, largest)
    told = [f"with {counted(n, 'image')} {_told(gap.at(n))}" for gap in found for n in (gap.sizes[0], gap.sizes[-1])]
    told += [str(row["statement"]).rstrip(".") for frontier in frontiers for row in frontier]
    data = pd.DataFrame([row for gap in found for row in gap.rows])[_OF_MAP]
    return canvas.finish(view.levels, "training images", told, data)


def _frontier(gap: Gap, view: View) -> list[Row]:
    """Where the two are level, by increasing level; only where that lies within the measured sizes."""
    rows, shown = rows_of(view.findings.frontier, known="train_size"), {row["level"] for row in gap.rows}
    found = [row for row in rows if (row["arm"], row["baseline"]) == (gap.series, gap.other) and row["level"] in shown]
    return sorted(found, key=lambda row: float(row["level"]))


def _draw_map(axes: Axes, gap: Gap, frontier: list[Row], largest: float) -> None:
    """Cells without a result are blank. A stroke at the right of a level's column is where the sign changes."""
    rows = pd.DataFrame(list(gap.rows)).assign(told=[_starred(row) for row in gap.rows])
    values, texts = (
        rows.pivot_table(index="train_size", columns="level", values=name, aggfunc="first")
        for name in ("difference", "told")
    )
    sizes, levels = [int(size) for size in values.index], [float(level) for level in values.columns]
    sns.heatmap(
        100 * values.astype(float),
        ax=axes,
        annot=texts.fillna("").to_numpy(),
        fmt="",
        annot_kws={"size": LABEL_SIZE},
        cmap="RdBu",  # told apart by colour-blind readers; its dark ends would hide the numbers
        vmin=-1.6 * largest,
        vmax=1.6 * largest,
        cbar=False,
        linewidths=0.8,
        xticklabels=list(map(plain, levels)),
        yticklabels=list(map(count, sizes)),
    )
    axes.invert_yaxis()
    axes.tick_params(length=0, rotation=0)
    axes.set(xlabel="", ylabel="")
    for row in frontier:
        ends = [row[key] for key in ("ci_low", "train_size", "ci_high")]
        low, middle, high = np.interp(np.log(ends), np.log(sizes), np.arange(len(sizes)) + 0.5)
        x = levels.index(row["level"]) + 0.88
        axes.errorbar(
            x, middle, [[middle - low], [high - middle]], fmt="_", color=INK, markersize=12, markeredgewidth=2
        )


def _starred(row: Row) -> str:
    low, high = interval_of(row) or (0, 0)
    return points(row["difference"], 1) + "*" * (low > 0 or high < 0)
