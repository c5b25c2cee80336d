"""The one helper for numbers with their nouns."""

import pytest

from harness.spec.formats import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "image", "1 image"),
        (0, "class folder", "0 class folders"),
        (2_000, "training image", "2,000 training images"),
        (1, "class", "1 class"),
        (3, "class", "3 classes"),
        (2, "batch", "2 batches"),
        (2, "study", "2 studies"),
        (2, "day", "2 days"),
    ],
)
def test_a_number_and_its_noun(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
