"""Frames in, numbers out: comparisons, claims, crossover, budget curves. Pure; randomness comes from a Generator."""

from harness.analysis.findings import CLAIM_COLUMNS, COMPARISON_COLUMNS, VERDICTS, Findings

__all__ = ["CLAIM_COLUMNS", "COMPARISON_COLUMNS", "VERDICTS", "Findings"]
