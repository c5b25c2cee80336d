"""The picture of data against bias from a folder of results: its headline.svg, .png and .csv."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.evidence import Evidence, evidence_of
from harness.analysis.leads import Line, findings, lines_of, published_line
from harness.analysis.wording import listed
from harness.execution.process import Call, CallEndedError, CallFailedError
from harness.records import files, manifest
from harness.records.layout import StudyFolder, command_line
from harness.records.run_table import load_records
from harness.records.samples import Sample, read_samples, write_samples
from harness.records.write_lock import write_lock
from harness.report import write_index
from harness.report.headline import Headline, Panel, draw
from harness.spec import NAMED_SOURCES, SCALES, DataSpec, InvalidInput, canonical_json
from harness.spec.formats import confidence, count, plain, words

FIRST = "data_scale"
"""The study of the first panel."""

BESIDE = "dataset_size"
"""The study of real images beside it."""

_SAMPLES = "headline.npz"  # is kept, so that the picture has the sample images wherever it is drawn again


@dataclass(frozen=True)
class _Shown:
    """A study in the picture, with at least one line."""

    evidence: Evidence
    lines: tuple[Line, ...]

    @property
    def data(self) -> dict[str, DataSpec]:
        """The images of each condition, at the smallest training size."""
        study = self.evidence.study
        return {x.condition: study.data_of(study.arm(x.vit), study.train_sizes[0]) for x in self.lines}


def write_headline(results: Path, scale: str | None = None) -> tuple[Headline, list[Path], list[str]]:
    """Draw what is kept at a scale (by default the largest that has results, but `smoke`); trains nothing.

    Returns the picture, the files and what the picture lacks. Equal results give equal bytes.
    """
    first = _shown(results, FIRST, scale)
    if first is None:
        command = command_line(results, "run", FIRST, "--scale", scale or "laptop")
        raise InvalidInput(
            f"{results} has no results of {FIRST}{f' at scale {scale!r}' if scale else ''} in which a "
            f"vision transformer is compared with a ResNet over training sizes. Run it first: {command}"
        )
    shown, notes, said = [first], list[str](), list[str]()
    if beside := _shown(results, BESIDE, scale):
        shown.append(beside)
    else:
        notes.append(f"Without real images, as there are no results of {BESIDE}.")
        said.append(f"Run it: {command_line(results, 'run', BESIDE, '--scale', first.evidence.study.scale)}")
    wanted = [data for each in shown for data in each.data.values()]
    samples, reasons = _samples(results, wanted)
    if without := dict.fromkeys(data.title for data in wanted if _key(data) not in samples):
        notes.append(f"Without sample images of {listed(without)}.")
    picture = draw([*_panels(shown, samples), _published()], " ".join([_note(shown), *notes]))
    paths = [results / f"headline.{ending}" for ending in ("svg", "png", "csv")]
    with write_lock(StudyFolder(results).write_lock):
        for path, content in zip(paths, (picture.svg, picture.png, picture.csv.encode()), strict=True):
            files.write_bytes(path, content)
        write_index(results)
    return picture, paths, [*notes, *said, *reasons]


def _shown(results: Path, name: str, scale: str | None) -> _Shown | None:
    """A study at a scale that has results; None where it has none, or none of what the picture shows."""
    for each in [scale] if scale else reversed(SCALES[1:]):
        folder = results / name / each
        if StudyFolder(folder).study_file.exists():
            manifest.require_unchanged(folder)
            evidence = evidence_of(load_records(folder))
            if lines := lines_of(evidence):
                return _Shown(evidence, lines)
    return None


def _panels(shown: Sequence[_Shown], samples: dict[str, Sample]) -> list[Panel]:
    return [
        Panel(
            name=f"{each.evidence.study.name}/{each.evidence.study.scale}",
            data=each.evidence.study.data.title,
            findings=tuple(f"{x.condition}: {told}" for x, told in zip(each.lines, findings(each.lines), strict=True)),
            x="training images",
            lines=each.lines,
            samples={name: samples[key] for name, data in each.data.items() if (key := _key(data)) in samples},
        )
        for each in shown
    ]


def _published() -> Panel:
    """What ours is held against: studies/published.csv, points of the two models' curves to five digits.

    Source: task `inet_5` of revisiting_neural_scaling_laws/data/benchmark.vision.csv in google-research/google-research
    (Alabdulmohsin, Neyshabur and Zhai, arXiv 2209.06640): about every fourth point, and all from 165 to 225 million
    images seen.
    """
    table = Path(importlib.import_module("studies").__path__[0]) / "published.csv"
    line = published_line(table.read_text())
    return Panel(
        name="published",
        data="ImageNet, published, one run per model",
        findings=(f"{line.resnet} and {line.vit} {line.finding()}",),
        x="images seen",
        lines=(line,),
    )


def _note(shown: Sequence[_Shown]) -> str:
    studies = (
        f"study {words(study.name)} at scale {study.scale}, bars: {confidence(each.evidence.level)} intervals"
        + _updates(each.lines)
        for each in shown
        for study in [each.evidence.study]
    )
    return (
        "Above: accuracy of the ResNet less that of the vision transformer (ViT), over paired seeds. Below: the ViT's "
        "error over the ResNet's. Scales differ between panels. Strokes across the line of no lead: crossings, with "
        f"bars over their intervals. From the left: {'; '.join(studies)}; published: ImageNet, 5-shot, without seeds "
        "to give an interval, from the data of arXiv 2209.06640."
    )


def _updates(lines: Sequence[Line]) -> str:
    """` (with 1,024,000 images, 8 times the updates of others)`, where the most images had more of them."""
    known = {line.ends[1:] for line in lines if line.ends[2] > 1}
    return "".join(f" (with {count(most)} images {plain(times, 2)} times the updates)" for most, times in sorted(known))


def _samples(results: Path, data: Sequence[DataSpec]) -> tuple[dict[str, Sample], list[str]]:
    """A sample image of each data set by its key, the kept one or else one made here, and why others are not there.

    Only sources that are known by their name are read: results from elsewhere could point to any path or function.
    """
    found, reasons = _kept_samples(results / _SAMPLES), dict[str, None]()
    if wanted := [each for each in data if _key(each) not in found and each.read_from in NAMED_SOURCES]:
        call = Call("sample", wanted)
        try:
            for each in wanted:
                image = call.hear()
                if isinstance(image, str):
                    reasons[image] = None
                else:
                    found[_key(each)] = image
        except (InvalidInput, CallFailedError, CallEndedError) as error:  # such as: no torch here
            reasons[str(error).strip().splitlines()[-1]] = None
        finally:
            call.close()
    if kept := {key: found[key] for key in map(_key, data) if key in found}:
        write_samples(results / _SAMPLES, kept)
    return kept, list(reasons)


def _kept_samples(path: Path) -> dict[str, Sample]:
    """What `_samples` kept; nothing where that is not there, or not whole."""
    try:
        return read_samples(path)
    except InvalidInput:
        return {}


def _key(data: DataSpec) -> str:
    return files.sha256(canonical_json(data).encode())
