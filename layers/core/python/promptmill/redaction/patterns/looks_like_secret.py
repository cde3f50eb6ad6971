"""Tell secrets from what only looks like one: placeholders, words, hashes, versions, paths."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from promptmill.redaction.patterns.folded_text import matches_whole

_PLACEHOLDER = (
    r"(?i)(?:your|my|the|some|insert|replace|enter|put|add)[_\-. ]?[a-z_\-. ]*\d{0,3}"
    r"|.*(?:change[_\-]?me|placeholder|redacted|example[_\-.](?:key|token|secret|password)|xxxxx|dummy|todo|null|undefined|to[_\-]?be[_\-]"
    r"|\*\*\*|\.\.\.|####|----|____|your[_\-]?(?:api|token|key|secret|password)|_here|goes[_\-]?here).*"
    r"|none|true|false|yes|no|password|passwd|secret|token|string|test|foo|bar|baz|abc|n/?a"
)
_REFERENCE = (
    r"[$%][A-Za-z_(\[{].*|%[A-Za-z_]+%|[{<\[(@&].*|!(?:vault|[Rr]ef|[Ss]ub|[Gg]et[Aa]tt|[Ii]mport[Vv]alue|secret|env)\b.*|(?:process\.|os\.|env[.\[(]|ENV[.\[(]|var\.|vars\.|secrets\.|config[.\[(]|self\.|this\.|settings\.|data\.|local\.|module\.|params[.\[]|args\.|request\.|options\.).*"
    r"|[A-Za-z_][\w.]*[(\[].*|[A-Za-z_]\w{0,40}(?:\.[A-Za-z_]\w{0,40})+|[a-z]+(?:-[a-z]+)+(?:\.[A-Za-z_]\w{0,40}){2,}|[A-Za-z_]\w*->.*|[A-Za-z_]\w*::.*"
)
_WORDS = r"[A-Za-z]?[a-z]+(?:[A-Z][a-z]+|[A-Z]{2,5})*\d{0,3}|[A-Z]{2,}(?:[a-z]+[A-Z]?)*\d{0,2}|[a-zA-Z]+\d{1,2}"
_NEVER = (
    r"(?:[A-Za-z]{1,20}\d{0,3}[_\-./:+ ]{1,2}|\d{1,6}-|[a-z]{1,20}\d[a-z]{1,20}[_\-./:+ ]{1,2})+[A-Za-z]{0,20}\d{0,3}"  # words with signs between
    r"|[A-Za-z][\w\-.]*\.[a-z]{2,}:\d{1,5}"
    r"|(?:https?:|file:|s3:|gs:|arn:|urn:|git@|data:).*|[~.]{0,2}/[\w.\-]+(?:/[\w.\-]*)*"
    r"|[\w\-./]+\.(?:py|js|ts|go|rs|java|json|ya?ml|toml|xml|html?|css|md|txt|png|jpe?g|gif|pem|p12|crt|key|tab|jar|sh|exe|dll|so|t?gz|zip|whl|ico|svg|com|org|net|io)"
    r"|v?\d+(?:\.\d+){1,4}[\w.\-+]{0,20}|\d{4}-\d\d-\d\d.*|\d{1,2}[:/]\d\d.*"
)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_SEQUENCES = ("abcdefgh", "12345678", "qwertyui", "zyxwvuts")
_FOLLOWERS = dict(
    zip(
        _ALPHABET,
        (
            "abcdefgiklmnprstuvwxyz", "abcdeijlmnoprstuy", "abcdefhiklmnoprstuy", "abcdefgilmnoprstuy", "abcdefghiklmnopqrstuvwxy",
            "abcdefilnorstuy", "aceghilmnoprstu", "aeilmorstuy", "abcdefgklmnoprstvxz", "aeosu", "aegilnosuw",
            "abcdefgiklmnoprstuvy", "abdeilmoprstuy", "abcdefghiklmnoprstuvy", "abcdefgijklmnoprstuvwxy", "acdefhiklmnoprstuy",
            "lsu", "abcdefgiklmnoprstuvwy", "acdefghiklmnopqrstuvwy", "abcdefhilmnoprstuvwxy", "abcdefgilmnoprst",
            "aceiop", "adehilnors", "aceilmptx", "aceilmnoprstw", "aeio",
        ),
        strict=True,
    )
)  # fmt: skip
"""The letters that follow a letter in words and names of code: 98.5 of 100 pairs there, some 60 among random letters."""
_WITHOUT_VOWELS = str.maketrans("", "", "aeiouy")
_CHANGE = re.compile(r"[a-z](?=[A-Z])")
_JUDGED = 96
_MIN_LETTERS, _MIN_DIGITS, _LONG_NUMBER, _LONG = 20, 2, 16, 32
_MIN_FILLER = 20


def is_placeholder(text: str) -> bool:
    """Return True for what is written where a secret belongs: ``your-api-key``, ``xxxx``, ``***``."""
    if text.endswith("-1234567890") or (len(text) <= _LONG and _ALPHABET in text.lower()):
        return True
    return len(set(text)) <= 3 or matches_whole(_PLACEHOLDER, text)  # noqa: PLR2004 (0, a and a dash)


def is_filler(text: str) -> bool:
    """Return True for a sequence or a repeat, as ``abcdef…123456``. Beside a service's name it counts as a key."""
    if len(text) < _MIN_FILLER or not text.isalnum() or len(set(text)) <= 3:  # noqa: PLR2004 (as above)
        return False
    plain = text.lower()
    return any(sequence in plain for sequence in _SEQUENCES) or any(
        plain.startswith(plain[:unit] * (_MIN_FILLER // unit)) and len(set(plain[:unit])) > 2  # noqa: PLR2004
        for unit in range(3, 11)
    )


def is_reference(text: str) -> bool:
    """Return True for code or a template that stands for a value: ``$TOKEN``, ``os.environ["TOKEN"]``, ``{{ token }}``."""
    return matches_whole(_REFERENCE, text)


def looks_random(text: str, *, least: int = 8) -> bool:
    """Return True for a word that nobody could read: digits among letters, or letters that make no words."""
    if len(text) < least or is_placeholder(text) or matches_whole(_NEVER, text):
        return False
    digits, letters = sum(map(str.isdigit, text)), sum(map(str.isalpha, text))
    if not letters:
        return digits >= _LONG_NUMBER and "." not in text
    if matches_whole(_WORDS, text) and (digits or len(text) < _MIN_LETTERS or not is_unreadable(text)):
        return False
    if digits >= _MIN_DIGITS:
        return True
    if digits and len(text) >= _LONG and text != text.lower() and text != text.upper():
        return True
    return len(text) >= _MIN_LETTERS and is_unreadable(text)


def is_unreadable(text: str) -> bool:
    """Return True if letters seldom follow each other so, vowels are few, cases change often, or an alphabet is in it."""
    plain = text.lower()
    if any(sequence in plain for sequence in _SEQUENCES):
        return True
    letters = sum(map(str.isalpha, text))
    vowels = len(plain) - len(plain.translate(_WITHOUT_VOWELS))
    return vowels * 5 < letters or len(_CHANGE.findall(text)) * 5 >= letters or _has_rare_pairs(plain)


def _has_rare_pairs(plain: str) -> bool:
    """Return True if a quarter of the pairs of letters hardly occur in words."""
    pairs = rare = 0
    for (one, other), times in Counter(pairwise(plain)).items():
        if one in _FOLLOWERS and other in _FOLLOWERS:
            pairs += times
            rare += 0 if other in _FOLLOWERS[one] else times
    return rare * 4 >= pairs and rare > 1


class Judge:
    """Judges the words of one text, each word once: a text may hold the same one a thousand times.

    Made anew for every text, so that nothing of it is kept.
    """

    def __init__(self) -> None:
        self._random: dict[tuple[str, int], bool] = {}
        self._references: dict[str, bool] = {}

    def random(self, word: str, *, least: int = 8) -> bool:
        """Return True if the first characters look random and are no reference."""
        key = (word[:_JUDGED], least)
        if key not in self._random:
            self._random[key] = looks_random(key[0], least=least) and not self.reference(word)
        return self._random[key]

    def reference(self, word: str) -> bool:
        start = word[:_JUDGED]
        if start not in self._references:
            self._references[start] = is_reference(start)
        return self._references[start]
