"""Addresses of cryptocurrencies, by their checksums."""

from __future__ import annotations

import hashlib

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.rules import matching

_BASE_58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH_32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_ADDRESS_BYTES = 25


def _is_base58(folded: FoldedText, start: int, end: int) -> bool:
    number = 0
    for char in folded.text[start:end]:
        number = number * 58 + _BASE_58.index(char)
    if number.bit_length() > 8 * _ADDRESS_BYTES:
        return False
    payload = number.to_bytes(_ADDRESS_BYTES, "big")
    return hashlib.sha256(hashlib.sha256(payload[:-4]).digest()).digest()[:4] == payload[-4:]


def _is_bech32(folded: FoldedText, start: int, end: int) -> bool:
    prefix, _, data = folded.text[start:end].lower().rpartition("1")
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [_BECH_32.find(c) for c in data]
    if -1 in values:
        return False
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATORS):
            checksum ^= generator if top >> place & 1 else 0
    return checksum in (1, 0x2BC830A3)


def _stands_alone(folded: FoldedText, start: int, end: int) -> bool:
    return len(set(folded.text[start + 2 : end].lower())) > 6  # noqa: PLR2004 (0x000…)


WALLET_RULES = (
    matching("bitcoin", "crypto_wallet", r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b", 0.95, _is_base58),
    matching("bech32", "crypto_wallet", r"\b(?:bc1|tb1|ltc1|BC1)[02-9A-Za-z]{11,87}\b", 0.95, _is_bech32),
    matching("ethereum", "crypto_wallet", r"\b0x[0-9a-fA-F]{40}\b", 0.8, _stands_alone),
    matching("tron", "crypto_wallet", r"\bT[1-9A-HJ-NP-Za-km-z]{33}\b", 0.95, _is_base58),
    matching("litecoin", "crypto_wallet", r"\b[LMD][1-9A-HJ-NP-Za-km-z]{32,33}\b", 0.95, _is_base58),
)
