"""Answers: the verdict first, short, by the judgement on the claim; every shipped study marks its own."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import SAID, records, series_study, study, vit_lead, without_frames

from harness.analysis import analyse
from harness.analysis.answer import WIRING_TEST, answer, effect_of, marked_answers, reworded
from harness.analysis.evidence import Evidence, evidence_of
from harness.analysis.judging import judge
from harness.records.run_table import load_records
from harness.spec import (
    SCALES,
    Answer,
    Better,
    Claim,
    CostGrows,
    Crosses,
    Equivalent,
    GainsMore,
    GapShrinks,
    InvalidInput,
    Monotone,
    ResolvedStudy,
    Scale,
    Study,
    find_study,
    study_names,
)

RESULTS = sorted((Path(__file__).resolve().parents[2] / "results").glob("*/*/study.json"))
FIRST = ("Yes", "No", "Supported", "Not shown", "Not within the range measured")


@cache
def shipped(name: str, scale: str) -> ResolvedStudy:
    return find_study(name)[1].resolve(name, scale)


def assert_short(text: str, of: ResolvedStudy) -> None:
    """At most two sentences, 30 words and two numbers without intervals; those in names of arms are no findings."""
    told = re.sub(r" \[[^\]]*\]", "", text)
    told = re.sub(r"(\S+( [a-z-]+)*) (less|smaller) to \S+ (more|larger)", r"\1 \4", told)
    told = re.sub(r"[Bb]etween [a-z ]*[\d,.]+ and [\d,.]+", "between 1", told)
    assert len(re.findall(r"[.](?:\s|$)", told)) <= 2, text
    assert len(told.split()) <= 30, text
    for arm in sorted(of.all_arms, key=lambda arm: -len(arm.name)):
        told = told.replace(arm.name, "")
    told = re.sub(r"\b\d+ (px|blocks?)\b|ResNet-\d+", "", told)
    assert len(re.findall(r"\d[\d,.]*", told)) <= 2, text


def drawn_evidence(of: ResolvedStudy, gaps: Mapping[str, float], seed: int) -> Evidence:
    """Complete runs whose accuracies differ by `gaps` of their arms, in every metric that is an accuracy."""
    rng, rows = np.random.default_rng(seed), {}
    for arm, size in of.cells:
        rows[arm.name, size] = {}
        for run_seed in of.seeds:
            value = 0.6 + gaps[arm.name] * (1 + math.log10(size or 1) / 5) + rng.normal(0, 0.004)
            row: dict[str, Any] = dict.fromkeys(("test_accuracy", "few_shot_accuracy", "shift_agreement"), value)
            row |= {"status": "completed", "digest": "", "macs_per_image": 1e6, "train_images_per_second": 100.0}
            rows[arm.name, size][run_seed] = row
    return Evidence(records=without_frames(of), rows=rows)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(study_names()), st.sampled_from([at for at in SCALES if at != "smoke"]), st.data())
def test_answers_of_shipped_studies_are_short_whatever_comes_out(name: str, scale: str, data: st.DataObject) -> None:
    of = shipped(name, scale)
    gap = st.sampled_from((-0.2, -0.01, 0.0, 0.003, 0.15))
    gaps = {arm.name: data.draw(gap) for arm in of.all_arms}
    kept = drawn_evidence(of, gaps, data.draw(st.integers(0, 99)))
    assert of.answer
    text = answer(kept, {}).text
    assert_short(text, of)
    assert "[−" not in text  # an interval that holds zero tells both directions
    verdicts = [judge(each.claim_of(of), kept).verdict for each in of.answer]
    assert len(re.findall(r"(Not|No crossing) shown(?: to be level)?: ", text)) == verdicts.count("inconclusive")


@pytest.mark.parametrize("name", study_names())
def test_every_shipped_study_marks_its_answer(name: str) -> None:
    assert all(shipped(name, scale).answer for scale in SCALES)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parts[-3])
def test_answers_of_all_kept_results_are_short(path: Path) -> None:
    kept = load_records(path.parent)
    assert_short(answer(evidence_of(kept), {}).text, kept.study)


ARMS = {"ViT/4": 4.0, "ViT/7": 7.0, "ViT/14": 14.0}
PAIR = {"arm": "ViT/7", "than": "ViT/14"}
UP, DOWN, EVEN = {"ViT/7": 0.9}, {"ViT/7": 0.7}, {"ViT/7": 0.8}
KINDS: list[tuple[Claim, dict[str, float], str]] = [
    (Better(**PAIR, **SAID), UP, r"Yes: it has \d+\.\d points more \[9\.\d, 1\d\.\d\]\."),
    (Better(**PAIR, **SAID), DOWN, r"No: it has \d+\.\d points less \[9\.\d, 1\d\.\d\]\."),
    (Better(**PAIR, **SAID), EVEN, r"Not shown: it has \d+\.\d+ points less to \d+\.\d+ more\."),
    (Better(**PAIR, kind="hypothesis", **SAID), UP, r"Supported: .*"),
    (Better(**PAIR, kind="hypothesis", **SAID), DOWN, r"No: .*"),
    (Better(metric="test_loss", **PAIR, **SAID), UP, r"Yes: it has 0\.\d+ test loss less \[0\.\d+, 0\.\d+\]\."),
    (Equivalent(arm="ViT/7", to="ViT/14", within=0.03, **SAID), EVEN, r"Yes: .*"),
    (Equivalent(arm="ViT/7", to="ViT/14", within=0.03, **SAID), DOWN, r"No: it has \d+\.\d points less .*"),
    (GainsMore(arm="ViT/7", start="ViT/14", other="ViT/4", other_start="ViT/14", **SAID), UP, r"Yes: .*"),
    (GainsMore(arm="ViT/7", start="ViT/14", other="ViT/4", other_start="ViT/14", **SAID), DOWN, r"No: .*"),
    (Monotone(metric="test_accuracy", along="patch_size", direction="up", **SAID), UP, r"No: .*"),
    (Monotone(metric="test_accuracy", along="patch_size", direction="up", **SAID), EVEN, r"Not shown: .*"),
    (CostGrows(along="patch_size", direction="down", factor=1.5, **SAID), EVEN, r"Yes: it has a factor of 1\.75\."),
    (CostGrows(along="patch_size", direction="up", factor=1.5, **SAID), EVEN, r"No: it has a factor of 0\.5\."),
]


@pytest.mark.parametrize(("claim", "truth", "expected"), KINDS)
def test_the_verdict_of_every_kind_stands_first(claim: Claim, truth: dict[str, float], expected: str) -> None:
    of = replace(study(ARMS, claims=(claim,)), answer=(Answer(claim=claim.statement, says="it has {more}"),))
    found = analyse(records(of, dict.fromkeys((*ARMS, "ResNet-8"), 0.8) | truth))
    assert re.fullmatch(expected, found.answer), found.answer
    assert found.answer.startswith(FIRST)
    assert_short(found.answer, of)


SIZES = (500, 5_000, 50_000)
CROSSES = Crosses(leader="ResNet-8", follower="ViT/7", **SAID)
SHRINKS = GapShrinks(leader="ResNet-8", follower="ViT/7", **SAID)


@pytest.mark.parametrize(
    ("claim", "leads", "expected"),
    [
        (
            CROSSES,
            (-0.05, 0.02, 0.05),
            r"Yes, at about \d,\d+ training images: a ViT has [45]\.\d points more .*",
        ),
        (CROSSES, (-0.05, -0.05, -0.05), r"No: a ViT has [45]\.\d points less \[.*\]\."),
        (CROSSES, (0.05, 0.05, 0.05), r"At every point measured: a ViT has [45]\.\d points more \[.*\]\."),
        (CROSSES, (0.05, -0.02, -0.05), r"The other way round: a ViT has [45]\.\d points less \[.*\]\."),
        (CROSSES, (-0.05, -0.02, 0.0), r"Not shown: a ViT has \d\.\d+ points less to \d\.\d+ more\."),
        (replace(CROSSES, seen_at=(1e6, 1e7)), (-0.05, -0.05, -0.05), r"Not within the range measured: a ViT has .*"),
        (SHRINKS, (-0.09, -0.05, -0.01), r"Yes: .* [34]\.\d points less .*"),
        (SHRINKS, (-0.01, -0.05, -0.09), r"No: .* [34]\.\d points more .*"),
    ],
)
def test_answers_along_training_sizes(claim: Claim, leads: tuple[float, ...], expected: str) -> None:
    by_size = dict(zip(SIZES, leads, strict=True))
    marked = (Answer(claim=claim.statement, says="a ViT has {more}"),)
    of = replace(study({"ViT/7": 7.0}, sizes=SIZES, claims=(claim,)), answer=marked)
    found = analyse(records(of, lambda arm, size: 0.8 + by_size[size or 0] * (arm == "ViT/7")))
    assert re.fullmatch(expected, found.answer), found.answer
    assert_short(found.answer, of)


def test_a_crossing_of_what_is_better_lower_is_told_by_who_leads() -> None:
    claim = replace(CROSSES, metric="test_loss")
    marked = (Answer(claim=claim.statement, says="a ViT has {more}"),)
    of = replace(study({"ViT/7": 7.0}, sizes=SIZES, claims=(claim,)), answer=marked)
    for leads, head in ((-0.2, "No: a ViT has "), (0.2, "At every point measured: a ViT has ")):
        made = records(of, dict.fromkeys(("ResNet-8", "ViT/7"), 0.8))
        loss = made.runs["arm"].map({"ResNet-8": 1.0, "ViT/7": 1.0 - leads}) + 0.001 * made.runs["seed"]
        assert analyse(replace(made, runs=made.runs.assign(test_loss=loss))).answer.startswith(head)


def test_a_crossing_that_two_levels_bracket_is_told_by_both() -> None:
    claim = Crosses(leader="ResNet", follower="ViT", along="moved_share", **SAID)
    marked = (Answer(claim=claim.statement, holds="{at}", says="a ViT has {more}"),)
    of = replace(series_study((0.0, 1.0), claims=(claim,)), answer=marked)
    told = analyse(records(of, vit_lead(lambda level, _: 0.1 * level - 0.05))).answer
    assert told.startswith("Between moved share 0 and 1: a ViT has 5.")
    assert_short(told, of)


def test_an_arm_is_compared_with_another_and_its_compute() -> None:
    marked = (Answer(arm="ViT/4", than="ViT/14", says="4 px give {more}, for {cost} the compute"),)
    of = replace(study(ARMS), answer=marked)
    found = analyse(records(of, {"ResNet-8": 0.8, "ViT/14": 0.8, "ViT/7": 0.8, "ViT/4": 0.82}))
    assert re.fullmatch(r"Yes: 4 px give 2\.\d points more \[.*\], for 3\.5 times the compute\.", found.answer)
    assert found.numbers.endswith("Multiply-accumulates per image: ViT/4 250 k; ViT/14 71.4 k.")


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        (Better(**PAIR, **SAID), ("ViT/7 − ViT/14", "points")),
        (
            Better(**PAIR, **SAID, metric="shift_agreement"),
            ("ViT/7 − ViT/14", "points of agreement at the largest shift"),
        ),
        (Equivalent(arm="ViT/7", to="ResNet-8", within=0.01, **SAID), ("ViT/7 − ResNet-8", "points")),
        (Crosses(leader="ResNet-8", follower="ViT/7", **SAID), ("ViT/7 − ResNet-8", "points")),
        (
            GainsMore(arm="ViT/4", start="ViT/7", other="ViT/14", other_start="ResNet-8", **SAID),
            ("(ViT/4 − ViT/7) − (ViT/14 − ResNet-8)", "points"),
        ),
        (Monotone(metric="test_accuracy", along="patch_size", direction="down", **SAID), ("", "points")),
    ],
)
def test_the_effect_of_an_answer_is_a_difference_of_arms_in_a_unit(claim: Claim, told: tuple[str, str]) -> None:
    assert effect_of(replace(study(ARMS), claims=(claim,), answer=())) == told


def test_the_first_claim_answers_where_none_is_marked() -> None:
    claims = (Better(**PAIR, statement="A {smaller} patch helps.", source="a"),)
    assert analyse(records(study(ARMS, claims=claims), dict.fromkeys((*ARMS, "ResNet-8"), 0.8) | UP)).answer == (
        "Yes: a (smaller) patch helps."
    )


def test_scale_smoke_draws_no_conclusion() -> None:
    of = replace(study(ARMS, claims=(Better(**PAIR, **SAID),)), scale="smoke")
    found = analyse(records(of, dict.fromkeys((*ARMS, "ResNet-8"), 0.8) | UP))
    assert (found.answer, found.conclusive, found.best) == (WIRING_TEST, False, "")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"says": "it has {mor}", "arm": "ViT/7"}, "what stands in braces"),
        ({"says": " ", "arm": "ViT/7"}, "says is empty"),
        ({"says": "it has {more}"}, "give one"),
        ({"says": "it has {more}", "arm": "ViT/7", "claim": "It holds"}, "give one"),
        ({"says": "it has {more}", "arm": "ViT/8"}, "No arm is called 'ViT/8'"),
        ({"says": "it has {more}", "arm": "ViT/7", "than": "ViT/7"}, "with itself"),
        ({"says": "it has {more}", "claim": "It hods"}, "no claim states 'It hods'.*It holds"),
    ],
)
def test_an_answer_that_cannot_be_made_is_refused_when_the_study_is_loaded(given: dict[str, str], told: str) -> None:
    of = study(ARMS, claims=(Better(**PAIR, **SAID),))
    names = ("data", "recipe", "baseline", "arms", "claims")
    asked = Study(
        question="Is it?", source="a", factor="f", scales={"laptop": Scale(**{n: getattr(of, n) for n in names})}
    )
    with pytest.raises(InvalidInput, match=told):
        replace(asked, answer=(Answer(**given),)).resolve("mine", "laptop")
    with pytest.raises(InvalidInput, match="two are the most"):
        replace(asked, answer=3 * (Answer(says="it has {more}", arm="ViT/7"),)).resolve("mine", "laptop")


def test_an_answer_that_fits_no_more_gives_way_to_the_first_claim() -> None:
    of = replace(study(ARMS, claims=(Better(**PAIR, **SAID),)), answer=(Answer(says="it has {more}", arm="ViT/8"),))
    assert analyse(records(of, dict.fromkeys((*ARMS, "ResNet-8"), 0.8) | UP)).answer == "Yes: it holds."


def test_what_was_kept_before_answers_were_marked_has_that_of_the_shipped_study() -> None:
    kept = load_records(next(path for path in RESULTS if path.parts[-3] == "patch_size").parent)
    before = replace(kept, study=replace(kept.study, answer=()))
    marked = replace(kept, study=replace(kept.study, answer=shipped("patch_size", "laptop").answer))
    assert analyse(before).answer == analyse(marked).answer


def test_the_answer_of_a_shipped_study_is_worded_as_it_is_today() -> None:
    """Where it speaks of arms or claims that the kept study has not, it is the one that this was run with."""
    today = shipped("patch_size", "laptop")
    own = (Answer(arm="ViT/4", than="ViT/7", says="4 px give {more}"),)
    before = replace(today, answer=own)
    assert marked_answers(before)[0] == today.answer != own
    assert reworded(before).startswith("What answers the question was chosen, or put into other words, after")
    assert (reworded(today), reworded(replace(today, answer=()))) == ("", "")
    others = replace(before, arms=tuple(replace(arm, name=f"{arm.name}'") for arm in today.arms if arm.against is None))
    assert marked_answers(replace(others, claims=(), answer=()))[0] == ()
