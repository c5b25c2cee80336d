"""What every kind of figure says of itself."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from harness.analysis.findings import Findings
from harness.records.run_table import StudyRecords


@dataclass(frozen=True)
class Picture:
    """One kind of figure."""

    name: str
    """Of its files in figures/."""
    section: str
    """Of the report, by its anchor, in which it stands."""
    title: str
    draw: Callable[[StudyRecords, Findings], Figure]
    describe: Callable[[StudyRecords, Findings], str]
    """What it shows, with numbers, for those who do not see it."""
    applies: Callable[[StudyRecords, Findings], object]
    """True, or what is to be drawn where there is some."""
