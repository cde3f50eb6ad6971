"""Money as integer nano-dollars: 1 USD = 1,000,000,000 nano."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

NANO_PER_USD = 1_000_000_000
_NANO = Decimal(NANO_PER_USD)
_ONE = Decimal(1)


def to_nano(usd: Decimal) -> int:
    """Nano-dollars of a USD amount, rounded half-even. Round once per attempt, and only here."""
    return int((usd * _NANO).quantize(_ONE, rounding=ROUND_HALF_EVEN))


def to_usd(nano: int) -> Decimal:
    """Exact USD amount of nano-dollars."""
    return Decimal(nano).scaleb(-9)


def usd_text(nano: int) -> str:
    """USD with nine decimals, as in ``0.000123450``: readable, exact, and safe in JSON."""
    sign, digits = ("-", -nano) if nano < 0 else ("", nano)
    return f"{sign}{digits // NANO_PER_USD}.{digits % NANO_PER_USD:09d}"


def parse_usd(text: str) -> int:
    """Nano-dollars of a text that ``usd_text`` wrote, or that a person did.

    Raises:
        ValueError: not a finite number.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"not an amount of money: {text!r}") from error
    if not amount.is_finite():
        raise ValueError(f"not an amount of money: {text!r}")
    return to_nano(amount)
