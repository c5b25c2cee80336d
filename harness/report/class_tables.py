"""The tables of what predicted classes tell: accuracy by class, and what is taken for what."""

from functools import partial

from harness.report.table import Cell, Column, Table, make_table, number_column, text_column
from harness.report.view import View, rows_of
from harness.spec import formats
from harness.spec.formats import MINUS, count, counted, number, percent, points_interval

_MOST_CLASSES, _MOST_PAIRS = 40, 12


def classes_table(view: View) -> Table:
    """A row per class: the accuracies of the main arm and of the one that it is compared with, and their difference."""
    found = view.findings.by_class
    rows, of_all = view.classes(_MOST_CLASSES), len(view.classes(len(found.table)))
    main, other = found.arms or ("", "")
    shown = [row for row in rows if number(row["share"]) is not None]
    columns = (
        text_column("Class", "class_name"),
        number_column("Test images", "images", count),
        number_column(f"{other} [{view.level}]", "mean", formats.percent_interval, "against", interval=True),
        number_column(f"{main} [{view.level}]", "mean", formats.percent_interval, interval=True),
        Column(f"{main} {MINUS} {other} [{view.level}]", lambda row: Cell(_difference(row), row["difference"]), True),
        number_column("Share of the difference", "share", partial(percent, digits=0)) if shown else None,
    )
    left_out = f" Of {counted(of_all, 'class')} those that differ most; the CSV has all." * (of_all > len(rows))
    every = " The CSV has all arms." * (found.table["arm"].nunique() > len(found.arms))
    note = f"Intervals over {view.varied} of the class.{every}{left_out}" if rows else ""
    caption = f"Accuracy by class{view.at_largest}"
    return make_table("classes", caption, columns, rows, frame=found.table, note=note)


def _difference(row: dict[str, object]) -> str:
    return points_interval(row["difference"], row["difference_low"], row["difference_high"])


def confusions_table(view: View) -> Table:
    """What is taken for what, the most frequent first."""
    found = view.findings.by_class
    main, other = found.arms or ("", "")
    columns = (
        text_column("Class", "class_name"),
        text_column("Taken for", "taken_for"),
        number_column(other, "baseline_share", percent),
        number_column(main, "share", percent),
    )
    caption = f"What is taken for what{view.at_largest}: share of the images of a class, mean over seeds"
    rows = rows_of(found.confusions)[:_MOST_PAIRS]
    return make_table("confusions", caption, columns, rows, frame=found.confusions)
