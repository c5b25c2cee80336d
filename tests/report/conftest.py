"""Reports and records that many tests read, made once."""

import pytest
from figure_texts import PIXEL
from report_cases import CASES

from harness.report import content, write_report


@pytest.fixture(scope="session", params=sorted(CASES))
def case(request):
    """Records and findings of each simulated study in turn."""
    return CASES[request.param]()


@pytest.fixture(scope="session", params=["gaps", "nothing", "odd_names", "thirty_long", "two_factors"])
def written(request, tmp_path_factory):
    """The folder of a report."""
    folder = tmp_path_factory.mktemp("report")
    write_report(*CASES[request.param](), folder)
    return folder


@pytest.fixture
def words(monkeypatch):
    """Figures are laid out and described, and their files hold a pixel: making those takes most of a report's time."""
    monkeypatch.setattr(content, "png", lambda figure, **_: PIXEL)


@pytest.fixture
def main_figure_alone(words, monkeypatch):
    """Of the figures the first alone is laid out, for tests of what stands beside them."""
    every = content.drawn
    monkeypatch.setattr(content, "drawn", lambda view: every(view, most=1))
