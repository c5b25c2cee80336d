"""Claims as they are asked and kept: their kind, their type, where a source saw a crossing; files of version 0.1."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.records.files import RecordsError
from harness.records.study_file import read_study, write_study
from harness.spec import (
    SCALES,
    Better,
    Claim,
    CostGrows,
    Crosses,
    Equivalent,
    InvalidInput,
    ResolvedStudy,
    find_study,
    study_names,
    to_plain,
)
from harness.spec.claims import EXACT, SHIPPED, KeptClaim

SAID: dict[str, Any] = {"statement": "It holds.", "source": "a paper"}
PAIR: dict[str, Any] = {"leader": "ResNet-8", "follower": "ViT/4", **SAID}


@dataclass(frozen=True, kw_only=True)
class Gains(Claim):
    """A type of a study file's own."""

    metric: str = "test_accuracy"

    def judge(self, tables: Any, rng: Any) -> Any: ...


def resolved(*claims: Claim) -> ResolvedStudy:
    return replace(find_study("patch_size")[1].resolve("patch_size", "laptop"), claims=claims)


CLAIMS = (
    Better(**SAID, arm="ViT/4", than="ResNet-8"),
    Better(**SAID, arm="ViT/4", than="ResNet-8", kind="hypothesis"),
    CostGrows(**SAID, along="patch_size", direction="down"),
    CostGrows(**SAID, along="patch_size", direction="up", metric="train_images_per_second", kind="hypothesis"),
    Gains(**SAID, kind="hypothesis"),
    Gains(**SAID, metric="params"),
    Gains(**SAID),
)


@pytest.mark.parametrize("metric", EXACT)
def test_exact_costs_are_arithmetic_by_themselves(metric: str) -> None:
    grows = CostGrows(**SAID, along="patch_size", direction="down", metric=metric)
    assert grows.kind == Better(**SAID, arm="a", than="b", metric=metric).kind == "arithmetic"
    assert replace(grows, metric="train_seconds", kind="paper").kind == "paper"


def test_nothing_else_of_the_shipped_types_is() -> None:
    with pytest.raises(InvalidInput, match=r"Better\.kind is 'arithmetic', which is for exact costs \(params, .*'hypo"):
        Better(**SAID, arm="a", than="b", kind="arithmetic")
    with pytest.raises(InvalidInput, match=r"Better\.kind is 'own' \(str\); it must be one of 'paper', 'hypothesis'"):
        Better(**SAID, arm="a", than="b", kind="own")  # type: ignore[arg-type]


def test_where_a_crossing_was_seen_is_a_range() -> None:
    assert Crosses(**PAIR, seen_at=(9, 90)).seen_at == (9.0, 90.0)  # whole numbers will do
    for wrong in ((90.0, 9.0), (9.0,), (9.0, 90.0, 900.0)):
        with pytest.raises(InvalidInput, match=r"Crosses\.seen_at is .* two numbers, the smaller one first"):
            Crosses(**PAIR, seen_at=wrong)  # type: ignore[arg-type]
    for wrong in (9e6, ("a", "b"), (9.0, float("inf"))):
        with pytest.raises(InvalidInput, match=r"Crosses\.seen_at is"):
            Crosses(**PAIR, seen_at=wrong)  # type: ignore[arg-type]


def test_claims_come_back_as_they_were_kept(tmp_path: Path) -> None:
    claims = (*CLAIMS, Crosses(**PAIR, seen_at=(9e6, 90e6)))
    sized = replace(resolved(), train_sizes=(250, 1500), claims=claims)
    write_study(tmp_path, sized, {})
    back = read_study(tmp_path)[0].claims
    assert to_plain(back) == to_plain(claims)
    assert [claim.kind for claim in back] == [claim.kind for claim in claims]
    assert [type(claim) for claim in back if type(claim) in SHIPPED] == [Better, Better, CostGrows, CostGrows, Crosses]


def test_a_study_of_version_0_1_is_read(tmp_path: Path) -> None:
    """Its claims have the name of their type as `kind`, and are a paper's unless they are about exact costs."""
    write_study(tmp_path, resolved(*CLAIMS), {})
    path = tmp_path / "study.json"
    content = json.loads(path.read_text())
    for claim in content["study"]["claims"]:
        claim["kind"] = claim.pop("type")
    path.write_text(json.dumps(content))
    back = read_study(tmp_path)[0].claims
    kinds = ["paper", "paper", "arithmetic", "paper", "paper", "arithmetic", "paper"]
    assert [claim.kind for claim in back] == kinds
    assert [claim.type for claim in back] == ["better", "better", "cost_grows", "cost_grows", *["Gains"] * 3]
    assert back[0] == CLAIMS[0]
    assert isinstance(back[4], KeptClaim)


@pytest.mark.parametrize("kind", ["own", 3, None])
def test_a_kind_that_is_none_is_refused_with_the_file(tmp_path: Path, kind: Any) -> None:
    write_study(tmp_path, resolved(*CLAIMS), {})
    path = tmp_path / "study.json"
    content = json.loads(path.read_text())
    for place in (0, 4):
        changed = json.loads(json.dumps(content))
        changed["study"]["claims"][place]["kind"] = kind
        path.write_text(json.dumps(changed))
        with pytest.raises(RecordsError, match="Could not read"):
            read_study(tmp_path)


def test_what_is_neutral_is_not_kept() -> None:
    assert "kind" not in to_plain(CLAIMS[0])
    assert "seen_at" not in to_plain(Crosses(**PAIR))


def test_shipped_claims_say_whose_they_are() -> None:
    shipped = {
        (name, claim.statement): claim
        for name in study_names()
        for scale in SCALES
        for claim in find_study(name)[1].resolve(name, scale).claims
    }
    for (name, _), claim in shipped.items():
        if "our own hypothesis" in claim.source or "not stated as a finding" in claim.source:
            assert claim.kind == "hypothesis", name
        if claim.kind == "paper" and "the crossing lies" in claim.conditions:
            assert isinstance(claim, Crosses)
            assert claim.seen_at == (9e6, 90e6)
    kinds = [claim.kind for claim in shipped.values()]
    assert min(kinds.count(kind) for kind in ("hypothesis", "arithmetic")) >= 4
    assert kinds.count("paper") > len(kinds) / 2
    assert {type(claim) for claim in shipped.values()} >= {Equivalent, Crosses}
