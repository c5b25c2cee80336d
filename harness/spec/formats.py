"""Numbers as a reader meets them: one form per quantity, the same on pages, in figures, in sentences and consoles."""

import math
from collections.abc import Iterable
from typing import Any

MINUS = "\u2212"  # stands before negative numbers in every text; data files keep the hyphen
NONE = "–"  # stands where there is no number
_MAGNITUDES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: Any) -> float | None:
    """A float, or None for what is missing, NaN or infinite."""
    try:
        result = float(value)
    except (TypeError, ValueError):  # None and pandas' NA
        return None
    return result if math.isfinite(result) else None


def percent(value: Any, digits: int = 2) -> str:
    """A fraction in percent: `91.27%`."""
    fraction = number(value)
    return NONE if fraction is None else f"{_signed(100 * fraction, f'.{digits}f')}%"


def percent_interval(value: Any, low: Any, high: Any) -> str:
    """A fraction with its interval in percent: `91.27% [90.81, 91.69]`; without brackets where it has none."""
    return with_interval(percent(value), percent(low).removesuffix("%"), percent(high).removesuffix("%"))


def points(value: Any, digits: int = 2) -> str:
    """A difference of fractions in percentage points, signed: `+1.23`."""
    fraction = number(value)
    return NONE if fraction is None else _signed(100 * fraction, f"+.{digits}f")


def points_interval(value: Any, low: Any, high: Any) -> str:
    """A difference with its interval in points: `+1.23 [+0.40, +2.06]`."""
    return with_interval(points(value), points(low), points(high))


def points_range(values: Iterable[Any]) -> str:
    """From the least to the greatest of differences that have no sign: `0.35 to 0.62`; empty where none is known."""
    found = sorted(fraction for fraction in map(number, values) if fraction is not None)
    return " to ".join(dict.fromkeys(f"{100 * end:.2f}" for end in (*found[:1], *found[-1:])))


def with_interval(text: str, low: str, high: str) -> str:
    """A number and its bounds, all in words; the number alone where one of them is missing."""
    return text if NONE in (text, low, high) else f"{text} [{low}, {high}]"


def count(value: Any) -> str:
    """A whole number with thousands separators: `60,000`."""
    whole = number(value)
    return NONE if whole is None else _signed(round(whole), ",")


def magnitude(value: Any) -> str:
    """Three significant digits and a prefix: `950`, `12.3 M`, `4.60 G` (parameters, multiply-accumulates)."""
    amount = number(value) or 0.0
    for size, prefix in _MAGNITUDES:
        if abs(amount) >= size * 0.9995:  # 999.6 M is 1.00 G, not 1000 M
            return f"{_three_digits(amount / size)} {prefix}"
    return count(value)


def memory(value: Any) -> str:
    """Bytes in MiB, from one GiB on in GiB: `512 MiB`, `1.46 GiB`."""
    size = number(value)
    if size is None:
        return NONE
    power, unit = (30, "GiB") if abs(size) >= 2**30 else (20, "MiB")
    return f"{_three_digits(size / 2**power)} {unit}"


def duration(seconds: Any) -> str:
    """`4.2 s`, `59 s`, `1 min 23 s`, `2 h 03 min` or `5 days 04 h`."""
    known = number(seconds)
    if known is None:
        return NONE
    if known < 9.95:
        return f"{known:.1f}".removesuffix(".0") + " s"
    whole = round(known)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400:,} days {whole % 86400 // 3600:02d} h"


def p_value(value: Any) -> str:
    """A p value with three decimals: `0.012`, `< 0.001`."""
    p = number(value)
    return NONE if p is None else "< 0.001" if p < 0.0005 else f"{p:.3f}"


def p_told(value: Any) -> str:
    """The same in a sentence: `p = 0.012`, `p < 0.001`."""
    told = p_value(value)
    return f"p {told}" if told.startswith("<") else f"p = {told}"


def confidence(level: float) -> str:
    """A confidence level, with two digits of its error: `96%`, `98.5%`, `99.67%`."""
    return f"{100 - float(f'{100 * (1 - level):.2g}'):.10g}%"


def plain(value: Any, digits: int = 3) -> str:
    """A number with some significant digits and a true minus sign: levels, fitted parameters, settings."""
    if isinstance(value, bool | str):
        return str(value)
    return NONE if number(value) is None else f"{float(value):.{digits}g}".replace("-", MINUS)


def words(name: str) -> str:
    """A field's name for people: `patch_size` is `patch size`."""
    return name.replace("_", " ")


def _signed(value: float, form: str) -> str:
    text = f"{value:{form}}"
    if float(text.replace(",", "")) == 0:  # neither +0.00 nor -0.00: a zero has no sign
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def _three_digits(value: float) -> str:
    return _signed(value, ".0f" if abs(value) >= 99.95 else ".1f" if abs(value) >= 9.995 else ".2f")


def counted(number: Any, noun: str) -> str:
    """`1 image`, `2,000 images`, `3 classes`, `0 seeds`: the number with thousands separators and its noun."""
    return f"{count(number)} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a regular noun."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
