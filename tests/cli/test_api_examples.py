"""The examples in the docstrings of the Python interface."""

import doctest

import pytest

from harness import api


@pytest.mark.usefixtures("records_only")
@pytest.mark.parametrize(
    "example",
    [test for test in doctest.DocTestFinder(exclude_empty=True).find(api) if test.examples],
    ids=lambda test: test.name,
)
def test_examples_of_the_docstrings_hold(
    example: doctest.DocTest, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.chdir(pytestconfig.rootpath)  # results/ lies there
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    said: list[str] = []
    runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_every_public_name_has_an_example() -> None:
    with_examples = {test.name.split(".")[2] for test in doctest.DocTestFinder().find(api) if test.examples}
    assert {"Report", "load_study", "results", "run"} <= with_examples
