"""What Bedrock's batch inference alone does: it reads and writes our bucket, wants many lines, and takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import boto3
import msgspec
import pytest
from botocore.config import Config

from promptmill.domain.completion import JsonSchema, Tool
from promptmill.domain.errors import RecordError
from promptmill.ports.batch_service import BatchUsage, Refused, Unknown
from promptmill.wire.batches.bedrock import is_s3_uri
from promptmill.wire.batches.lines import AnsweredLine, FailedLine
from promptmill.wire.batches.terms import TERMS
from promptmill.wire.bedrock_quotas import terms_by_quotas
from tests.contract.batches.conftest import Bench, asking, opened
from tests.fakes.batches.bedrock import BUCKET, ROLE, error, problem
from tests.fakes.providers import bedrock as live


@pytest.fixture
async def bedrock() -> AsyncIterator[Bench]:
    async with opened("bedrock") as found:
        yield found


async def test_ninety_nine_records_fail_while_they_are_validated(bedrock: Bench) -> None:
    bedrock.fake.minimum = 100
    batch_id = await bedrock.send(bedrock.order(99))
    states = [await bedrock.poll(batch_id) for _ in range(4)]

    assert [status.said for status in states] == ["Submitted", "Validating", "Failed", "Failed"]
    status = states[-1]
    assert status.refusal is not None
    assert (status.state, status.refusal.kind, status.files) == ("failed", "too_few_lines", ())
    assert "99" in status.faults[0].detail
    assert (await bedrock.service.terms(bedrock.route)).min_lines == 100


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("", "unavailable"),
        ("The role arn:aws:iam::1:role/r cannot be assumed", "invalid"),
        ("Model m does not support batch inference", "model_closed"),
        ("Sum of in-progress and submitted batch inference jobs exceeded", "queue_full"),
    ],
)
async def test_why_a_job_failed_is_read_from_its_message(bedrock: Bench, words: str, kind: str) -> None:
    batch_id = await bedrock.send(bedrock.order(2))
    bedrock.fake.batches[batch_id] |= {"status": "Failed", "message": words}

    status = await bedrock.poll(batch_id)
    assert status.refusal is not None
    assert status.refusal.kind == kind


async def test_a_job_that_lies_in_the_queue_for_thirty_hours_is_running(bedrock: Bench) -> None:
    batch_id = await bedrock.send(bedrock.order(2))
    for _ in range(5):
        bedrock.clock.advance(6 * 3600)
        status = await bedrock.poll(batch_id)
    assert (status.state, status.said) == ("running", "Scheduled")


async def test_an_end_that_is_told_before_the_results_can_be_seen_is_no_end_yet(bedrock: Bench) -> None:
    order = bedrock.order(2)
    batch_id = await bedrock.send(order)
    bedrock.fake.finish(batch_id)
    written, bedrock.fake.objects._objects = bedrock.fake.objects._objects, {}

    assert (await bedrock.poll(batch_id)).state == "running"
    bedrock.clock.advance(3601)
    lost = await bedrock.poll(batch_id)
    assert (lost.state, lost.files) == ("completed", ())
    bedrock.fake.objects._objects = written
    assert len(await bedrock.read(order, await bedrock.poll(batch_id))) == 2


async def test_bedrocks_own_total_of_tokens(bedrock: Bench) -> None:
    await bedrock.run(bedrock.order(3))

    assert bedrock.status is not None
    assert bedrock.status.usage == BatchUsage(63, 27)
    assert (bedrock.status.total, bedrock.status.succeeded, bedrock.status.failed) == (3, 3, 0)


async def test_what_bedrock_is_told(bedrock: Bench) -> None:
    batch_id = await bedrock.send(bedrock.order(2, window_h=30))

    job = bedrock.fake.batches[batch_id]
    assert (job["jobName"], job["clientRequestToken"]) == ("s-1-k7", "s-1-k7")
    assert (job["roleArn"], job["timeoutDurationInHours"], job["modelInvocationType"]) == (ROLE, 30, "Converse")
    source, target = job["inputDataConfig"], job["outputDataConfig"]
    assert source["s3InputDataConfig"] == {"s3Uri": f"s3://{BUCKET}/work/s-1-k7/in/", "s3InputFormat": "JSONL"}
    assert target == {"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/work/s-1-k7/out/"}}


@pytest.mark.parametrize(
    "folder", ["work/day=1/", "work/a b/", "work/a+b/", "work/a:b/", "work/a%20b/", "work/a@b/", "é/"]
)
async def test_a_folder_that_bedrock_refuses_is_refused_before_it_is_called(bedrock: Bench, folder: str) -> None:
    refused = await bedrock.service.create(bedrock.route, bedrock.order(2, folder=folder), "")

    assert isinstance(refused, Refused)
    assert (refused.kind, refused.code, bedrock.fake.seen["create"]) == ("invalid", "bad_s3_uri", [])


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "s3://bucket",
            "s3://bucket/",
            "s3://bucket/a",
            "s3://bucket/a/",
            "s3://bucket/a/b.jsonl",
            "s3://b.u-c/(x)!_*'",
        ),
        *("s3://bucket//a", "s3://bucket/a//b", "s3://bucket/=", "s3://B/a", "s3://bu/a", "s3://-bucket/a"),
        *(
            "https://bucket/a",
            "s3://bucket/a?b",
            "s3://bucket/a b",
            "s3://bucket/" + "a" * 1012,
            "s3://bucket/" + "a" * 1013,
        ),
    ],
)
def test_addresses_are_taken_as_botocores_model_takes_them(uri: str) -> None:
    job: dict[str, Any] = {
        "jobName": "j",
        "roleArn": ROLE,
        "modelId": "amazon.nova-lite-v1:0",
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": uri}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/"}},
    }
    assert is_s3_uri(uri) == (problem("CreateModelInvocationJob", job) is None)


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"json_schema": JsonSchema({"type": "object"})}, "outputConfig"),
        ({"tools": (Tool("t", "", {}),)}, "toolConfig"),
    ],
)
async def test_tools_and_structured_output_go_live(bedrock: Bench, request_fields: Any, field: str) -> None:
    with pytest.raises(RecordError, match=f"{field}: cannot be in a batch of Amazon Bedrock"):
        bedrock.service.write_line(bedrock.route, asking("Hi", **request_fields), line_id="l-1")


@pytest.mark.parametrize(
    ("model", "endpoint", "kind"),
    [
        ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", "invoke", "completion"),
        ("meta.llama3-8b-instruct-v1:0", "invoke", "completion"),
        ("amazon.nova-lite-v1:0", "", "completion"),
        ("amazon.titan-embed-text-v2:0", "", "embedding"),
        ("cohere.embed-english-v3", "embeddings", "embedding"),
    ],
)
async def test_each_kind_of_body(bedrock: Bench, model: str, endpoint: Any, kind: Any) -> None:
    bedrock.route = msgspec.structs.replace(bedrock.route, model=model, endpoint=endpoint)
    # The format of a file does not choose the API of its lines: all lines of a job are of one.
    request = asking("Hi", kind=kind, wire_format="anthropic-messages" if endpoint == "" else "")
    line = bedrock.service.write_line(bedrock.route, request, line_id="l-1")
    (read,) = await bedrock.run(bedrock.staged([line]))

    assert bedrock.fake.wrong == []
    assert isinstance(read, AnsweredLine)
    completion = bedrock.service.read_answer(bedrock.route, request, read)
    assert completion.text == "Answer to l-1." if kind == "completion" else completion.embeddings


async def test_a_token_that_was_used_proves_that_there_may_be_a_batch(bedrock: Bench) -> None:
    """The service answers 400, as to what it refuses; there is a job with this token all the same."""
    bedrock.fake.will("create", error(400, "ConflictException", "the token was used with other parameters"))

    assert await bedrock.service.create(bedrock.route, bedrock.order(2), "") == Unknown("ConflictException")


async def test_lines_of_the_manifest_are_no_results(bedrock: Bench) -> None:
    assert bedrock.service.read_line(b'{"totalRecordCount":3,"inputTokenCount":1}') is None
    failed = bedrock.service.read_line(b'{"recordId":"l-1","modelInput":{}}')
    assert isinstance(failed, FailedLine)
    assert failed.fault == "retry"


async def test_boto3_gets_along_with_the_fake(bedrock: Bench) -> None:
    order = bedrock.order(2)
    client = boto3.client(
        "bedrock",
        region_name=live.REGION,
        endpoint_url=bedrock.fake.url,
        aws_access_key_id=live.ACCESS_KEY,
        aws_secret_access_key=live.SECRET_KEY,
        aws_session_token=live.TOKEN,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    made, found, listed = await asyncio.to_thread(_a_life, client, bedrock.fake, order.folder)
    client.close()

    assert bedrock.fake.wrong == []
    assert (found["status"], found["successRecordCount"]) == ("Completed", 2)
    assert [job["jobArn"] for job in listed] == [made["jobArn"]]
    assert [batch.id for batch in await bedrock.find(order, "")] == [made["jobArn"]]


def _a_life(client: Any, fake: Any, folder: str) -> tuple[Any, Any, Any]:
    made = client.create_model_invocation_job(
        jobName="s-1-k7",
        roleArn=ROLE,
        modelId="amazon.nova-lite-v1:0",
        modelInvocationType="Converse",
        inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://{BUCKET}/{folder}"}},
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/work/out/"}},
    )
    client.stop_model_invocation_job(jobIdentifier=made["jobArn"])
    fake.finish(made["jobArn"])
    with pytest.raises(client.exceptions.ConflictException):
        client.stop_model_invocation_job(jobIdentifier=made["jobArn"])
    found = client.get_model_invocation_job(jobIdentifier=made["jobArn"])
    listed = client.list_model_invocation_jobs(nameContains="s-1", maxResults=5)["invocationJobSummaries"]
    return made, found, listed


MINIMUM, RECORDS = "Minimum number of records per batch inference job for ", "Records per batch inference job for "


async def test_terms_are_those_of_the_accounts_quotas(bedrock: Bench) -> None:
    bedrock.fake.default_quotas = {f"{MINIMUM}Claude Haiku 4.5": 100, f"{RECORDS}Claude Haiku 4.5": 50_000, "x": 1}
    bedrock.fake.quotas = {
        f"{RECORDS}Claude Haiku 4.5": 100_000,
        "Batch inference job size (in GB) for Claude Haiku 4.5": 10,
        f"{MINIMUM}Nova Lite": 500,
    }
    terms = await bedrock.service.terms(bedrock.route)
    assert (terms.min_lines, terms.max_lines, terms.max_bytes) == (100, 100_000, 10_000_000_000)
    nova = msgspec.structs.replace(bedrock.route, model="amazon.nova-lite-v1:0")
    assert (await bedrock.service.terms(nova)).min_lines == 500

    bedrock.fake.quotas[f"{MINIMUM}Nova Lite"] = 1000
    assert (await bedrock.service.terms(nova)).min_lines == 500
    bedrock.clock.advance(25 * 3600)
    assert (await bedrock.service.terms(nova)).min_lines == 1000
    assert bedrock.fake.wrong == []


async def test_the_usual_quotas_hold_where_none_may_be_read(bedrock: Bench) -> None:
    bedrock.fake.will("quotas", error(400, "AccessDeniedException", "not authorized"))
    assert await bedrock.service.terms(bedrock.route) == TERMS["bedrock"]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", "Claude 3.5 Sonnet"),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "Claude 3.5 Sonnet v2"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "Claude Sonnet 4.5"),
        ("anthropic.claude-sonnet-4-20250514-v1:0", "Claude Sonnet 4"),
        ("meta.llama3-1-8b-instruct-v1:0", "Llama 3.1 8B Instruct"),
        ("arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-lite-v1:0", "Nova Lite"),
        ("amazon.titan-embed-text-v2:0", "Titan Text Embeddings V2"),
        ("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3d4e5f6", ""),
    ],
)
def test_quotas_name_models_as_people_do(model: str, name: str) -> None:
    names = [
        "Claude 3.5 Sonnet",
        "Claude 3.5 Sonnet v2",
        "Claude Sonnet 4",
        "Claude Sonnet 4.5",
        "Llama 3.1 8B Instruct",
    ]
    quotas = [(f"{MINIMUM}{one}", place + 2.0) for place, one in enumerate([*names, "Nova Lite"])]
    wanted = next((value for one, value in quotas if one == MINIMUM + name), 100)
    assert terms_by_quotas(TERMS["bedrock"], quotas, model).min_lines == wanted


def test_both_ways_to_write_the_unit_of_a_quota() -> None:
    for name in ("Batch inference job size (in GB) for Nova Lite", "Batch inference job size for Nova Lite (in GB)"):
        assert terms_by_quotas(TERMS["bedrock"], [(name, 7.5)], "amazon.nova-lite-v1:0").max_bytes == 7_500_000_000
