"""Amounts as a report writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from promptmill.domain.money import NANO_PER_USD

NOTHING = "\N{EN DASH}"
"""Stands where there is no figure."""

_MANY = 10_000
_UNITS_S = ((86_400, "days"), (3_600, "h"), (60, "min"))
_S = 1_000


def dollars(nano: int, decimals: int = 2) -> str:
    """Write an amount with that many decimals, and below a cent with two digits that are not 0, as ``$0.00012``."""
    if 0 < nano < NANO_PER_USD // 100:
        decimals = max(decimals, 11 - len(str(nano)))
    return f"${_rounded(nano, min(decimals, 9))}"


def amount(nano: int) -> str:
    """Write an amount for a column of a table: six decimals, so that those below each other stand by place."""
    return _rounded(nano, 6)


def _rounded(nano: int, decimals: int) -> str:
    unit = 10 ** (9 - decimals)
    whole, rest = divmod((nano + unit // 2) // unit, 10**decimals)
    return f"{whole:,}.{rest:0{decimals}d}" if decimals else f"{whole:,}"


def count_of(number: int, thing: str) -> str:
    """Write a number of things, as ``1 record`` or ``12 records``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def percent(part: int, whole: int) -> str:
    """Write a share. Two decimals say something from ten thousand on only, and 100.0% is said of nothing less."""
    if not whole:
        return NOTHING
    decimals = 2 if whole >= _MANY else 1
    share = 100 * part / whole
    if part < whole and round(share, decimals) >= 100:  # noqa: PLR2004
        share = 100 - 10.0**-decimals
    return f"{share:.{decimals}f}%"


def milliseconds(ms: float) -> str:
    """Write a latency, as ``312 ms``, ``1.24 s`` or ``2.5 min``."""
    if ms < _S:
        return f"{ms:.0f} ms"
    return f"{ms / _S:.3g} s" if ms < 60 * _S else duration(round(ms / _S))


def duration(seconds: int) -> str:
    """Write a duration in its largest unit, as ``3.4 h``."""
    for length, unit in _UNITS_S:
        if seconds >= length:
            return f"{seconds / length:.1f}".removesuffix(".0") + f" {unit}"
    return f"{max(1, seconds)} s"


def clock_time(moment_s: int, step_s: int) -> str:
    """Write a moment in UTC as exactly as steps of that length need it."""
    moment = datetime.fromtimestamp(moment_s, UTC)
    if step_s >= _UNITS_S[0][0]:
        return moment.strftime("%d %b")
    return moment.strftime("%H:%M:%S" if step_s < 60 else "%H:%M")  # noqa: PLR2004


def day_and_time(moment_s: int) -> str:
    """Write a moment in UTC with its day, as ``27 Nov 2026, 10:00``."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%d %b %Y, %H:%M")
