"""OpenAI's responses as one of the dialects."""

from __future__ import annotations

from promptmill.adapters.openai_dialects import OpenAiDialect
from promptmill.adapters.openai_responses_answer import completion_of
from promptmill.adapters.openai_responses_body import request_body
from promptmill.adapters.openai_responses_stream import ResponseAssembler

RESPONSES = OpenAiDialect(request_body, completion_of, ResponseAssembler)
