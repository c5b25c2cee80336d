"""What a study does to its images, shown on one of them."""

from harness.report.figures.canvas import WIDTH, Canvas, Drawing, wrap
from harness.report.style import LABEL_SIZE
from harness.report.view import View

_IN_A_ROW = 6
_SIDE, _LINE = 1.15, 0.17  # most of an image's side, and of a line below it, inches


def changed_images(view: View) -> Drawing | None:
    """One image as it is and as each intervention of the study changes it, or one with each distance of the cue."""
    samples = view.records.samples
    if len(samples) < 2:
        return None
    columns = min(_IN_A_ROW, len(samples))
    room = WIDTH / columns - 0.12
    names = {name: wrap(name, room) for name in samples}
    lines = max(name.count("\n") + 1 for name in names.values())
    shifts, is_cued = view.study.test_shifts, all(name.startswith("cue ") for name in samples)
    is_permuted = not is_cued and len(samples) > 1 + len(shifts)
    notes = ["The digit above the bright square, at this distance, is the label."] * is_cued
    notes += ["The same permutation for every image."] * is_permuted
    notes += ["Shifted at test time, in four directions; here to the right."] * bool(shifts)
    canvas = Canvas(
        "What the study does to images",
        " ".join(notes),
        height=min(_SIDE, room) + lines * _LINE + 0.22,
        panels=[""] * len(samples),
        columns=columns,
        share="x",
    )
    for axes, (name, image) in zip(canvas.panels, samples.items(), strict=True):
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        axes.imshow(pixels, extent=(0, 1, 1, 0), interpolation="nearest", cmap="gray", vmin=0, vmax=255)
        axes.grid(visible=False)
        axes.tick_params(bottom=False, left=False, labelbottom=False, labelleft=False)
        axes.spines[:].set_visible(True)
        axes.set_xlabel(names[name], size=LABEL_SIZE)
    return canvas.finish("", "", [f"one image {', '.join(samples)}"])
