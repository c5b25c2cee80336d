"""Frames in, numbers out: comparisons, claims, crossover, budget curves. Pure; randomness comes from a Generator."""

from harness.analysis.assemble import analyse
from harness.analysis.evidence import Evidence, pilot
from harness.analysis.findings import CLAIM_COLUMNS, COMPARISON_COLUMNS, VERDICTS, Findings
from harness.analysis.power import seeds_needed
from harness.analysis.tuning import EDGE, at_edge, edge_distance

__all__ = [
    "CLAIM_COLUMNS",
    "COMPARISON_COLUMNS",
    "EDGE",
    "VERDICTS",
    "Evidence",
    "Findings",
    "analyse",
    "at_edge",
    "edge_distance",
    "pilot",
    "seeds_needed",
]
