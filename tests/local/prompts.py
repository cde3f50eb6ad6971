"""Twenty prompts, and each of them as a line of every dialect."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec

PROMPTS = (
    "Is the sky blue? Answer yes or no.",
    "Name one colour.",
    "What is two plus two?",
    'Say "hello", with its quotation marks, please; and, a comma.',
    "List two animals.\nOne on each line.",
    "Ist Wasser nass? Antworte mit Ja oder Nein.",
    "Nenne eine Stadt in Österreich – möglichst größer als Gößl.",
    "Wie heißt der Gruß am Morgen?",
    "空は何色ですか。一言で答えてください。",
    "日本の首都はどこですか？",
    "「猫」は英語で何と言いますか。",
    "ما هو لون السماء؟ أجب بكلمة واحدة.",
    "اذكر مدينة في مصر.",
    "كم عدد أيام الأسبوع؟",
    "Which is larger, 9 or 11?",
    "Finish the sentence: The cat sat on the",
    "Translate 'bonjour' to English.",
    "Is this review positive or negative? Review: 🦊 loved it, ★★★★★!",
    "=1+1 is a formula in a spreadsheet. What is it here?",
    "Say nothing but OK.",
)
IDS = tuple(f"p-{n:02}" for n in range(len(PROMPTS)))
MODEL = "any-model"


def jsonl(lines: list[Any]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def openai_lines() -> bytes:
    return jsonl(
        [
            {
                "custom_id": name,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": MODEL, "messages": [{"role": "user", "content": prompt}]},
            }
            for name, prompt in zip(IDS, PROMPTS, strict=True)
        ]
    )


def anthropic_lines() -> bytes:
    return jsonl(
        [
            {
                "custom_id": name,
                "params": {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": prompt}]},
            }
            for name, prompt in zip(IDS, PROMPTS, strict=True)
        ]
    )


def bedrock_lines() -> bytes:
    return jsonl(
        [
            {
                "recordId": name,
                "modelInput": {
                    "messages": [{"role": "user", "content": [{"text": prompt}]}],
                    "inferenceConfig": {"maxTokens": 100},
                },
            }
            for name, prompt in zip(IDS, PROMPTS, strict=True)
        ]
    )


def own_lines() -> bytes:
    return jsonl([{"id": name, "prompt": prompt} for name, prompt in zip(IDS, PROMPTS, strict=True)])


def table() -> bytes:
    """As Excel saves "CSV UTF-8" where the decimal comma reigns."""
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerows(
        [("id", "prompt"), *zip(IDS, PROMPTS, strict=True)]
    )
    return b"\xef\xbb\xbf" + text.getvalue().encode()


FILES = {
    "openai.jsonl": openai_lines,
    "anthropic.jsonl": anthropic_lines,
    "bedrock.jsonl": bedrock_lines,
    "own.jsonl": own_lines,
    "table.csv": table,
}
