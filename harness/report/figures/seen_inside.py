"""What was seen inside the best model of each arm: attention, filters, positions, similarity, reach, robustness."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from harness.analysis.attention import change_of_distance
from harness.records.insides import AttentionAtSize, InsideArm
from harness.report.figures.canvas import Canvas, Drawing
from harness.report.figures.marks_on_axes import Places
from harness.report.style import INK, LABEL_SIZE
from harness.report.view import View
from harness.spec.formats import MINUS, count, counted, percent, plain, with_interval

_MOST_ARMS = 6  # with a panel each
_MOST_CELLS = 48  # of a matrix whose numbers are written

Array = npt.NDArray[np.float64]


def attention_distance(view: View) -> Drawing | None:
    """How far each head attends, by block."""
    found = {seen.arm: seen.attention for seen in _spread(view, "attention") if seen.attention}
    if not found:
        return None
    canvas = Canvas(
        "Attention distance by block",
        "Dots: heads. Lines: their mean. Dashed: attention that is the same everywhere. Means over test images.",
        height=2.1 if len(found) > 1 else 3.2,
        panels=list(found) if len(found) > 1 else ("",),
    )
    told = []
    for axes, (arm, seen) in zip(canvas.panels, found.items(), strict=True):
        look, heads = view.looks[arm], np.array(seen.distances)
        blocks = np.arange(1, len(heads) + 1)
        axes.plot(np.repeat(blocks, heads.shape[1]), heads.ravel(), markersize=4, alpha=0.6, **look.point)
        axes.plot(blocks, heads.mean(1), **look.line)
        axes.axhline(seen.even, color=INK, linewidth=1, linestyle="--")
        axes.set_ylim(0, 1.1 * max(heads.max(), seen.even))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        first, last = (_range(heads[at]) for at in (0, -1))
        later = f", in block {len(heads)} over {last} px" * (len(heads) > 1)
        told.append(f"{arm}, in block 1 heads attend over {first} px{later} (evenly: {seen.even:.1f})")
    return canvas.finish("block", "distance (pixels)", told)


def attention_by_size(view: View) -> Drawing | None:
    """How far the heads in the lower half of the blocks attend, by training images, in the best model of each size."""
    found = {seen.arm: seen for seen in _spread(view, "by_size") if seen.attention and len(seen.by_size or ()) > 1}
    if not found:
        return None
    canvas = Canvas(
        "Attention distance by training images",
        "The lower half of the blocks, in the best model of each size. Dots: heads. Lines: their mean. Dashed: "
        "attention that is the same everywhere. Means over test images.",
        height=2.1 if len(found) > 1 else 3.2,
        panels=list(found) if len(found) > 1 else ("",),
    )
    told = []
    for axes, (arm, seen) in zip(canvas.panels, found.items(), strict=True):
        look, at_sizes, even = view.looks[arm], seen.by_size or (), seen.attention.even if seen.attention else math.nan
        for at in at_sizes:
            axes.plot([at.train_size] * len(at.lower), at.lower, markersize=4, alpha=0.6, **look.point)
        axes.plot([at.train_size for at in at_sizes], [fmean(at.lower) for at in at_sizes], **look.line)
        axes.axhline(even, color=INK, linewidth=1, linestyle="--")
        axes.set_ylim(0, 1.1 * max(even, *(far for at in at_sizes for far in at.lower)))
        Places([float(at.train_size) for at in at_sizes], geometric=True).set_on(axes, count)
        told.append(_change_told(arm, at_sizes[0], at_sizes[-1], even))
    return canvas.finish("training images", "distance (pixels)", told)


def _change_told(arm: str, few: AttentionAtSize, many: AttentionAtSize, even: float) -> str:
    """`ViT, more locally with more data: 8.1 px at 1,000 and 6.0 px at 128,000 images (...)`."""
    change = change_of_distance(few, many)
    what = "no clear change with more data"
    if change.ci_low > 0 or change.ci_high < 0:
        what = f"{'more' if change.value < 0 else 'less'} locally with more data"
    ends = " and ".join(f"{fmean(at.lower):.1f} px at {count(at.train_size)} images" for at in (few, many))
    interval = with_interval(*(f"{number:.1f}".replace("-", MINUS) for number in vars(change).values()))
    return f"{arm}, {what}: {ends} (change {interval} px over heads; evenly: {even:.1f})"


def attention_rollout(view: View) -> Drawing | None:
    """What reaches the head, by patch, of some test images."""
    found = {seen.arm: seen.attention for seen in _spread(view, "attention", 4) if seen.attention}
    if not found:
        return None
    most = min(2, *(len(seen.images) for seen in found.values()))
    canvas = Canvas(
        "Attention rollout",
        "Test images, each with what of it reaches the head through all blocks (bright: most).",
        height=1.5,
        panels=[arm if not place else "" for arm in found for place in range(2 * most)],
        columns=2 * most,
        share="x",
    )
    told, panels = [], iter(canvas.panels)
    for arm, seen in found.items():
        for image, flow in zip(seen.images[:most], seen.rollout[:most], strict=True):
            pixels = np.array(image) / 255
            _show(next(panels), pixels if pixels.shape[2] == 3 else pixels[:, :, 0], cmap="gray", vmin=0, vmax=1)
            _show(next(panels), np.array(flow), cmap="viridis", vmin=0)
        half = percent(seen.half_share, 0)
        told.append(f"{arm}, half of what reaches the head comes from {half} of the patches")
    return canvas.finish("", "", told)


def embedding_filters(view: View) -> Drawing | None:
    """The first principal components of the filters that embed patches."""
    found = {seen.arm: seen.filters for seen in _spread(view, "filters") if seen.filters}
    if not found:
        return None
    canvas = _images(
        "Filters of the patch embedding",
        "First principal components, the largest at the top left; grey images: blue above zero, red below.",
        list(found),
    )
    told = []
    for axes, (arm, seen) in zip(canvas.panels, found.items(), strict=True):
        parts = np.array(seen.components)  # (k, C, p, p)
        parts = parts / np.abs(parts).max(axis=(1, 2, 3), keepdims=True)
        if parts.shape[1] == 3:
            _show(axes, _mosaic(list((parts.transpose(0, 2, 3, 1) + 1) / 2)))
        else:
            _show(axes, _mosaic(list(parts[:, 0])), cmap="RdBu", vmin=-1, vmax=1)
        first = min(4, len(parts))
        share = percent(sum(seen.shares[:first]), 0)
        told.append(f"{arm}, the first {counted(first, 'component')} of the filters hold {share} of their variance")
    return canvas.finish("", "", told)


def position_similarity(view: View) -> Drawing | None:
    """Cosines between the position embedding of a patch and those of all patches, for patches in a grid."""
    found = {seen.arm: seen.positions for seen in _spread(view, "positions") if seen.positions}
    if not found:
        return None
    canvas = _images(
        "Similarity of position embeddings",
        f"A tile per patch, where the patch lies: its cosine to every patch. Blue: 1; white: 0; red: {MINUS}1.",
        list(found),
    )
    told = []
    for axes, (arm, seen) in zip(canvas.panels, found.items(), strict=True):
        maps = np.array(seen.maps)
        _show(axes, _mosaic(list(maps.reshape(-1, *maps.shape[2:]))), cmap="RdBu", vmin=-1, vmax=1)
        kinds = {"side by side": seen.beside, "in one row or column": seen.in_line, "elsewhere": seen.elsewhere}
        means = [f"{plain(value, 2)} {kind}" for kind, value in kinds.items() if value is not None]
        told.append(f"{arm}, mean cosine {', '.join(means)}")
    return canvas.finish("", "", told)


def block_similarity(view: View) -> Drawing | None:
    """CKA of the blocks of vision transformers with those of a ResNet."""
    found = {seen.arm: seen.similarity for seen in _spread(view, "similarity") if seen.similarity}
    if not found:
        return None
    (other, *_) = (seen.other for seen in found.values())
    canvas = Canvas(
        f"Similarity of blocks to those of {other}",
        "CKA over test images. 1: the same but for a rotation and a factor; 0: unrelated.",
        height=2.3,
        panels=list(found) if len(found) > 1 else ("",),
        share="x",
    )
    told = []
    for axes, (arm, seen) in zip(canvas.panels, found.items(), strict=True):
        values = np.array(seen.cka)
        blocks, others = values.shape
        axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto", origin="lower", interpolation="nearest")
        axes.grid(visible=False)
        axes.set_xticks(range(others), [count(at + 1) for at in range(others)])
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_yticks(range(0, blocks, -(-blocks // 6)), [count(at + 1) for at in range(0, blocks, -(-blocks // 6))])
        for row, column in np.ndindex(*values.shape) if values.size <= _MOST_CELLS else ():
            value = values[row, column]
            colour = INK if value > 0.6 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", size=LABEL_SIZE - 1, color=colour)
        ends = dict.fromkeys((0, blocks - 1))
        most = [f"block {at + 1} is most like block {values[at].argmax() + 1} ({values[at].max():.2f})" for at in ends]
        told.append(f"{arm}, {', '.join(most)}")
    return canvas.finish(f"block of {other}", "block", told)


def receptive_field(view: View) -> Drawing | None:
    """The gradient of the output in the middle of the last block by pixel."""
    found = _spread(view, "field")
    if not found:
        return None
    canvas = _images(
        "Effective receptive field",
        "Size of the gradient of the last block's output in the middle (bright: largest), over test images. "
        "Squares hold half of it.",
        [seen.arm for seen in found],
    )
    told = []
    for axes, seen in zip(canvas.panels, found, strict=True):
        _show(axes, np.array(seen.field), cmap="magma", vmin=0, vmax=1)
        low, width = (seen.middle + 0.5 - seen.half_side / 2) / seen.side, seen.half_side / seen.side
        square = Rectangle((low, low), width, width, fill=False, color="white", linewidth=1.2)
        axes.add_patch(square)
        told.append(f"{seen.arm}, half of it within {plain(seen.half_side)} of {seen.side} px")
    return canvas.finish("", "", told)


def accuracy_shuffled(view: View) -> Drawing | None:
    """Accuracy on test images whose patches are in random order."""
    note = "Patches of each image in random order, the same for all arms; 1: images as they are."
    canvas, told = Canvas("Test images with shuffled patches", note), []
    for seen in view.insides:
        (_, whole), (most, least) = seen.shuffled[0], seen.shuffled[-1]
        _draw_accuracies(canvas, view, seen, seen.shuffled)
        told.append(f"{seen.arm} {percent(whole, 1)}, with {most} x {most} patches shuffled {percent(least, 1)}")
    sides = sorted({float(side) for seen in view.insides for side, _ in seen.shuffled})
    Places(sides or [1.0], geometric=True).set_on(canvas.axes)
    return canvas.finish("patches per side", "test accuracy (%)", told) if told else None


def accuracy_blackened(view: View) -> Drawing | None:
    """Accuracy on test images of which a share is black."""
    sides = sorted({seen.black_side for seen in view.insides})
    note = f"Patches of {' or '.join(map(count, sides))} px, drawn at random, the same for all arms."
    canvas, told = Canvas("Test images with black patches", note), []
    for seen in view.insides:
        rows = [(100 * share, accuracy) for share, accuracy in seen.blackened]
        _draw_accuracies(canvas, view, seen, rows)
        share, accuracy = rows[len(rows) // 2]
        told.append(f"{seen.arm} {percent(rows[0][1], 1)}, with {plain(share)}% black {percent(accuracy, 1)}")
    return canvas.finish("share of the image that is black (%)", "test accuracy (%)", told) if told else None


def _draw_accuracies(canvas: Canvas, view: View, seen: InsideArm, rows: Sequence[tuple[float, float]]) -> None:
    look, (xs, ys) = view.looks[seen.arm], zip(*rows, strict=True)
    canvas.axes.plot(xs, [100 * y for y in ys], marker=look.marker, markersize=4, **look.line)
    canvas.key[view.named(seen.arm)] = look


def _spread(view: View, part: str, most: int = _MOST_ARMS) -> list[InsideArm]:
    """At most `most` of the models in which a part was seen, with both ends."""
    found = [seen for seen in view.insides if getattr(seen, part)]
    return [found[at] for at in sorted({round(at) for at in np.linspace(0, len(found) - 1, most)})] if found else []


def _images(title: str, note: str, arms: list[str]) -> Canvas:
    """A canvas with an image per arm."""
    return Canvas(title, note, height=2.0, panels=arms, columns=3, share="x")


def _show(axes: Axes, image: Array, **how: Any) -> None:
    """An image without ticks, from 0 to 1 on both axes whatever its size."""
    axes.imshow(image, extent=(0, 1, 1, 0), interpolation="nearest", **how)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(bottom=False, left=False, labelbottom=False, labelleft=False)


def _mosaic(tiles: list[Array]) -> Array:
    """Tiles (h, w) or (h, w, 3) side by side in rows, parted by lines that show nothing."""
    across = math.ceil(math.sqrt(len(tiles)))
    tall, wide, *colours = tiles[0].shape
    gap = max(1, tall // 8)
    whole = np.full((-(-len(tiles) // across) * (tall + gap) - gap, across * (wide + gap) - gap, *colours), np.nan)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, across)
        top, left = row * (tall + gap), column * (wide + gap)
        whole[top : top + tall, left : left + wide] = tile
    return np.nan_to_num(whole, nan=1.0) if colours else whole


def _range(values: Array) -> str:
    """`3.1 to 9.8`, or `3.1` of one."""
    return " to ".join(dict.fromkeys(f"{value:.1f}" for value in (values.min(), values.max())))
