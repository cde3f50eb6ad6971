"""All rules that find secrets: by format first, then by the words around them."""

from __future__ import annotations

from promptmill.domain.redaction.command_lines import COMMAND_RULES
from promptmill.domain.redaction.opaque_tokens import OPAQUE_RULES
from promptmill.domain.redaction.passwords import PASSWORD_RULES
from promptmill.domain.redaction.private_keys import PRIVATE_KEY_RULES
from promptmill.domain.redaction.rules import Rule
from promptmill.domain.redaction.secret_context import CONTEXT_RULES
from promptmill.domain.redaction.service_secrets import SERVICE_RULES
from promptmill.domain.redaction.tokens import TOKEN_RULES

SECRET_GROUPS: tuple[tuple[Rule, ...], ...] = (
    TOKEN_RULES,
    (*CONTEXT_RULES, *PASSWORD_RULES),
    (*PRIVATE_KEY_RULES, *SERVICE_RULES, *COMMAND_RULES, *OPAQUE_RULES),
)
"""Grouped so that no automaton grows large."""
SECRET_RULES: tuple[Rule, ...] = tuple(rule for group in SECRET_GROUPS for rule in group)
