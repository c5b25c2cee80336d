"""The wall clock is set while a study runs: nothing waits by it, and nothing but times differs."""

from typing import Any

import pytest
from small_study import FaultStudy
from what_is_kept import differences


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "place"), [("inline", "begin:checkpoint.pt#5"), ("processes", "signed:lock")])
def test_a_jump_of_ten_years_changes_nothing(
    study: FaultStudy, undisturbed: dict[str, Any], engine: str, place: str
) -> None:
    study.finish(engine=engine, failpoint=f"{place}=clock")
    assert differences(undisturbed, study.kept()) == []
    assert study.provenance()["wall_seconds"] < 1000
