"""Reports and records that many tests read, made once."""

import pytest
from report_cases import CASES

from harness.report import write_report


@pytest.fixture(scope="session", params=sorted(CASES))
def case(request):
    """Records and findings of each simulated study in turn."""
    return CASES[request.param]()


@pytest.fixture(scope="session", params=["gaps", "nothing", "odd_names", "one_arm", "thirty_long", "two_factors"])
def written(request, tmp_path_factory):
    """The folder of a report."""
    folder = tmp_path_factory.mktemp("report")
    write_report(*CASES[request.param](), folder)
    return folder
