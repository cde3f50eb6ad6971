"""Find passwords by the words and code around them, and where programs take them: options, statements, configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.looks_like_secret import is_placeholder, is_reference, looks_random
from promptmill.redaction.patterns.rules import Rule
from promptmill.redaction.spans import RedactionType, Span

_WORD = (
    r"(?i)(?:pass(?:word|wd|phrase|code)s?|\bpwd|\bpw\b|_pwd|pass_?wrd|\bpass\b|_pass\b|kennwort|passwort|contrase\xf1a|mot de passe|wachtwoord|\bsenha"
    r"|(?:jwt|client|creds?|consumer)[\w.]{0,12}secret|[a-z]secret\b|\bsecret\b)"
)
_QUOTED = re.compile(
    r"[\w.\-]{0,24}[\"'`\])]{0,3}\s{0,16}(?:(?:[:=]{1,3}|=>|->|==|!=|:=|,|\()\s{0,16}|value=|(?:is|was|are|to|string|attempt|revealed|following|with)[ :]{1,3}|\s{1,4}|,\s?value=){0,5}"
    r"(?:\"([^\"\n]{1,120}?)\"|'([^'\n]{1,120}?)'|`([^`\n]{1,120})`|>([^<\n]{3,80})</)"
)
_USER_IS = re.compile(r"[^\n.;=:\"']{0,20}[\"'][\w\-]{1,24}[\"'] is [\"']([^\"'\n]{3,60})[\"']")
_NEXT_WORD = re.compile(r"[\"'`], {0,2}[\"'`][a-z]{1,24}[\"'`]")
_A_KEY = re.compile(r"[\"'`]\s{0,4}:")
_OF_A_PARAMETER = re.compile(r"[ \t*]*:param [^\n:]{0,60}")
_ASSIGNED = re.compile(r"[\w.\-]{0,24}[\"']?\s{0,2}(?::=|=>|[:=])[ \t]{0,4}((?:[^\s\"',;)<>&]|&(?!\w+=)){3,100})")
_SPOKEN = re.compile(r"(?:\s?(?:is|was|:|=|-))?\s{1,3}([^\s\"',;()<>]{5,80})")
_STRONG = re.compile(
    r"(?=.*[A-Za-z])(?=.*[\d])(?=.*[^A-Za-z\d]).{5,}|(?=.*[a-z])(?=.*[A-Z])(?=.*\d).{6,}|[A-Z]\w+[a-z][A-Z]\w+[!@#$%^&*]+|(?=.*\d)(?=.*[a-z])[a-z\d]{6,}"
)
_NAME_GOES_ON = re.compile(
    r"(?i)(?:s?[_\-. ]?(?:hash|field|file|path|url|uri|reset|policy|length|manager|min|max|label|type|name|prompt|hint|input|combination|protected|strength|expir\w*|less|age))(?![a-z])"
)
_NO_PASSWORD = re.compile(r"[$%{<\[(].*|[xX*.]+|(?:pass(?:word|wd)?|pwd|secret|token|api_?token)", re.IGNORECASE)
_GIVEN = re.compile(r"[\"'`\])>]{0,3}\s{0,2}(?:[:=]|is |was )")
_LETTERS_ONLY = re.compile(r"[^A-Za-z]")
_NAME_REACH, _MIN_NAME = 80, 8
_CLOSING = ".,;:!?"
_SENTENCE = re.compile(r"[A-Za-z]+(?: [a-z]+){3,}[.!?]?")
_MIN_LENGTH = 4
_NUMBERS = re.compile(r"\d{1,4}")


def find_passwords(folded: FoldedText) -> Iterator[Span]:
    reached = 0
    for start, end in folded.find_spans(_WORD):
        if start < reached or _NAME_GOES_ON.match(folded.text, end):
            continue
        if folded.text[start:end].lower() == "pass" and not _GIVEN.match(folded.text, end):
            continue  # the verb
        found = (
            _find_quoted(folded.text, end)
            or _find_assigned(folded.text, start, end)
            or _find_spoken(folded.text, start, end)
        )
        if found is not None and not folded.is_label(*found) and not _repeats_its_name(folded.text, *found):
            reached = found[1]
            yield Span(*found, "password", 0.7, "password")


def _repeats_its_name(text: str, start: int, end: int) -> bool:
    """Return True for ``admin_password = adminPassword``: a program names a value after the variable that it stands in."""
    value = _LETTERS_ONLY.sub("", text[start:end]).lower()
    before = _LETTERS_ONLY.sub("", text[max(0, start - _NAME_REACH) : start]).lower()
    return len(value) > _MIN_NAME and before.removesuffix("value").endswith(value)


def _find_quoted(text: str, at: int) -> tuple[int, int] | None:
    match = _QUOTED.match(text, at, at + 200) or _USER_IS.match(text, at, at + 120)
    if match is None:
        return None
    start, end = match.span(match.lastindex or 0)
    if _NEXT_WORD.fullmatch(text, match.start(), end + 1) or _A_KEY.match(text, end):
        return None  # one word after the other, as in ("user", "password", "label"), or the next key of a document
    return (start, end) if _is_password(text[start:end]) else None


def _find_assigned(text: str, word: int, at: int) -> tuple[int, int] | None:
    match = _ASSIGNED.match(text, at, at + 160)
    if match is None:
        return None
    start, end = match.span(1)
    while end > start and text[end - 1] in ".,":
        end -= 1
    if _OF_A_PARAMETER.fullmatch(text, text.rfind("\n", max(0, word - _NAME_REACH), word) + 1, word):
        return None  # the description of a parameter
    if text[word:at].lower().endswith("secret") and not looks_random(text[start:end]):
        return None
    return (start, end) if _is_password(text[start:end]) else None


def _find_spoken(text: str, start: int, at: int) -> tuple[int, int] | None:
    """Find ``password Qr7!dke#39``, where no sign stands between: only a value that could be no word counts."""
    match = _SPOKEN.match(text, at, at + 100)
    if match is None or text[start:at].lower() == "secret":
        return None
    value = match[1] if match[1].endswith("!") else match[1].rstrip(_CLOSING)
    strong = _STRONG.fullmatch(value) is not None and _is_password(value)
    return (match.start(1), match.start(1) + len(value)) if strong else None


def _is_password(value: str) -> bool:
    if len(value.strip()) < _MIN_LENGTH or (is_placeholder(value) and value.lower() not in _COMMON):
        return False
    if _SENTENCE.fullmatch(value) or _NUMBERS.fullmatch(value):
        return False
    return not is_reference(value)


_COMMON = frozenset(("password", "secret", "yourpasswrod"))
_USER_OPTION = r"(?i)\b(?:curl|wget|http|https|xh)\b[^\n|;]{0,400}?\s(?:-u|--user|-a|--auth)[ =]?[\"']?[^\s:\"'$<{]{1,80}:([^\s\"'<>]{3,80})"
_OPTION = r"(?i)(?:psexec[^\n]{0,200}?\s-p|--?(?:http-|proxy-|ftp-|db-|admin-)?passw(?:or)?d[ =]|sshpass -p|mysql[^\n]{0,80}\s-p)[ =]?[\"']?([^\s\"'<>\-][^\s\"'<>]{2,60})"
_CREDENTIAL_CALL = r"(?i)(?:NetworkCredential|DirectoryEntry|login|signin|authenticate|credentials?|basic_?auth)\((?:[^()\n]{0,100},)?\s{0,20}[\"'][^\"'\n]{1,80}[\"'],\s{0,20}[\"']([^\"'\n]{3,80})[\"']\)"
_PAIR = r"[\w.%+\-]+@[\w\-.]+\.[a-z]{2,} ?/ ?([^\s/,;\"'<>]{6,40})"
_CONNECTION = r"(?i)(?:accountkey|sharedaccesskey|sharedaccesssignature|sharedsecretvalue|sig|secret|pwd|password)=([^;\s\"'&<>]{6,})"
_KEY_VALUE = r"(?i)(?:password|passwd|pwd|secret|token|key)[\"']\s{1,3}value=[\"']([^\"'\n]{4,120})[\"']"
_GENERATED = r"(?i)password[^\n]{0,80}:\s{1,6}([0-9a-f]{32})\b"


def _make_option_rule(name: str, pattern: str, *, strong: bool = False) -> Rule:
    def find(folded: FoldedText) -> Iterator[Span]:
        for start, end in folded.find_spans(pattern, group=1):
            value = folded.text[start:end].rstrip(".,;")
            if (
                _is_password(value)
                and not _repeats_its_name(folded.text, start, end)
                and (not strong or _STRONG.fullmatch(value))
            ):
                yield Span(start, start + len(value), "password", 0.7, name)

    return Rule(pattern, find)


def find_user_options(folded: FoldedText) -> Iterator[Span]:
    """Find what stands behind the user of ``curl -u user:…``: whatever it is, unless it is a variable or blotted out."""
    for start, end in folded.find_spans(_USER_OPTION, group=1):
        value = folded.text[start:end]
        if not _NO_PASSWORD.fullmatch(value):
            yield Span(start, end, "password", 0.8, "user_option")


PASSWORD_RULES = (
    Rule(_WORD, find_passwords),
    _make_option_rule("password_option", _OPTION),
    Rule(_USER_OPTION, find_user_options),
    _make_option_rule("credential_call", _CREDENTIAL_CALL),
    _make_option_rule("login_pair", _PAIR, strong=True),
    _make_option_rule("connection_string", _CONNECTION),
    _make_option_rule("key_value", _KEY_VALUE),
    _make_option_rule("generated_password", _GENERATED),
)


_KUBERNETES = r"(?m)^[ \t]*kind: *Secret\b"
_DATA = re.compile(r"^( *)(?:data|stringData):[ \t]*\r?\n", re.MULTILINE)
_DATUM = re.compile(r"( *)[\w.\-]{1,253}:[ \t]*([\"']?)([^\s\"'|>#][^\s\"']{0,20000})\2[ \t]*(?:\r?\n|\Z)")


def find_kubernetes_secrets(folded: FoldedText) -> Iterator[Span]:
    """Find every value of a manifest's Secret, whatever it is called: base64 below ``data``, plain text below ``stringData``."""
    text = folded.text
    for start, end in folded.find_spans(_KUBERNETES):
        first, last = text.rfind("\n---", 0, start), text.find("\n---", end)
        for data in _DATA.finditer(text, max(first, 0), last if last >= 0 else len(text)):
            datum = _DATUM.match(text, data.end())
            while datum and len(datum[1]) > len(data[1]):
                yield Span(*datum.span(3), "password", 0.8, "kubernetes_secret")
                datum = _DATUM.match(text, datum.end())


_VALUE = r"[\"']?([^\s\"'<>|;&]{4,120})"
_IN_QUOTES = r"[\"'`]([^\"'`\n]{4,120})[\"'`]"
_OPTIONS: tuple[tuple[str, str, str, RedactionType], ...] = (
    ("net_user", r"(?i)\bnet (?:user|use) ", rf"[^\n]{{0,60}}? {_VALUE} /", "password"),
    ("secure_string", r"(?i)ConvertTo-SecureString ", rf"(?:-String )?{_IN_QUOTES}", "password"),
    ("sql_password", r"(?i)\bidentified ", rf"(?:with \w{{1,40}} )?by (?:password )?{_IN_QUOTES}", "password"),
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
"""A name, what a text must hold for the rest to be looked for, the rest, and the type. The value is the rest's first group,
or all of it."""
_OF_ONE_LENGTH = frozenset(("aws_secret", "okta_token"))
_ANYTHING_GOES = frozenset(("login_option", "archive"))
_FLAG = re.compile(r"-{1,2}[A-Za-z][\w\-]*")
_ONE_CASE = re.compile(r"[a-z.]+|\d+\.\d+")


def _make_command_rule(name: str, head: str, rest: str, kind: RedactionType) -> Rule:
    def find(folded: FoldedText) -> Iterator[Span]:
        for start, end in folded.find_spans(head + rest, group=int("(" in rest.replace("(?:", ""))):
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


COMMAND_RULES = (
    Rule(_KUBERNETES, find_kubernetes_secrets),
    *(_make_command_rule(*option) for option in _OPTIONS),
)
