"""results/README.md and results/index.html: every study of a results folder, with its answer and its main figure."""

import html
import math
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.analysis.answer import WIRING_TEST
from harness.records import files
from harness.records.layout import REPORT_FILE, StudyFolder
from harness.report.all_claims import AllClaims, all_claims, claims_in
from harness.report.content import NO_ANSWER
from harness.report.headline import PICTURE, kept_text
from harness.report.page import environment, escape
from harness.spec import GROUPS, SCALES, InvalidInput, find_study, study_names
from harness.spec.errors import require
from harness.spec.formats import NONE, plain, points_interval, points_range, words
from harness.spec.verdicts import tally_of, tally_signs, tally_text

OPEN = "<!-- What stands from here to the closing mark is written by hand and kept when this file is renewed. -->"
CLOSE = "<!-- Closing mark: what follows is written by `patchbench report` and lost when it is written again. -->"
_HEADINGS = "| study | answer | claims | shown from |\n|---|---|---|---|"
_LEGEND = (
    "Claims: ✓ reproduced or supported, ✗ contradicted or not supported, ? inconclusive, ○ outside the range measured. "
    "Shown from: the smallest true difference of test accuracy, in points, that a study's seeds and test images show "
    "with power .8 at the level of its report, from its most to its least exact comparison. Pictures: "
    "[index.html](index.html)."
)
OWN = "own studies"
POINTS = "points"  # of test accuracy, the unit of most effects
_STEPS = (1.0, 0.5, 0.2)  # of ten, of the largest tick
_MOST_ANSWER = 400  # characters of an answer that the index shows


@dataclass(frozen=True)
class Entry:
    """A study in the index."""

    study: str
    scale: str
    question: str = ""
    answer: str = ""
    claims: tuple[dict[str, Any], ...] = ()  # rows of its report.json; none of a test of the wiring
    conclusive: bool = True
    group: str = OWN  # of `GROUPS`, for a shipped study
    finding: str = ""
    effect: tuple[float, float, float] | None = None  # what the finding tells, with its interval, a fraction
    difference: str = ""  # what that is the difference of: `ViT − ResNet`; empty where this is not known
    unit: str = POINTS  # of the effect
    gaps: int = 0
    smallest: str = ""
    """Smallest true difference that the study shows with power .8, in points; empty where that is not known."""
    figure: str = ""  # path of the main figure relative to the results folder; empty where there is none
    problem: str = ""  # why the study cannot be shown; empty where it can

    @property
    def folder(self) -> str:
        """Address of the study's folder relative to the index."""
        return quote(f"{self.study}/{self.scale}")

    told = property(lambda self: points_interval(*self.effect) if self.effect else "")

    tally = property(lambda self: tally_of(self.claims))

    @property
    def name(self) -> str:
        return words(self.study).capitalize()

    @property
    def title(self) -> str:
        return f"{self.name} ({self.scale})"


def write_index(results: Path) -> list[Path]:
    """Write README.md and index.html into a results folder; returns their paths. Equal results give equal bytes.

    What is written by hand in README.md between its two marks is kept; a README.md without marks is kept as a whole.
    """
    entries = entries_of(results)
    readme, page = results / "README.md", results / "index.html"
    together = all_claims(dict(row) for entry in entries for row in entry.claims)
    picture = kept_text(results)
    files.write_text(readme, _markdown(entries, together, _by_hand(readme), picture))
    present = [entry for entry in entries if not entry.problem]
    scales = {entry.scale for entry in present}
    shown = {
        "groups": [
            (place, group, members)
            for place, group in enumerate([*GROUPS, OWN])
            if (members := [entry for entry in present if entry.group == group])
        ],
        "scale": scales.pop() if len(scales) == 1 else "",
        "forest": forest(entries),
        "lost": [entry for entry in entries if entry.problem],
        "together": together,
        "picture": picture,
        "address": PICTURE,
    }
    files.write_text(page, environment().get_template("index.html.j2").render(shown))
    return [readme, page]


@dataclass(frozen=True)
class Strip:
    """Where a study's effect stands on the scale that all share: shares of its width in percent."""

    entry: Entry
    left: float
    width: float
    middle: float


@dataclass(frozen=True)
class Forest:
    """One effect per study on one scale."""

    groups: dict[str, list[Strip]]
    ticks: tuple[tuple[str, float], ...]  # numbers of the axis in points, and where they stand

    def __bool__(self) -> bool:
        return bool(self.groups)


def forest(entries: Iterable[Entry]) -> Forest:
    """One effect per study, by group; those of which none is known are left out.

    By square roots from zero, so that one large effect leaves the small ones to be told apart.
    """
    known = [entry for entry in entries if entry.effect is not None and entry.conclusive]
    most = min(1.0, max((abs(end) for entry in known for end in entry.effect or ()), default=1.0)) or 1.0

    def place(effect: float) -> float:
        return round(50 + math.copysign(48 * math.sqrt(min(1.0, abs(effect) / most)), effect), 2)

    found: dict[str, list[Strip]] = {}
    for entry in sorted(known, key=lambda entry: [*GROUPS, OWN].index(entry.group)):
        middle, low, high = map(place, entry.effect or ())
        found.setdefault(entry.group, []).append(Strip(entry, low, round(high - low, 2), middle))
    decade = 10.0 ** math.ceil(math.log10(most))
    largest = next((step * decade for step in _STEPS if step * decade <= most * (1 + 1e-9)), decade / 10)
    ends = [largest, largest / 4, largest / 20]
    ticks = [*(-end for end in ends), 0.0, *reversed(ends)]
    return Forest(found, tuple((plain(100 * tick), place(tick)) for tick in ticks))


def entries_of(results: Path) -> list[Entry]:
    """The studies below `results/<study>/<scale>`, by name and then from the small scale to the large."""
    found = (entry for scale in SCALES for folder in results.glob(f"*/{scale}") for entry in _entry(folder))
    return sorted(found, key=lambda entry: (entry.study, SCALES.index(entry.scale)))


def _entry(folder: Path) -> Iterator[Entry]:
    study, scale, places = folder.parent.name, folder.name, StudyFolder(folder)
    again = f"Make it again: patchbench report {study} --scale {scale}"
    if not places.study_file.is_file():
        if places.launched_study_file.is_file():
            yield Entry(study, scale, problem="It has been begun; it has no report yet.")
    elif not (folder / REPORT_FILE).is_file():
        yield Entry(study, scale, problem=f"Its report has no {REPORT_FILE}. {again}")
    else:
        try:
            yield _read(folder, files.read_json(folder / REPORT_FILE))
        except (InvalidInput, LookupError, TypeError, ValueError, AttributeError):
            yield Entry(study, scale, problem=f"{REPORT_FILE} could not be read. {again}")


def _read(folder: Path, content: dict[str, Any]) -> Entry:
    figure = str(next(iter(content["files"]["figures"]), ""))
    conclusive = bool(content.get("conclusive", folder.name != "smoke"))  # version 0.1 did not say
    claims = tuple(claims_in(content, f"{folder.parent.name} ({folder.name})"))
    between = content.get("effect_of") or {}  # which version 0.1 did not tell
    shown = re.fullmatch(r"figures/[^/]+\.png", figure) and (folder / figure).is_file()  # it may come from anybody
    answer = str(content["answer"]) if conclusive else WIRING_TEST
    return Entry(
        folder.parent.name,
        folder.name,
        question=str(content["question"]),
        answer=textwrap.shorten(answer, _MOST_ANSWER, placeholder=" …") or NO_ANSWER,
        claims=claims if conclusive else (),
        conclusive=conclusive,
        group=_group(folder.parent.name),
        finding=str(content.get("finding") or answer) if conclusive else "",
        effect=_effect(content.get("effect")) if conclusive else None,
        difference=str(between.get("difference", "")),
        unit=str(between.get("unit") or POINTS),
        gaps=len(content["gaps"]),
        smallest=points_range(row.get("smallest_detectable") for row in content["comparisons"]),
        figure=quote(f"{folder.parent.name}/{folder.name}/{figure}") if shown else "",
    )


def _group(name: str) -> str:
    """The group of a shipped study."""
    return (name in study_names() and find_study(name)[1].group) or OWN


def _effect(kept: Any) -> tuple[float, float, float] | None:
    """The effect of a report.json, which an earlier version did not tell."""
    if kept is None:
        return None
    value, low, high = (float(kept[name]) for name in ("value", "ci_low", "ci_high"))
    told = f"effect is {kept!r:.80}; it must be a difference of fractions, within its interval."
    require(math.isfinite(low) and math.isfinite(high) and low <= value <= high, told)
    return value, low, high


def _by_hand(readme: Path) -> str:
    if not readme.exists():
        return ""
    text = files.read_bytes(readme).decode("utf-8", errors="replace")
    before, opened, rest = text.partition(OPEN)
    kept, closed, _ = rest.partition(CLOSE)
    return kept.strip() if opened and closed and "\n" not in before.strip() else text.strip()


def _markdown(entries: list[Entry], together: AllClaims, by_hand: str, picture: tuple[str, str] | None) -> str:
    shown = [entry for entry in entries if not entry.problem]
    lost = [f"- {escape(entry.title)}: {escape(entry.problem)}" for entry in entries if entry.problem]
    blocks = ["# Results", OPEN, by_hand, CLOSE]
    if picture:
        title, _ = picture
        image = f'<img src="{PICTURE}" width="900" alt="{html.escape(title)}">'
        blocks += ["## Data against bias", f"**{escape(title)}.**", image]
    for group in (*GROUPS, OWN):
        if rows := [_row(entry) for entry in shown if entry.group == group]:
            blocks += [f"## {group[0].upper()}{group[1:]}", "\n".join((_HEADINGS, *rows))]
    blocks.append(_LEGEND if shown else "No study has a report yet.")
    if together.tally:
        blocks.append(f"**All claims:** {tally_text(together.tally)}. {escape(together.text)}")
    blocks += ["## Not shown", "\n".join(lost)] if lost else []
    return "\n\n".join(filter(None, blocks)) + "\n"


def _row(entry: Entry) -> str:
    study = f"[{escape(entry.title)}]({entry.folder}/REPORT.md)"
    gaps = f"<br>cells with gaps: {entry.gaps}" if entry.gaps else ""
    claims = escape(tally_signs(entry.tally)) or ("none" if entry.conclusive else NONE)
    answer = entry.finding or entry.answer
    return f"| {study} | {escape(answer)}{gaps} | {claims} | {entry.smallest or NONE} |"
