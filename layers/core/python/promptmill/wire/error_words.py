"""The words and codes in which providers say what went wrong, whichever API they speak.

A message may quote the prompt. What closes a route is therefore looked for at the start of a message only, in sentences
without quotes; what only fails a record may stand anywhere.
"""

from __future__ import annotations

import re
from typing import Final

CLOSING_CODES: Final = frozenset(
    {
        "insufficient_quota",
        "insufficient_balance",
        "insufficient_credits",
        "insufficient_user_quota",
        "exceeded_current_quota_error",
        "billing_not_active",
        "billing_hard_limit_reached",
        "billing_error",
        "account_deactivated",
        "account_suspended",
        "organization_restricted",
        "organization_suspended",
        "organization_disabled",
        "blocked_api_access",
        "payment_required",
        "out_of_credits",
        "access_terminated",
        "model_not_found",
        "model_not_available",
        "model_decommissioned",
        "unsupported_country_region_territory",
        "Arrearage",
        "AccountOverdueError",
        "AllocationQuota.FreeTierOnly",
        "PrepaidBillOverdue",
        "PostpaidBillOverdue",
        "1113",  # Zhipu: the balance is used up
        "1008",  # MiniMax: the same
    }
)
"""Codes that hold for every record, at whichever provider."""

_HELD_BY = (
    r"(?:organi[sz]ation|account|team|project|workspace|subscription|api[\ -]key|access|billing|plan|"
    r"(?:credit\ |account\ )?balance|credits?|payment)"
)
_STATE = (
    r"(?:suspended|disabled|restricted|deactivated|terminated|not\ active|inactive|blocked|overdue|in\ arrears|revoked|"
    r"used\ all|used\ up|too\ low|insufficient|exhausted|run\ out|(?:spend|spending|usage|credit|billing)\ (?:limit|cap)|"
    r"in\ good\ standing|has\ no\ credits|past\ due)"
)
_PLAIN = r"""[^.'"“`\n]{0,120}?"""
_CLOSING = re.compile(
    rf"""(?:\w+:\s)?(?:
        (?:your|this|the)\ (?:[\w-]+\ ){{0,3}}?{_HELD_BY}\b{_PLAIN}\b{_STATE}\b
      | you(?:'ve|\ have)?\ (?:exceeded|reached|hit|used|spent|depleted|run\ out\ of)\ (?:your|the|all){_PLAIN}
            \b(?:quota|credits?|balance|budget|(?:spend|spending|usage|billing|monthly|free)\ (?:limit|cap|quota)s?)\b
      | (?:insufficient|not\ enough|no)\ (?:account\ |remaining\ )?(?:balance|credits?|funds|quota)\b
      | (?:account|organi[sz]ation|project|team|credit|credits|balance)\ (?:[\w-]{{1,64}}\ )?(?:is\ |are\ |has\ been\ |have\ been\ )?
            (?:suspended|disabled|restricted|deactivated|exhausted|depleted|overdue|insufficient)\b
      | access\ denied,\ please\ make\ sure\ your\ account
      | access\ to\ this\ account\ has\ been
      | billing\ hard\ limit
      | (?:user|your)\ location\ is\ not\ supported
      | operation\ not\ allowed\.?$
      | [\w./:@-]{{1,100}}\ is\ not\ a\ valid\ model\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTA = re.compile(r"quota|usage limit", re.IGNORECASE)

_NO_MODEL = re.compile(
    r"""(?:the\ |this\ |requested\ |your\ chosen\ )*(?:model|engine|deployment)\b.{0,120}?
            \b(?:not\ found|(?:does|do)\ not\ exist|not\ supported|not\ available|unknown|deprecated|decommissioned|
            (?:do|does)\ not\ have\ access|is\ invalid)
      | (?:no\ such|unknown|invalid)\ (?:model|engine)\b
      | model:\s
      | [\w./:@-]{1,100}\ is\ not\ a\ valid\ model
      | (?:you|project|organization|this)\ ?.{0,80}\bnot\ have\ access\ to\ (?:the\ )?model
      | .{0,160}\bmodel\b.{0,80}\bnot\ found\ or\ your\ project\ does\ not\ have\ access""",
    re.IGNORECASE | re.VERBOSE,
)
_CONTENT = re.compile(
    r"moderation|flagged|content[ _-]?(?:policy|filter|violat|management|safety)|usage (?:guidelines|policies)|safety|"
    r"harmful|unsafe|inappropriate|prohibited|sensitive|guardrail|policy violation|violates|data_?inspection|"
    r"responsible ?ai",
    re.IGNORECASE,
)
_OWN_THING = re.compile(
    r"\b(?:files?|file_id|images?|image_url|container|document|vector store|stored prompt|prompt with id|attachment|audio|"
    r"video|previous.response|conversation|thread|assistant|cached ?content|skill|tool|item with id|object)\b|"
    r"\b(?:download|fetch)",
    re.IGNORECASE,
)

_TOO_LONG = re.compile(
    r"(?:max(?:imum)?|exceeds?|exceeded|exceeding|longer than|beyond|larger than|over|fit (?:in|into|within)|reduce|less than|"
    r"too (?:long|large|many)|cannot exceed|must be|should (?:be|not exceed)|available|limit)"
    r"[^\n]{0,100}?"
    r"(?:context (?:length|window|size)|(?:model|prompt|sequence|input|total) length|input tokens?|max_model_len|"
    r"number of tokens|token (?:count|limit)|length of the (?:messages|prompt|input))|"
    r"(?:context (?:length|window|size)|(?:model|prompt|sequence|input|text) length|input tokens?|token count|prompt tokens)"
    r"[^\n]{0,60}?(?:exceed|too (?:long|large|many)|longer|maximum|larger|limit|should|overflow|greater)|"
    r"prompt is too long|input is too long|too many (?:input |prompt |total )?tokens|have less than \d+ tokens|"
    r"tokens \+ `?max_new_tokens|tokens > \d+ maximum|maximum (?:context|number of (?:input )?tokens)|context.{0,3}overflow",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(
    r"request too large for|single request|reduce your (?:message|prompt|request) size", re.IGNORECASE
)
_LIMIT = re.compile(r"\blimit:? ([\d,]{1,15})\b.{0,40}?\brequested:? ([\d,]{1,15})", re.IGNORECASE)
_DAILY = re.compile(
    r"\b(?:per|a|each|every)[- ](?:calendar )?day\b|\bper 24 hours|\bdaily\b|\b[TR]PD\b|PerDay|per_day|-day\b",
    re.IGNORECASE,
)


def tells_all(message: str) -> bool:
    """Return True for words that hold for every record: money spent, an account that is closed."""
    return _CLOSING.match(message) is not None


def tells_quota(message: str) -> bool:
    """Return True for words that some providers use for a limit that renews as well, and then say when."""
    return _QUOTA.search(message[:200]) is not None


def tells_no_model(message: str) -> bool:
    """Return True for words that say that the route's model is not to be had."""
    return _NO_MODEL.match(message) is not None


def tells_record(words: str) -> bool:
    """Return True for words about the content of one record, or about a file or an image that it names."""
    return _CONTENT.search(words) is not None or _OWN_THING.search(words) is not None


def tells_too_long(message: str) -> bool:
    """Return True for words that say that a prompt does not fit, as far as they are known."""
    return _TOO_LONG.search(message) is not None


def tells_too_large(message: str) -> bool:
    """Return True for one request that is larger than a whole limit by the minute: no wait lets it through."""
    if found := _LIMIT.search(message):
        limit, requested = (int(number.replace(",", "") or 0) for number in found.groups())
        return requested > limit
    return _TOO_LARGE.search(message) is not None


def tells_daily(message: str) -> bool:
    """Return True for a limit by the day."""
    return _DAILY.search(message) is not None
