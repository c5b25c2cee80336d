"""The few columns that a console has room for."""

from typing import NamedTuple

from harness.analysis.findings import Findings
from harness.report.formats import count, magnitude, p_value, percent_interval, points_interval, seeds
from harness.report.frames import rows_of, sizes_of


class SummaryRow(NamedTuple):
    """One arm (at one training size), every number in words."""

    arm: str
    train_size: str
    """Empty in a study of one training size."""
    seeds: str
    accuracy: str
    difference: str
    p_holm: str
    macs: str
    images_per_second: str


def summary_rows(findings: Findings) -> list[SummaryRow]:
    """A row per arm and training size, baseline first, in the order of `findings.arms`."""
    compared = {(row["arm"], str(row["train_size"])): row for row in rows_of(findings.comparisons)}
    rows = []
    for row in rows_of(findings.arms):
        against = compared.get((row["arm"], str(row["train_size"])), {})
        rows.append(
            SummaryRow(
                arm=f"{row['arm']} (baseline)" if row["is_baseline"] else str(row["arm"]),
                train_size=count(row["train_size"]) if sizes_of(findings) else "",
                seeds=seeds(row["n"], row["planned"]),
                accuracy=percent_interval(row["mean"], row["ci_low"], row["ci_high"]),
                difference=points_interval(against.get("difference"), against.get("ci_low"), against.get("ci_high")),
                p_holm=p_value(against.get("p_holm")),
                macs=magnitude(row["macs_per_image"]),
                images_per_second=count(row["train_images_per_second"]),
            )
        )
    return rows
