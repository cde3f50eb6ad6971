"""Read the limits that the headers of a reply tell.

Providers agree neither on names nor on units. Most call a header ``x-ratelimit-limit-requests``, some put the period
into the name, Anthropic has names of its own, and the IETF's draft lists quotas in one header. A name that does not say
its period counts minutes, unless its host is known to mean something else or its reset is further away.

A gateway may pass on the headers of the service behind it. So of some hosts only their own names are believed, and
names with a prefix, such as ``llm_provider-x-ratelimit-limit-requests``, are nobody's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from promptmill.domain.limits import Counted, ToldLimit

SECOND, MINUTE, HOUR, DAY, MONTH = 1.0, 60.0, 3600.0, 86_400.0, 30 * 86_400.0
_PERIODS = {"second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY, "month": MONTH}

MAX_LIMIT = 10**12
"""A larger number is no limit that anybody has."""

LATE = 1.1
"""A reset that is further away than so many periods is not that of the limit."""

MAX_MISTAKE_S = 600.0
"""Up to here, a reset that fits no period is a mistake: OpenAI's own documentation shows six minutes."""

_Part = Literal["limit", "remaining", "reset"]
_Family = Literal["anthropic", "named", "plain", "draft"]


class _Host(Struct, frozen=True):
    """What is odd about the headers of one host: the families that are its own, and periods that names do not say."""

    families: frozenset[_Family] = frozenset({"anthropic", "named", "plain", "draft"})
    plain_s: float = MINUTE
    requests_s: float = MINUTE


_HOSTS: Mapping[str, _Host] = {
    "anthropic.com": _Host(frozenset({"anthropic"})),
    "cloudflare.com": _Host(frozenset({"draft"})),
    "groq.com": _Host(frozenset({"named"}), requests_s=DAY),
    "openai.com": _Host(frozenset({"named"})),
    "openrouter.ai": _Host(frozenset({"plain"})),  # others' names are of the provider that it asked
    "together.ai": _Host(plain_s=SECOND),
    "together.xyz": _Host(plain_s=SECOND),
}
_ANY = _Host()


class _Meaning(Struct, frozen=True):
    """What one header tells: a part of one limit, which ``group`` names. ``period_s`` is 0 where the name does not say."""

    family: _Family
    part: _Part
    counted: Counted
    group: str
    period_s: float = 0.0


def told_limits(headers: Mapping[str, str], *, url: str) -> tuple[ToldLimit, ...]:
    """Return the limits that a reply tells: at most one of each kind, the tightest. Nothing in it can raise."""
    found: dict[str, dict[_Part, str]] = {}
    meanings: dict[str, _Meaning] = {}
    lists: list[tuple[str, str]] = []
    for name, value in headers.items():
        meaning = _meaning_of(name)
        if meaning is None:
            continue
        if isinstance(meaning, str):
            lists.append((meaning, value))
        else:
            meanings[meaning.group] = meaning
            found.setdefault(meaning.group, {})[meaning.part] = value
    if not found and not lists:
        return ()
    host, date = _host_of(url), headers.get("date", "")
    limits = [
        limit
        for group, parts in found.items()
        if meanings[group].family in host.families and (limit := _limit(meanings[group], parts, host, date))
    ]
    if lists and "draft" in host.families:
        limits += _read_draft(lists)
    return _tightest(limits)


def with_headers_of(raw: Any, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers with those that the body of a refusal repeats: OpenRouter sends its own only there."""
    for name in ("error", "metadata", "headers"):
        raw = raw.get(name) if isinstance(raw, dict) else None
    if not isinstance(raw, dict):
        return headers
    told = {str(name).lower(): value for name, value in raw.items() if isinstance(value, str)}
    return {name.lower(): value for name, value in headers.items()} | told


def _tightest(limits: Iterable[ToldLimit]) -> tuple[ToldLimit, ...]:
    """Return one limit of each kind: a pace before one of a longer period, and of several the lowest."""
    chosen: dict[Counted, ToldLimit] = {}
    for limit in limits:
        other = chosen.get(limit.counted)
        if other is None or (not limit.is_pace, limit.per_s) < (not other.is_pace, other.per_s):
            chosen[limit.counted] = limit
    return tuple(chosen.values())


@lru_cache(maxsize=32)
def _host_of(url: str) -> _Host:
    name = (urlsplit(url).hostname or "").lower()
    return next((host for known, host in _HOSTS.items() if name == known or name.endswith("." + known)), _ANY)


def _limit(meaning: _Meaning, parts: Mapping[_Part, str], host: _Host, date: str) -> ToldLimit | None:
    whole = _count(parts.get("limit", ""))
    if not whole:  # 0 stands for no quota at all or for none that is told: neither is a pace
        return None
    remaining, reset_s = _count(parts.get("remaining", "")), seconds_until(parts.get("reset", ""), date=date)
    if remaining is not None and remaining > whole:
        return None  # these headers are not about one limit
    period_s = meaning.period_s or _period(meaning, host, whole, remaining, reset_s)
    if reset_s is not None and reset_s > period_s * LATE:
        reset_s = None
    return ToldLimit(meaning.counted, whole, period_s, remaining, reset_s)


def _period(meaning: _Meaning, host: _Host, limit: int, remaining: int | None, reset_s: float | None) -> float:
    """Return the period of a limit whose name does not say it."""
    usual = host.plain_s if meaning.family == "plain" else MINUTE
    if meaning.family == "named" and meaning.counted == "requests":
        usual = host.requests_s
    if reset_s is None or reset_s <= max(usual, MINUTE):
        return usual
    # It is not full again within its usual period, so it has a longer one: of a bucket that fills evenly, what is
    # missing says which one; of a window, the reset is at most one period away.
    used = limit - (remaining or 0)
    filled_in_s = reset_s * limit / used if used and remaining is not None else 0.0
    for period in (HOUR, DAY, MONTH):
        if abs(filled_in_s - period) <= period / 10:
            return period
    if meaning.family == "named" and reset_s <= MAX_MISTAKE_S:
        return usual
    return next((period for period in (HOUR, DAY, MONTH) if reset_s <= period), MONTH)


_WORDS: Mapping[str, Counted | None] = {
    "requests": "requests",
    "req": "requests",
    "tokens": "tokens",
    "input": "input_tokens",
    "prompt": "input_tokens",
    "output": "output_tokens",
    "generated": "output_tokens",
    "completion": "output_tokens",
    "project": None,
    "cache": None,
    "adjusted": None,
}
_NAMED = re.compile(r"(?:x-)?ratelimit-(limit|remaining|reset)-([a-z-]+)")
_PLAIN = re.compile(r"(x-ratelimit|ratelimit|x-tokenlimit)-(limit|remaining|reset)")
_ANTHROPIC = re.compile(r"anthropic-ratelimit-(requests|tokens|input-tokens|output-tokens)-(limit|remaining|reset)")
_BY_SIZE = re.compile(r"(?:x-)?ratelimitbysize-(limit|remaining|reset)(?:-(minute|month))?")
_LISTS = ("ratelimit", "ratelimit-policy")


@lru_cache(maxsize=512)
def _meaning_of(name: str) -> _Meaning | str | None:
    """Return what a header tells, the name of a list of the IETF's draft, or None."""
    name = name.lower()
    if name in _LISTS:
        return name
    if match := _ANTHROPIC.fullmatch(name):
        counted: Any = match[1].replace("-", "_")
        return _Meaning("anthropic", _part(match[2]), counted, "anthropic-" + match[1])
    if match := _BY_SIZE.fullmatch(name):
        return _Meaning("named", _part(match[1]), "tokens", f"size-{match[2]}", _PERIODS[match[2] or "minute"])
    if match := _PLAIN.fullmatch(name):
        return _Meaning("plain", _part(match[2]), "tokens" if "token" in match[1] else "requests", match[1])
    match = _NAMED.fullmatch(name)
    return _named(_part(match[1]), match[2]) if match else None


def _named(part: _Part, rest: str) -> _Meaning | None:
    counted: Counted | None = None
    period_s = 0.0
    for word in rest.split("-"):
        if word in _PERIODS:
            period_s = _PERIODS[word]
        elif word not in _WORDS:
            return None  # audio, images, or what else is counted there
        elif (kind := _WORDS[word]) is not None and (counted is None or counted == "tokens"):
            counted = kind
        elif kind not in (None, "tokens"):
            return None
    return _Meaning("named", part, counted, rest, period_s) if counted else None


def _part(word: str) -> _Part:
    return "limit" if word == "limit" else "remaining" if word == "remaining" else "reset"


_COUNT = re.compile(r"\s*(\d{1,15})(?:\.\d{1,6})?\s*(?:[,;].*)?")


def _count(text: str) -> int | None:
    """Return a number that is not negative; None for anything else, such as the -1 that stands for no limit."""
    match = _COUNT.fullmatch(text)
    number = int(match[1]) if match else None
    return number if number is not None and number <= MAX_LIMIT else None


_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(?:\d{1,12}(?:\.\d{1,12})?(?:d|h|ms|m|s|us|µs|μs|ns))+")
_STEP = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(d|h|ms|m|s|us|µs|μs|ns)")
_NUMBER = re.compile(r"\d{1,16}(?:\.\d{1,12})?")
_MOMENT_S, _MOMENT_MS = 1e9, 1e12
MAX_RESET_S = 366 * DAY


def seconds_until(text: str, *, date: str) -> float | None:
    """Return the seconds until a reset: ``6m0s``, ``12ms``, a number of seconds, or a moment in any usual spelling.

    A moment is measured from ``date``, the reply's own header, so that nothing depends on our clock. None stands for
    what cannot be read.
    """
    text = text.strip()
    if _DURATION.fullmatch(text):
        return _bounded(round(sum(float(number) * _UNITS[unit] for number, unit in _STEP.findall(text)), 9))
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number < _MOMENT_S:
            return _bounded(number)
        return _since(number / 1000 if number >= _MOMENT_MS / 10 else number, date)
    moment = _moment(text) if text and text[0].isalnum() else None
    return None if moment is None else _since(moment, date)


def _since(moment: float, date: str) -> float | None:
    # A moment that has passed on its way to us, or in the rounding to seconds, is now.
    told_at = _moment(date) if date else None
    return None if told_at is None else _bounded(max(0.0, moment - told_at))


def _bounded(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and seconds <= MAX_RESET_S else None


@lru_cache(maxsize=64)
def _moment(text: str) -> float | None:
    """Return the seconds since 1970 of an RFC 3339 or an HTTP date."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            found = parsedate_to_datetime(text)
        except (ValueError, IndexError, TypeError, OverflowError):
            return None
    try:
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


_ITEM = re.compile(
    r'\s*(?:"([^"]{0,100})"|([A-Za-z0-9_*-]{1,100}))((?:\s*;\s*[a-z]{1,10}=(?:"[^"]{0,100}"|[^;,\s]{1,100}))*)\s*(?:,|$)'
)
_PARAMETER = re.compile(r'([a-z]{1,10})=(?:"([^"]*)"|([^;,\s]+))')


def _read_draft(lists: Iterable[tuple[str, str]]) -> list[ToldLimit]:
    """Return the quotas of requests of ``ratelimit-policy``, each with what ``ratelimit`` says is left of it."""
    policies: dict[str, dict[str, str]] = {}
    states: dict[str, dict[str, str]] = {}
    for name, value in lists:
        for match in _ITEM.finditer(value[:2000]):
            pairs = {key: quoted or plain for key, quoted, plain in _PARAMETER.findall(match[3])}
            (policies if name == "ratelimit-policy" else states)[match[1] or match[2]] = pairs
    if len(policies) == len(states) == 1:  # they belong together, whatever they are called
        states = dict(zip(policies, states.values(), strict=True))
    found = (_quota(policy, states.get(name, {})) for name, policy in policies.items())
    return [quota for quota in found if quota is not None]


def _quota(policy: Mapping[str, str], state: Mapping[str, str]) -> ToldLimit | None:
    quota, window = _count(policy.get("q", "")), _count(policy.get("w", ""))
    if not quota or not window or policy.get("qu", "requests") != "requests":
        return None
    remaining = _count(state.get("r", ""))
    if remaining is not None and remaining > quota:
        return None
    return ToldLimit("requests", quota, float(window), remaining, seconds_until(state.get("t", ""), date=""))
