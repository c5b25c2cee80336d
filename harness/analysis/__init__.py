"""Frames in, numbers out: comparisons, claims, crossover, budget curves. Pure; nothing is drawn at random."""

from harness.analysis.assemble import analyse
from harness.analysis.evidence import Evidence
from harness.analysis.findings import Findings

__all__ = ["Evidence", "Findings", "analyse"]
