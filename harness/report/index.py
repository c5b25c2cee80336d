"""results/README.md and results/index.html: every study of a results folder, with its answer and its main figure."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.analysis.findings import VERDICTS
from harness.records import files
from harness.records.layout import REPORT_FILE, StudyFolder
from harness.report.content import NO_ANSWER
from harness.report.markdown import escape, tally
from harness.report.page import environment
from harness.report.result_tables import SYMBOLS
from harness.spec import SCALES, InvalidInput
from harness.spec.formats import NONE, points_range, words

OPEN = "<!-- What stands from here to the closing mark is written by hand and kept when this file is renewed. -->"
CLOSE = "<!-- Closing mark: what follows is written by `patchbench report` and lost when it is written again. -->"
_HEADINGS = "| study | answer | claims | smallest difference shown | main figure |"
_SMALLEST = (
    "Smallest difference shown: the smallest true difference of test accuracy, in points, that a study's seeds and "
    "test images show with power .8 at level .05, over its comparisons from the most to the least exact."
)
_MOST_ANSWER = 400
"""Characters of an answer that the index shows."""


@dataclass(frozen=True)
class Entry:
    """A study in the index."""

    study: str
    scale: str
    question: str = ""
    answer: str = ""
    verdicts: tuple[tuple[str, str, int], ...] = ()
    """Verdict, its symbol and how many claims have it."""
    gaps: int = 0
    smallest: str = ""
    """Smallest true difference that the study shows with power .8, in points; empty where that is not known."""
    figure: str = ""
    """Path of the main figure relative to the results folder; empty where there is none."""
    problem: str = ""
    """Why the study cannot be shown; empty where it can."""

    @property
    def folder(self) -> str:
        """Address of the study's folder relative to the index."""
        return quote(f"{self.study}/{self.scale}")

    @property
    def title(self) -> str:
        return f"{words(self.study).capitalize()} ({self.scale})"


def write_index(results: Path) -> list[Path]:
    """Write README.md and index.html into a results folder; returns their paths. Equal results give equal bytes.

    What is written by hand in README.md between its two marks is kept; a README.md without marks is kept as a whole.
    """
    entries = entries_of(results)
    readme, page = results / "README.md", results / "index.html"
    files.write_text(readme, index_markdown(entries, _by_hand(readme)))
    files.write_text(page, environment().get_template("index.html.j2").render(entries=entries))
    return [readme, page]


def entries_of(results: Path) -> list[Entry]:
    """The studies below `results/<study>/<scale>`, by name and then from the small scale to the large."""
    return sorted(_entries(results), key=lambda entry: (entry.study, SCALES.index(entry.scale)))


def _entries(results: Path) -> Iterator[Entry]:
    for scale in SCALES:
        for folder in results.glob(f"*/{scale}"):
            places = StudyFolder(folder)
            kept, launched = (path.is_file() for path in (places.study_file, places.launched_study_file))
            if kept:
                yield _entry(folder)
            elif launched:
                yield Entry(folder.parent.name, scale, problem="It has been begun; it has no report yet.")


def _entry(folder: Path) -> Entry:
    study, scale = folder.parent.name, folder.name
    again = f"Make it again: patchbench report {study} --scale {scale}"
    path = folder / REPORT_FILE
    if not path.is_file():
        return Entry(study, scale, problem=f"Its report has no {REPORT_FILE}. {again}")
    try:
        return _read(folder, files.read_json(path))
    except (InvalidInput, LookupError, TypeError, ValueError, AttributeError) as error:
        return Entry(study, scale, problem=f"{REPORT_FILE} could not be read ({_reason(error, folder)}). {again}")


def _read(folder: Path, content: dict[str, Any]) -> Entry:
    counts = {str(verdict): int(number) for verdict, number in content["verdicts"].items()}
    pictures = [str(name) for name in content["files"]["figures"]]
    figure = pictures[0] if pictures and _is_inside(pictures[0]) and (folder / pictures[0]).is_file() else ""
    return Entry(
        folder.parent.name,
        folder.name,
        question=str(content["question"]),
        answer=_shortened(str(content["answer"])) or NO_ANSWER,
        verdicts=tuple((verdict, SYMBOLS[verdict], counts[verdict]) for verdict in VERDICTS if verdict in counts),
        gaps=len(content["gaps"]),
        smallest=points_range(row.get("smallest_detectable") for row in content["comparisons"]),
        figure=quote(f"{folder.parent.name}/{folder.name}/{figure}") if figure else "",
    )


def _is_inside(name: str) -> bool:
    """Whether a picture lies where reports keep theirs: the file may come from anybody."""
    return Path(name).parent == Path("figures") and Path(name).suffix == ".png"


def _reason(error: Exception, folder: Path) -> str:
    """One line, the same wherever the results folder lies."""
    return " ".join(str(error).replace(f"{folder}/", "").split()).rstrip(".") or type(error).__name__


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_ANSWER else text[: _MOST_ANSWER - 1].rsplit(" ", 1)[0] + " …"


def _by_hand(readme: Path) -> str:
    """The hand-written part of an index that is there already."""
    if not readme.exists():
        return ""
    text = files.read_bytes(readme).decode("utf-8", errors="replace")
    before, opened, rest = text.partition(OPEN)
    kept, closed, _ = rest.partition(CLOSE)
    return kept.strip() if opened and closed and "\n" not in before.strip() else text.strip()


def index_markdown(entries: list[Entry], by_hand: str = "") -> str:
    """The text of README.md."""
    shown = [entry for entry in entries if not entry.problem]
    lost = [entry for entry in entries if entry.problem]
    blocks = ["# Results", OPEN, *([by_hand] if by_hand else []), CLOSE, "## Studies"]
    if shown:
        lines = [_HEADINGS, "|---|---|---|---|---|", *map(_markdown_row, shown)]
        blocks += ["\n".join(lines), _SMALLEST]
    else:
        blocks.append("No study has a report yet.")
    if lost:
        lines = [f"- {escape(entry.title)}: {escape(entry.problem)}" for entry in lost]
        blocks += ["## Not shown", "\n".join(lines)]
    return "\n\n".join(blocks) + "\n"


def _attribute(text: str) -> str:
    """Text for a quoted attribute within a table's cell."""
    return html.escape(text).replace("|", "&#124;")


def _markdown_row(entry: Entry) -> str:
    links = f"[REPORT.md]({entry.folder}/REPORT.md), [report.html]({entry.folder}/report.html)"
    study = f"**{escape(entry.title)}**<br>{escape(entry.question)}<br>{links}"
    gaps = f"<br>cells with gaps: {entry.gaps}" if entry.gaps else ""
    figure = (
        f'<img src="{entry.figure}" width="220" alt="{_attribute(entry.title)}: main figure">' if entry.figure else ""
    )
    claims = escape(tally(entry.verdicts)) or "none"
    return f"| {study} | {escape(entry.answer)}{gaps} | {claims} | {entry.smallest or NONE} | {figure} |"
