"""Lines that ask for several answers, on routes that allow it: all of them are kept, restored and told."""

from __future__ import annotations

import json

from tests.contract.providers.exchanges import chat_line, exchange
from tests.fakes.providers.scripted import whole

EMAIL = "ada@example.com"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


async def test_all_answers_are_in_the_result_with_what_was_hidden_put_back() -> None:
    said = [f"Write to <EMAIL_1>{end}" for end in (".", "!")]
    choices = [
        {"index": place, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for place, text in enumerate(said)
    ]
    reply = whole({"id": "c", "object": "chat.completion", "model": "m", "choices": choices, "usage": USAGE})
    recipe = {"redact": {"types": ["email"]}}
    found = await exchange([reply], lines=[chat_line(EMAIL, n=2)], recipe=recipe, allow=("n",), stream=True)
    assert found.sent[0]["n"] == 2
    assert not found.sent[0].get("stream"), "one stream cannot be put together into several answers"
    told = json.loads(found.lines[0])["response"]["body"]["choices"]
    assert [choice["message"]["content"] for choice in told] == [f"Write to {EMAIL}.", f"Write to {EMAIL}!"]
    assert "there are 2 answers" in found.completion.notes[0]
