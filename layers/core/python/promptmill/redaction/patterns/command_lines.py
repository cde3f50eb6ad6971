"""Passwords and keys as programs take them: options of commands, statements, lines of configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.looks_like_secret import is_placeholder, is_reference
from promptmill.redaction.patterns.rules import Rule
from promptmill.redaction.spans import RedactionType, Span

_VALUE = r"[\"']?([^\s\"'<>|;&]{4,120})"
_QUOTED = r"[\"'`]([^\"'`\n]{4,120})[\"'`]"
_OPTIONS: tuple[tuple[str, str, str, RedactionType], ...] = (
    ("net_user", r"(?i)\bnet (?:user|use) ", rf"[^\n]{{0,60}}? {_VALUE} /", "password"),
    ("secure_string", r"(?i)ConvertTo-SecureString ", rf"(?:-String )?{_QUOTED}", "password"),
    ("sql_password", r"(?i)\bidentified ", rf"(?:with \w{{1,40}} )?by (?:password )?{_QUOTED}", "password"),
    ("requirepass", r"(?i)\b(?:requirepass|masterauth) ", _VALUE, "password"),
    ("store_pass", r"(?i)-(?:store|key|dest|src|deststore|srcstore)pass ", rf"(?:pass:)?{_VALUE}", "password"),
    ("redis_cli", r"\bredis-cli ", rf"[^\n]{{0,80}}?(?:-a|--pass) {_VALUE}", "password"),
    ("login_option", r"(?i)\b(?:docker|podman|helm registry|az|oc|vault|heroku|sshpass|kinit) ", rf"[^\n]{{0,120}}?-p {_VALUE}", "password"),
    ("plink", r"(?i)\b(?:plink|pscp|psftp|putty)\b", rf"[^\n]{{0,80}}? -pw {_VALUE}", "password"),
    ("smb_user", r"(?i)\b(?:smbclient|rpcclient|net|smbmap|winexe) ", r"[^\n]{0,80}?-U [\"']?[\w.\\@\-]{1,60}%([^\s\"']{4,80})", "password"),
    ("rdp", r"(?i)\b(?:xfreerdp|wfreerdp|rdesktop) ", rf"[^\n]{{0,160}}?(?:/p:|-p ){_VALUE}", "password"),
    ("archive", r"(?i)\b(?:7za?|rar|unrar|unzip|zip|openssl enc|ldap\w{3,7}|pdftk|qpdf) ",
     r"[^\n|;]{0,80}?(?:-p|-P |-k |-w |-hp)[\"']?([^\s\"'\-]\S{4,60})", "password"),
    ("sqlplus", r"(?i)\b(?:sqlplus|sqlldr|expdp|impdp|rman target) ", r"(?:-\w+ ){0,3}[\w.]{1,40}/([^\s\"'@/]{4,60})@", "password"),
    ("kubeadm", r"\b[a-z0-9]{6}\.[a-z0-9]{8}", r"[a-z0-9]{8}\b", "api_key"),
    ("env_item", r"(?i)\bname: [\"']?",
     r"[\w\-]{0,40}(?:key|token|secret|passw(?:or)?d|pwd)[\"']?(?:[\n,]|\s\s)\s{0,20}value: [\"']?([^\s\"',}]{6,200})", "api_key"),
    ("aws_pair", r"\b(?:AKIA|ASIA|A3T[A-Z0-9])[A-Z0-9]{16}", r"[^\n]{0,40}?[\s\"',:;|]([A-Za-z0-9/+]{40})(?:[\s\"',;|<]|$)", "api_key"),
    ("aws_secret", r"(?i)aws_?sec", r"(?:ret)?\w{0,16}[\"' ]{0,3}(?:=>|[:=])[\"' ]{0,3}([a-z0-9/+]{40})(?:[^a-z0-9/+=]|$)", "api_key"),
    ("okta_token", r"(?i)\bokta", r"[\w ]{0,24}[\"' ]{0,3}(?:=>|[:=])[\"' ]{0,3}(00[\w\-]{40})(?:[^\w\-]|$)", "api_key"),
    ("contribsys", r"(?i)contribsys", r"(?:\.com|__com)[\"']?\s{0,3}[:=]\s{0,3}[\"']?([0-9a-f]{8}:[0-9a-f]{8})", "password"),
)  # fmt: skip
"""What a text must hold for the rest to be looked for, and the rest; its first group, or all of it, is the value."""
_OF_ONE_LENGTH = frozenset(("aws_secret", "okta_token"))
_ANYTHING_GOES = frozenset(("login_option", "archive"))
_FLAG = re.compile(r"-{1,2}[A-Za-z][\w\-]*")
_ONE_CASE = re.compile(r"[a-z.]+|\d+\.\d+")


def _option(name: str, head: str, rest: str, kind: RedactionType) -> Rule:
    def find(folded: FoldedText) -> Iterator[Span]:
        for start, end in folded.spans(head + rest, group=int("(" in rest.replace("(?:", ""))):
            value = folded.text[start:end].rstrip(".,")
            if _is_value(value, name):
                yield Span(start, start + len(value), kind, 0.7, name)

    return Rule(head, find)


def _is_value(value: str, name: str) -> bool:
    if name == "kubeadm":
        return 2 <= sum(map(str.isdigit, value[7:])) < 16  # noqa: PLR2004 (sixteen characters, no word and no number)
    if name in _OF_ONE_LENGTH:
        return len(set(value)) > 1 or value[0] not in "xX0"
    if is_placeholder(value) or is_reference(value) or _FLAG.fullmatch(value):
        return False
    return name not in _ANYTHING_GOES or not _ONE_CASE.fullmatch(value)


COMMAND_RULES = tuple(_option(*option) for option in _OPTIONS)
