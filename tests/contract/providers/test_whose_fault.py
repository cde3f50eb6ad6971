"""Whose fault an error is: one record's, which closes no route, or the route's, which is known in every vendor's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.providers.exchanges import Exchange, chat_line, exchange
from tests.fakes.providers.scripted import Reply, whole

OK = whole(
    {
        "choices": [{"message": {"content": "Blue."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
)
BLOCKED = "<html><head><title>Attention Required!</title></head><body>Sorry, you have been blocked</body></html>"


def says(message: str, code: Any = None, kind: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code}}


async def answer(reply: Reply, *, bad: tuple[int, ...] = (0,), records: int = 5, **route: Any) -> Exchange:
    """Answer records in turn; whenever one of ``bad`` is sent, this is the reply."""

    def script(_call: int, body: Any) -> Reply:
        return reply if any(f"record {n};" in json.dumps(body) for n in bad) else OK

    return await exchange(script, lines=[chat_line(f"record {n};") for n in range(records)], **route)


ONE_RECORDS: dict[str, Reply] = {
    "OpenRouter's moderation": whole(
        says("Your chosen model requires moderation and your input was flagged", 403), 403
    ),
    "xAI's guidelines": whole(
        {"code": "The caller has no permission", "error": "Content violates usage guidelines."}, 403
    ),
    "a firewall's page": whole(BLOCKED, 403, content_type="text/html"),
    "a firewall's page, 405": whole(BLOCKED, 405, content_type="text/html"),
    "Alibaba's inspection": whole(says("Input data may contain inappropriate content.", "data_inspection_failed"), 403),
    "a file that is gone": whole(says("File not found: file_gone", None, "invalid_request_error"), 404),
    "a stored prompt": whole(says("Prompt with id 'pmpt_1' not found.", None, "invalid_request_error"), 404),
    "a previous response": whole(
        says("Previous response with id 'resp_1' not found.", "previous_response_not_found"), 404
    ),
    "for legal reasons": whole(says("Unavailable for legal reasons"), 451),
    "403 without a word": whole("", 403, content_type=""),
    "404 without a word": whole({}, 404),
}


@pytest.mark.parametrize("name", ONE_RECORDS)
async def test_what_is_one_records_fault_closes_no_route(name: str) -> None:
    came = await answer(ONE_RECORDS[name], bad=(1, 3))

    assert [bool(code) for code in came.codes] == [False, True, False, True, False]
    assert not came.closed.codes
    assert [outcome.failure.kind for outcome in came.outcomes if outcome.failure] == ["record", "record"]


@pytest.mark.parametrize(
    "reply", [whole("", 403), whole("Not Found", 404), whole(BLOCKED, 403, content_type="text/html"), whole({}, 405)]
)
async def test_what_several_records_in_a_row_are_told_closes_the_route(reply: Reply) -> None:
    came = await answer(reply, bad=tuple(range(9)), records=9)

    assert came.closed.codes
    assert len(came.sent) <= 5
    assert came.codes[-1] == "routes_closed"


async def test_one_refused_key_among_answers_is_tried_again() -> None:
    came = await exchange([OK, whole(says("Incorrect API key", "invalid_api_key"), 401), OK], lines=[chat_line()] * 3)

    assert (came.answers, dict(came.closed.codes)) == (["Blue."] * 3, {})


async def test_a_key_that_is_always_refused_closes_the_route_even_for_a_single_record() -> None:
    came = await answer(whole(says("Incorrect API key", "invalid_api_key"), 401), records=1)

    assert (list(came.closed.codes.values()), len(came.sent)) == (["invalid_api_key"], 3)


SPENT: dict[str, tuple[Any, int]] = {
    "DeepSeek": (says("Insufficient Balance", "invalid_request_error", "unknown_error"), 402),
    "OpenAI": (says("You exceeded your current quota, please check your plan", "insufficient_quota"), 429),
    "OpenAI's hard limit": (says("Billing hard limit has been reached", "billing_hard_limit_reached"), 400),
    "Moonshot": (
        says("Your account a <b> is suspended, please check your plan", None, "exceeded_current_quota_error"),
        429,
    ),
    "Moonshot's words": (says("Your account a <b> is suspended, please check your plan"), 429),
    "Zhipu": (says("Insufficient balance or no resource package.", "1113"), 429),
    "DashScope": (says("Access denied, please make sure your account is in good standing.", "Arrearage"), 400),
    "xAI": ({"error": "Your team t has either used all available credits or reached its monthly spending limit."}, 429),
    "Groq": (says("The organization has been restricted.", "organization_restricted"), 400),
    "Groq's limit": (says("blocked_api_access: You have reached your spend limit", "blocked_api_access"), 400),
    "Hugging Face": ({"error": "You have exceeded your monthly included credits for Inference Providers."}, 402),
    "Anthropic": (says("This organization has been disabled.", None, "invalid_request_error"), 400),
    "an account": (says("Your account has been deactivated, please contact support"), 403),
    "a project": (says("The project has been suspended"), 403),
    "Fireworks": (says("Account x is suspended, possibly due to reaching the monthly spending limit"), 412),
    "no such model": (says("The model `m` does not exist or you do not have access to it."), 404),
    "OpenRouter's model": (says("x/y is not a valid model ID", 400), 400),
}


@pytest.mark.parametrize("name", SPENT)
async def test_what_holds_for_all_closes_the_route_at_once(name: str) -> None:
    body, status = SPENT[name]

    came = await answer(whole(body, status), bad=(0, 1, 2), records=3)

    assert (len(came.sent), len(came.closed.codes)) == (1, 1)


@pytest.mark.parametrize(
    "message",
    [
        "Invalid prompt: 'your account is suspended'",
        'messages[0]: This text says "Your API key has been disabled"',
        "The text `insufficient balance` is not allowed here",
    ],
)
async def test_a_quoted_prompt_closes_no_route(message: str) -> None:
    came = await answer(whole(says(message), 400))

    assert not came.closed.codes


RENEWED = [
    ("You exceeded your current quota, please check your plan. Please retry in 2s.", {}),
    ("You exceeded your current quota. Quota exceeded for metric free_tier_requests", {"retry-after": "2"}),
]


@pytest.mark.parametrize(("message", "headers"), RENEWED)
async def test_a_quota_that_renews_within_seconds_is_waited_for(message: str, headers: dict[str, str]) -> None:
    came = await exchange([whole(says(message, 429), 429, headers=headers), OK])

    assert (came.answers, len(came.sent)) == (["Blue."], 2)


DAILY = [
    "Rate limit reached for model `x` on tokens per day (TPD): Limit 500000, Used 499900, Requested 3000.",
    "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
    "Too many tokens per day, please wait before trying again.",
    "Quota exceeded: GenerateRequestsPerDayPerProjectPerModel-FreeTier. Please retry in 12s.",
    "You have reached your daily limit of requests",
]


@pytest.mark.parametrize("message", DAILY)
async def test_a_limit_by_the_day_rests_the_route(message: str) -> None:
    came = await exchange([whole(says(message, "rate_limit_exceeded"), 429), OK], lines=[chat_line()] * 3)

    assert (came.answers, dict(came.closed.codes), len(came.sent)) == (["Blue."] * 3, {}, 4)


TOO_LARGE = [
    (429, "Request too large for x in organization o on tokens per min (TPM): Limit 30000, Requested 36055."),
    (413, "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000, please reduce"),
    (429, "Rate limit: Limit: 30,000 tokens, Used 0, Requested: 36,000"),
]


@pytest.mark.parametrize(("status", "message"), TOO_LARGE)
async def test_a_request_larger_than_the_limit_fails_at_once(status: int, message: str) -> None:
    came = await answer(whole(says(message, "rate_limit_exceeded"), status))

    assert (came.codes[0], len(came.sent), came.answers[1:]) == ("request_too_large_for_limit", 5, ["Blue."] * 4)


async def test_a_request_that_fits_the_limit_is_sent_again() -> None:
    message = "Rate limit reached for x on tokens per min (TPM): Limit 30000, Used 29000, Requested 3000."

    came = await exchange([whole(says(message, "rate_limit_exceeded"), 429), OK])

    assert came.answers == ["Blue."]


TOO_LONG = [
    (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
    (400, "'max_tokens' is too large: 4096. This model's maximum context length is 4096 tokens"),
    (422, "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000"),
    (422, "`inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens"),
    (400, "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"),
    (400, "Please reduce the length of the messages or completion."),
    (400, "This model's maximum prompt length is 131072 but the request contains 140000 tokens."),
    (400, "The input (140000 tokens) is longer than the model's context length (131072 tokens)."),
    (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081"),
    (400, "Range of input length should be [1, 129024]"),
    (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    (400, "the request exceeds the available context size. try increasing the context size"),
    (500, "the request exceeds the available context size (4096 tokens)"),
    (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    (400, "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens."),
    (413, "Your input exceeds the context window of this model. Please adjust your input and try again."),
    (400, "Input is too long for requested model."),
    (400, "The total number of tokens exceeds the model's maximum sequence length of 8192"),
    (400, "invalid params, context window exceeds limit"),
]


@pytest.mark.parametrize(("status", "message"), TOO_LONG)
async def test_a_prompt_that_does_not_fit_has_one_name(status: int, message: str) -> None:
    came = await answer(whole(says(message), status), records=1)

    assert (came.codes, len(came.sent)) == (["context_length_exceeded"], 1)


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "temperature must be less than 2",
        "Invalid image: exceeds 20 MB",
    ],
)
async def test_other_refusals_keep_their_names(message: str) -> None:
    came = await answer(whole(says(message, "invalid_value"), 400), records=1)

    assert came.codes == ["invalid_value"]


BEDROCK: dict[str, Any] = {"provider": "bedrock", "model": "eu.amazon.nova-lite-v1:0"}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ValidationException", "Operation not allowed"),
        ("ValidationException", "The provided model identifier is invalid."),
        ("AccessDeniedException", "You don't have access to the model with the specified model ID."),
    ],
)
async def test_an_account_without_access_closes_bedrock(code: str, message: str) -> None:
    came = await answer(whole({"message": message}, 400, headers={"x-amzn-errortype": code}), **BEDROCK)

    assert (len(came.sent), len(came.closed.codes)) == (1, 1)


async def test_bedrocks_limit_by_the_day_is_not_tried_again_within_seconds() -> None:
    reply = whole(
        {"message": "Too many tokens per day, please wait."}, 429, headers={"x-amzn-errortype": "ThrottlingException"}
    )

    came = await exchange([reply], lines=[chat_line()] * 2, **BEDROCK)

    assert (len(came.sent), dict(came.closed.codes)) == (2, {})


async def test_a_retry_after_of_a_day_fails_no_record() -> None:
    reply = whole(says("Please retry after 86400 seconds.", "429"), 429, headers={"retry-after": "86400"})

    came = await exchange([reply, OK], lines=[chat_line()] * 5, provider="azure", model="luna")

    assert (came.answers, len(came.sent)) == (["Blue."] * 5, 6)


def message_line(n: int, **more: Any) -> dict[str, Any]:
    document = {"type": "document", "source": {"type": "file", "file_id": f"file_{n}"}}
    content = [document, {"type": "text", "text": f"record {n};"}]
    params = {"model": "x", "max_tokens": 9, "messages": [{"role": "user", "content": content}], **more}
    return {"custom_id": str(n), "params": params}


async def test_a_file_that_one_line_names_closes_no_route() -> None:
    gone = whole({"type": "error", "error": {"type": "not_found_error", "message": "File not found: file_1"}}, 404)
    fine = {"content": [{"type": "text", "text": "Blue."}], "usage": {"input_tokens": 1, "output_tokens": 1}}

    came = await exchange(
        lambda _call, body: gone if "file_1" in json.dumps(body) else whole(fine),
        lines=[message_line(n) for n in range(4)],
        provider="anthropic",
        file_format="anthropic",
        recipe={"attachments": "pass"},
        allow=["files"],
    )

    assert (came.answers, came.codes[1]) == (["Blue.", None, "Blue.", "Blue."], "not_found_error")
    assert not came.closed.codes
