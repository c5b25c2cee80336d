"""The few columns that a console has room for."""

from typing import NamedTuple

from harness.analysis.findings import Findings
from harness.report.frames import UNLEARNED, cell_name, rows_of
from harness.spec.formats import NONE, count, magnitude, p_value, percent_interval, points_interval
from harness.spec.plural import counted


class SummaryRow(NamedTuple):
    """One arm (in a study of two factors at one training size), every number in words."""

    arm: str
    seeds: str
    accuracy: str
    difference: str
    p_holm: str
    macs: str
    images_per_second: str


SUMMARY_COLUMNS = ("arm", "seeds", "test accuracy", "difference", "p (Holm)", "MACs", "images/s")
"""Headings of the fields of a `SummaryRow`."""


def summary_rows(findings: Findings) -> list[SummaryRow]:
    """A row per arm and training size, baseline first, in the order of `findings.arms`."""
    compared = {(row["arm"], str(row["train_size"])): row for row in rows_of(findings.comparisons)}
    baseline = next((row["arm"] for row in rows_of(findings.arms) if row["is_baseline"]), "")
    rows = []
    for row in rows_of(findings.arms):
        against = compared.get((row["arm"], str(row["train_size"])), {})
        difference = points_interval(against.get("difference"), against.get("ci_low"), against.get("ci_high"))
        other = str(against.get("baseline", baseline))
        rows.append(
            SummaryRow(
                arm=f"{cell_name(row, findings)}{' (baseline)' if row['is_baseline'] else ''}"
                f"{f' {UNLEARNED}' if row.get('caution') else ''}",
                seeds=f"{count(row['n'])} of {counted(row['planned'], 'seed')}",
                accuracy=percent_interval(row["mean"], row["ci_low"], row["ci_high"]),
                difference=difference if other == baseline or difference == NONE else f"{difference} to {other}",
                p_holm=p_value(against.get("p_holm")),
                macs=magnitude(row["macs_per_image"]),
                images_per_second=count(row["train_images_per_second"]),
            )
        )
    return rows
