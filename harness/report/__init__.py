"""What a person reads in the end. Draws and sets what `harness.analysis` computed; computes nothing."""

import json
from pathlib import Path

from harness.analysis.findings import Findings
from harness.records import csv_text, files
from harness.records.layout import REPORT_FILE, StudyFolder
from harness.records.run_table import StudyRecords
from harness.report import document
from harness.report.content import content_of
from harness.report.figures import PICTURES, figures_of
from harness.report.index import write_index
from harness.report.markdown import markdown
from harness.report.page import page

__all__ = ["figures_of", "write_index", "write_report"]


def write_report(records: StudyRecords, findings: Findings, folder: Path) -> list[Path]:
    """Write figures/*.png and *.svg, report.html, REPORT.md, report.json and the tables of what was found.

    Returns their paths. Equal records and findings give equal bytes.
    Figures of an earlier report that no longer apply are removed.
    """
    content = content_of(records, findings)
    outputs: dict[Path, bytes] = {}
    figures = StudyFolder(folder).figures
    for figure in content.figures:
        outputs[figures / f"{figure.name}.png"] = figure.png
        outputs[figures / f"{figure.name}.svg"] = figure.svg
    outputs[folder / "report.html"] = page(content).encode()
    outputs[folder / "REPORT.md"] = markdown(content).encode()
    outputs[folder / "comparisons.csv"] = csv_text.from_frame(findings.comparisons).encode()
    outputs[folder / "claims.csv"] = csv_text.from_frame(findings.claims).encode()
    said = document.document(records, findings, tuple(figure.name for figure in content.figures))
    outputs[folder / REPORT_FILE] = (json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    for path, written in outputs.items():
        files.write_bytes(path, written)
    _remove_outdated(figures, {figure.name for figure in content.figures})
    return list(outputs)


def _remove_outdated(folder: Path, current: set[str]) -> None:
    """Only files that a report itself may have written: a user's own stay."""
    for picture in PICTURES:
        if picture.name not in current:
            for kind in ("png", "svg"):
                (folder / f"{picture.name}.{kind}").unlink(missing_ok=True)
