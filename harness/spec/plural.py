"""Numbers with their nouns, for every message."""

from typing import Any

from harness.spec.formats import count


def counted(number: Any, noun: str) -> str:
    """`1 image`, `2,000 images`, `3 classes`, `0 seeds`: the number with thousands separators and its noun."""
    return f"{count(number)} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a regular noun."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
