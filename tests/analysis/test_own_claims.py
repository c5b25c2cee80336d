"""Claims of a study file's own kind: by the same door as the shipped ones, and harmless whatever they do."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from simulate import records, study

from harness.analysis import analyse
from harness.analysis.evidence import evidence_of
from harness.analysis.judging import KEY, own_verdicts
from harness.records.run_table import StudyRecords
from harness.spec import Better, Claim, Estimate, InvalidInput, Judgement, ResolvedStudy, to_plain
from harness.spec.claims import KeptClaim

SAID = {"statement": "Patches of 7 are better.", "source": "a test"}
ACCURACY = {"ResNet-8": 0.9, "ViT/14": 0.8, "ViT/7": 0.85}


@dataclass(frozen=True, kw_only=True)
class Gains(Claim):
    """ViT/7 gains on ViT/14, by the harness' own contrast."""

    margin: float = 0.0
    metric: str = "test_accuracy"

    def judge(self, tables: Any, rng: np.random.Generator) -> Estimate:
        return tables.difference("ViT/7", "ViT/14")


@dataclass(frozen=True, kw_only=True)
class Says(Claim):
    """Gives back whatever it is told to."""

    number: int

    def judge(self, tables: Any, rng: np.random.Generator) -> Any:
        return GIVEN[self.number]


class Draws(Claim):
    def judge(self, tables: Any, rng: np.random.Generator) -> Estimate:
        value = float(rng.random())
        return Estimate(value, value - 0.1, value + 0.1)


class Spoils(Claim):
    def judge(self, tables: Any, rng: np.random.Generator) -> Judgement:
        runs, curves = tables.runs, tables.curves
        runs["test_accuracy"] = 0.0
        curves["arm"] = "none"
        raise SystemExit("enough\nof it")


GIVEN: list[Any] = [
    Estimate(math.nan, 0.1, 0.2),
    Estimate(0.1, 0.2, math.inf),
    Estimate(0.1, 0.2, 0.0),
    Estimate("a", 0.1, 0.2),  # type: ignore[arg-type]
    0.3,
    None,
    Judgement(verdict="maybe", reason="So it seems."),  # type: ignore[arg-type]
    Judgement(verdict="reproduced", reason="So it seems.", ci_low=2.0, ci_high=1.0),
    Judgement(verdict="reproduced", reason=3),  # type: ignore[arg-type]
]


def of(*claims: Claim) -> StudyRecords:
    return records(study(claims=claims), ACCURACY)


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_decide_nothing(seeds: int) -> None:
    claims = (Gains(**SAID), Better(**SAID, arm="ViT/7", than="ViT/14"))
    found = analyse(records(study(claims=claims, seeds=seeds), ACCURACY)).claims
    assert list(found["verdict"]) == ["inconclusive", "inconclusive"]
    assert found["reason"].str.contains(f"{seeds} of at least 3 seeds planned").all()


def test_an_estimate_is_judged_against_the_margin_like_a_shipped_claim() -> None:
    shipped = Better(**SAID, arm="ViT/7", than="ViT/14")
    found = analyse(of(shipped, Gains(**SAID), Gains(**SAID, margin=0.05), Gains(**SAID, margin=0.2))).claims
    numbers = ["estimate", "ci_low", "ci_high"]
    assert list(found["claim"]) == ["better-1", "Gains-2", "Gains-3", "Gains-4"]
    assert list(found["verdict"]) == ["reproduced", "reproduced", "inconclusive", "contradicted"]
    assert found.loc[0, numbers].tolist() == found.loc[1, numbers].tolist()
    assert "points [" in found["reason"][1]
    assert found["reason"][1].endswith(": above 0. Judged by the study file's own class Gains.")


def test_a_judgement_stands_as_it_is() -> None:
    GIVEN.append(Judgement(verdict="contradicted", reason="It is so.", estimate=2.0))
    (row,) = analyse(of(Says(**SAID, number=len(GIVEN) - 1))).claims.to_dict("records")
    assert (row["verdict"], row["estimate"]) == ("contradicted", 2.0)
    assert row["reason"] == "It is so. Judged by the study file's own class Says."


@pytest.mark.parametrize("number", range(9))
def test_nonsense_is_inconclusive_and_told(number: int) -> None:
    (row,) = analyse(of(Says(**SAID, number=number))).claims.to_dict("records")
    assert (row["verdict"], math.isnan(row["estimate"])) == ("inconclusive", True)
    assert row["reason"].startswith("What Says.judge gave cannot be used: ")


def test_a_claim_that_fails_spoils_nothing_and_says_where() -> None:
    claims = analyse(of(Spoils(**SAID), Gains(**SAID))).claims
    assert list(claims["verdict"]) == ["inconclusive", "reproduced"]
    assert claims["reason"][0].startswith(
        "Spoils.judge failed with SystemExit: enough of it (test_own_claims.py, line "
    )


def test_each_claim_draws_from_a_generator_of_its_own() -> None:
    first, other = Draws(**SAID), Draws(statement="Another.", source="a test")
    both = analyse(of(first, other)).claims
    alone = analyse(of(other)).claims
    assert both["estimate"][0] != both["estimate"][1] == alone["estimate"][0]


def test_runs_without_a_result_are_told() -> None:
    def diverged(row: dict[str, Any]) -> dict[str, Any]:
        return row | ({"status": "diverged"} if row["arm"] == "ViT/7" and row["seed"] == 1 else {})

    kept = records(study(claims=(Gains(**SAID),)), ACCURACY, changes=diverged)
    (row,) = analyse(kept).claims.to_dict("records")
    assert row["reason"].endswith(" 1 planned run of these arms had no result then.")


def as_kept(of: StudyRecords) -> StudyRecords:
    """As results are read back, without the study's file."""
    common = ("statement", "source", "conditions", "type")
    plain = [to_plain(claim) for claim in of.study.claims]
    claims = tuple(
        KeptClaim(
            **{name: claim[name] for name in common},
            fields={name: value for name, value in claim.items() if name not in common},
        )
        for claim in plain
    )
    return replace(of, study=replace(of.study, claims=claims))


def test_a_kept_verdict_is_the_one_that_was_given_and_is_of_the_same_runs() -> None:
    live = of(Gains(**SAID), Spoils(**SAID))
    kept = replace(as_kept(live), provenance={KEY: own_verdicts(evidence_of(live))})
    assert analyse(kept).claims.equals(analyse(live).claims)
    fewer = replace(kept, runs=kept.runs.iloc[1:])
    assert all("it was judged on other runs" in reason.lower() for reason in analyse(fewer).claims["reason"])
    assert "only the study's file can judge it" in analyse(as_kept(live)).claims["reason"][0].lower()


@pytest.mark.parametrize("spoilt", [{KEY: 3}, {KEY: [{}]}, {KEY: [{"claim": None}, "x"]}])
def test_a_spoilt_verdict_is_told(spoilt: dict[str, Any]) -> None:
    found = analyse(replace(as_kept(of(Gains(**SAID))), provenance=spoilt)).claims
    assert list(found["verdict"]) == ["inconclusive"]
    assert "cannot be read" in found["reason"][0]


class NoJudge(Claim):
    pass


@dataclass(frozen=True, kw_only=True)
class Unkept(Claim):
    what: Any

    def judge(self, tables: Any, rng: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Names(Claim):
    @property
    def arm_names(self) -> tuple[str, ...]:
        return ("ViT/70",)

    def judge(self, tables: Any, rng: Any) -> Any: ...


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (NoJudge(**SAID), "NoJudge has no judge"),
        (Unkept(**SAID, what=object()), "cannot be kept in study.json"),
        (Names(**SAID), "No arm is called 'ViT/70'. Did you mean"),
    ],
)
def test_what_cannot_be_judged_or_kept_is_refused_when_the_study_is_made(claim: Claim, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        study(claims=(claim,))


def test_a_claim_of_ones_own_is_checked_like_any_other() -> None:
    with pytest.raises(InvalidInput, match=r"Gains\.statement is empty"):
        Gains(statement=" ", source="a test")
    with pytest.raises(InvalidInput, match=r"Gains\.metric is 'accuracy'"):
        Gains(**SAID, metric="accuracy")
    assert isinstance(study(claims=(Gains(**SAID),)), ResolvedStudy)
