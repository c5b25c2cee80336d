"""The one error that a user can cause, and the one way to check for it."""

import math


class InvalidInput(ValueError):
    """Something the user can mend: the message names the value, the rule and what would be valid.

    The command line prints it without a traceback and exits with 2.
    """


def require(condition: bool, message: str) -> None:
    """Raise `InvalidInput(message)` unless `condition` holds."""
    if not condition:
        raise InvalidInput(message)


def require_choice(field: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse a value that is not one of `choices`, listing them."""
    if value not in choices:
        raise InvalidInput(f"{field} is {value!r}; it must be one of {', '.join(map(repr, choices))}.")


def require_within(field: str, value: float, low: float, high: float = float("inf"), *, open_low: bool = False) -> None:
    """Refuse a number outside [low, high] (or (low, high] with `open_low`); NaN and infinity are always outside."""
    inside = (low < value if open_low else low <= value) and value <= high and math.isfinite(value)
    if not inside:
        least = f"be above {low:g}" if open_low else f"be {low:g} or more"
        limits = f"lie in {'(' if open_low else '['}{low:g}, {high:g}]" if math.isfinite(high) else least
        finite = "" if math.isfinite(value) else " and finite"
        raise InvalidInput(f"{field} is {value}; it must {limits}{finite}.")
