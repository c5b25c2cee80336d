"""What results/README.md says by hand agrees with the reports that lie beside it."""

import itertools
import json
import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from harness.analysis.evidence import evidence_of
from harness.records.run_table import load_records
from harness.report.index import CLOSE, OPEN

RESULTS = Path(__file__).resolve().parents[2] / "results"
SAID = (RESULTS / "README.md").read_text().partition(OPEN)[2].partition(CLOSE)[0]
PARTS = re.findall(r"^- (.+?)(?=^- |^$|\Z)", SAID, flags=re.MULTILINE | re.DOTALL)
NUMBER = r"([+−-]?\d[\d,]*(?:\.\d+)?)"
WITH_INTERVAL = re.compile(rf"{NUMBER}(?:\s*%)?\s+\[{NUMBER},\s+{NUMBER}\]")

Triple = tuple[float, float, float]


def triples(text: str) -> list[Triple]:
    """Every `value [low, high]` of a text, whichever way round the difference is told."""
    plain = text.replace("\\", "").replace("\u202f%", "").replace("−", "-")
    return [unsigned(*(float(part.replace(",", "")) for part in found)) for found in WITH_INTERVAL.findall(plain)]


def unsigned(value: float, low: float, high: float) -> Triple:
    value, low, high = (round(number, 2) for number in (value, low, high))
    low, high = sorted((low, high))
    return max((value, low, high), (-value, -high, -low))


@cache
def reported(study: str) -> frozenset[Triple]:
    return frozenset(triples((RESULTS / study / "laptop" / "REPORT.md").read_text()))


@cache
def between_arms(study: str) -> frozenset[Triple]:
    """The difference of every two arms of a study, in points: a report has only those to the baseline."""
    evidence = evidence_of(load_records(RESULTS / study / "laptop"))
    arms = [arm.name for arm in evidence.study.all_arms]
    pairs = itertools.product(itertools.combinations(arms, 2), evidence.sizes)
    found = (evidence.contrast({(one, size): 1.0, (other, size): -1.0}) for (one, other), size in pairs)
    return frozenset(unsigned(*(100 * end for end in (it.value, it.ci_low, it.ci_high))) for it in found)


def test_the_readme_is_read_in_a_few_minutes() -> None:
    """At most 900 words, without addresses and what no reader sees."""
    text = re.sub(r"<!--.*?-->|<[^>]*>", "", (RESULTS / "README.md").read_text(), flags=re.DOTALL)
    assert len(re.findall(r"[^\W\d_][\w'’-]*", re.sub(r"\]\([^)]*\)", "]", text))) <= 900


def test_there_is_something_to_check() -> None:
    assert len(PARTS) > 5
    assert sum(len(triples(part)) for part in PARTS) >= 10


@pytest.mark.parametrize("part", PARTS, ids=lambda part: " ".join(re.findall(r"\w+", part)[:5]))
def test_every_number_stands_in_a_report(part: str) -> None:
    studies = [name for name in re.findall(r"`(\w+)`", part) if (RESULTS / name).is_dir()]
    said = triples(part)
    assert studies, "names no study"
    assert not said or re.search(r"\bn = \d", part), "gives no n"
    unknown = set(said) - {triple for study in studies for triple in reported(study)}
    if unknown:
        unknown -= {triple for study in studies for triple in between_arms(study)}
    assert unknown == set()


def test_the_recipes_say_what_their_seeds_show() -> None:
    """The smallest differences by number of seeds in `studies/_recipes.py` are those of the tables."""
    text = (RESULTS.parent / "studies" / "_recipes.py").read_text()
    lines = re.findall(r"^ +(\d+) seeds +([\d.]+) \(([\d.]+) to ([\d.]+)\)$", text, flags=re.MULTILINE)
    tables = [pd.read_csv(path) for path in RESULTS.glob("*/laptop/comparisons.csv")]
    shown = pd.concat(tables).groupby("n")["smallest_detectable"].agg(["median", "min", "max"]).mul(100).round(2)
    assert {int(n): tuple(map(float, told)) for n, *told in lines} == {n: tuple(row) for n, row in shown.iterrows()}


def test_results_of_one_search_an_arm_are_named() -> None:
    """README and results/README.md say whose intervals leave out the luck of the search."""
    alone = set()
    for path in RESULTS.glob("*/laptop/study.json"):
        search = json.loads(path.read_text())["study"]["search"]
        alone |= {path.parts[-3]} if search.get("repeats", 1) == 1 else set()
    for text in (RESULTS.parent / "README.md", RESULTS / "README.md"):
        (told,) = re.findall(r"((?:`\w+`(?:,| and)?\s+)+)(?:are of earlier|leave out the luck)", text.read_text())
        assert set(re.findall(r"`(\w+)`", told)) == alone
