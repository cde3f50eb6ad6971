"""OpenAI's chat completions as one of the dialects."""

from __future__ import annotations

from promptmill.adapters.openai_chat_answer import completion_of
from promptmill.adapters.openai_chat_body import request_body
from promptmill.adapters.openai_chat_stream import ChatAssembler
from promptmill.adapters.openai_dialects import OpenAiDialect

CHAT = OpenAiDialect(request_body, completion_of, ChatAssembler)
