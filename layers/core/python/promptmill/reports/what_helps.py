"""Sort the records that failed by what helps them: another run, a mended line, or another recipe."""

from __future__ import annotations

from collections.abc import Mapping

WRONG_LINES = frozenset(
    (
        *("ambiguous_column", "empty_prompt", "invalid_attachment", "invalid_field", "invalid_json"),
        *("invalid_tool_arguments", "invalid_utf8", "missing_field", "no_prompt_column", "not_an_object"),
        *("record_too_large", "unencodable", "unknown_column", "unsupported_body", "unsupported_endpoint"),
    )
)
"""Codes of records that no further run can answer: each run has the same lines, and these are wrong themselves."""
REFUSED_BY_RECIPE = frozenset(("attachment_refused", "model_not_allowed", "no_bound", "unsupported_field"))
"""Codes of records that a further run can answer once the recipe allows what they ask for."""


def count_of_codes(failures: Mapping[str, int], codes: frozenset[str]) -> int:
    """Return how many records failed with one of these codes."""
    return sum(count for code, count in failures.items() if code in codes)


def what_helps(code: str, *, stopped: bool) -> str:
    """Return in a few words what to do about failures of this code."""
    if code in WRONG_LINES:
        return "mend the line"
    if code in REFUSED_BY_RECIPE:
        return "allow it in the recipe, or leave it out"
    return "resume the job" if stopped else "redrive the job"
