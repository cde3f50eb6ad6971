"""Every path of a request, of a dead letter and of a call to a model that reaches another AWS call."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest

from promptmill.domain import job_file
from promptmill.domain.completion import Completion, Usage
from promptmill.jobs.stop_run import cancel_job
from tests.fakes.model_provider import FakeModels
from tests.iam.functions import ACCOUNT, BUCKET, REGION
from tests.iam.journeys import OK, Journey
from tests.iam.journeys_of_files import small_parts

ROUTE = "openai/gpt-6-luna"
_ACCOUNTS = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:"
_MODELS_OF_THE_ACCOUNT = (
    "application-inference-profile/a1b2c3",
    "provisioned-model/a1b2c3",
    "custom-model-deployment/a1b2c3",
    "imported-model/a1b2c3",
)
HTTP_ROUTES = (
    "{model: bedrock/amazon.titan-text-lite-v1}",
    "{model: bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0, stream: true}",
    "{model: bedrock/anthropic.claude-haiku-4-5-20251001-v1:0, dialect: invoke}",
    "{model: bedrock/anthropic.claude-haiku-4-5-20251001-v1:0, dialect: invoke, stream: true}",
    *(f"{{model: 'bedrock/{_ACCOUNTS}{model}', stream: true}}" for model in _MODELS_OF_THE_ACCOUNT),
    *(f"{{model: 'bedrock/{_ACCOUNTS}{model}'}}" for model in _MODELS_OF_THE_ACCOUNT),
    "{model: bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0, region: eu-west-1}",
    "{model: anthropic-aws/claude-haiku-5-5, account: wrkspc_01}",
)
"""Converse and InvokeModel, whole and streamed, of models, profiles and what an account has of its own; and Claude on AWS."""


def requests(journey: Journey) -> None:
    """A plain one, one with its body in the bucket, and one whose body is not there."""
    body = json.dumps({"prompt": "from the bucket"})
    journey.stack.s3.put_object(Bucket=BUCKET, Key="requests/reviews/r.json", Body=body)
    journey.ask(id="r1", prompt="hello")
    journey.ask(id="r2", body_key="requests/reviews/r.json")
    journey.ask(id="r3", body_key="requests/reviews/none.json")
    journey.work_while_there("run_requests", "requests")
    journey.ask(id="r1", prompt="hello")  # published again
    journey.work_while_there("run_requests", "requests")


def a_large_answer(journey: Journey) -> None:
    """The reply only says where the answer is."""
    large = Completion("y" * 300_000, "stop", Usage(1, output_total=1))
    journey.models = FakeModels({ROUTE: [large]})
    journey.ask(id="r4", prompt="long")
    journey.work_while_there("run_requests", "requests")
    journey.models = FakeModels()


def a_request_that_waits(journey: Journey) -> None:
    """Its recipe is paused: it is sent again for later."""
    switches = journey.services.switches
    journey.services.run(switches.pause("reviews", by="someone", at="2026-01-01T00:00:00Z"))
    journey.ask(id="r5", prompt="later")
    assert journey.work("run_requests", "requests") == OK
    journey.services.run(journey.services.switches.unpause("reviews"))
    journey.work_while_there("run_requests", "requests")


def requests_whose_workers_die(journey: Journey) -> None:
    """With the call under way, and with its answer journaled: the next worker takes the request over."""
    for number, place in enumerate(("work/requests/", "answers/")):
        journey.ask(id=f"dies{number}", prompt="taken over")
        journey.gate.break_at("PutObject", place, dies=True)
        journey.work_until_it_fails("run_requests", "requests")
        journey.work_while_there("run_requests", "requests")


def secrets(journey: Journey) -> None:
    """The functions that call models read their keys."""
    client = journey.services.session.client("secretsmanager")
    client.create_secret(Name="promptmill/dev/openai", SecretString="k")
    for function in ("run_chunk", "run_requests"):
        journey.restart()
        with journey.gate.acting_as(function):
            assert journey.services.run(journey.services.secrets.read("promptmill/dev/openai")) == "k"


def calls_over_http(journey: Journey) -> None:
    """Bedrock and Claude on AWS, by a chunk and by a request."""
    journey.over_http = True
    for number, _ in enumerate(HTTP_ROUTES):
        journey.drop(f"http{number}.csv", f"text\r\nover http {number}\r\n".encode(), recipe=f"http{number}")
        journey.ask(id="http", prompt="x", recipe=f"http{number}")
    journey.run_all()
    journey.work_while_there("run_requests", "requests")
    journey.over_http = False
    assert {journey.state_of(f"http{number}.csv") for number, _ in enumerate(HTTP_ROUTES)} == {"DONE"}


def dead_letters(journey: Journey) -> None:
    """Messages of every kind that their workers could not take."""
    journey.drop("h.csv", b"text\r\ndead\r\n")
    (upload,) = journey.stack.take("uploads")
    journey.work("plan_job", "uploads")
    (chunk,) = journey.lose("chunks")
    journey.dead_letter("chunks", chunk["body"])
    journey.gate.break_at("PutObject", "/journals/", dies=True)  # it was to start again
    journey.work_until_it_fails("run_chunk", "chunks")
    (chunk,) = journey.lose("chunks")
    journey.dead_letter("chunks", journey.crashed(chunk["body"]))
    (finish,) = journey.lose("finish")
    journey.gate.break_at("PutObject", "summary.json")
    journey.send("finish", finish["body"])
    journey.work_until_it_fails("finish_job", "finish")
    journey.lose("finish")
    journey.dead_letter("finish", finish["body"])
    journey.dead_letter("uploads", upload["body"])
    assert journey.state_of("h.csv") == "DONE"


def dead_letters_of_a_compressed_file(journey: Journey) -> None:
    """It was cancelled: its staged records are read once more, to say which were not answered."""
    journey.drop("z.jsonl.gz", gzip.compress(b'{"prompt": "compressed"}\n'))
    journey.work("plan_job", "uploads")
    (chunk,) = journey.lose("chunks")
    journey.services.run(cancel_job(journey.job_of("z.jsonl.gz"), journey.services.job_context))
    journey.lose("chunks")
    journey.dead_letter("chunks", chunk["body"])
    journey.run_all()
    assert journey.state_of("z.jsonl.gz") == "CANCELLED"


def dead_letters_of_a_join(journey: Journey) -> None:
    """The files of a run have several parts and segments; uploads fail and are taken back."""
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch)
        patch.setattr(job_file, "MAX_RECORDS", 4)
        journey.chunks_a_segment = 2
        journey.models = FakeModels({ROUTE: [Completion("y" * 2_000, "stop", Usage(1, output_total=1))] * 12})
        journey.drop("j.jsonl", b"\n".join(b'{"prompt": "join %d"}' % n for n in range(12)))
        journey.work("plan_job", "uploads")
        journey.work_while_there("run_chunk", "chunks")
        for place in ("/joined/", "results.jsonl"):
            journey.gate.break_at("CompleteMultipartUpload", place)
        while messages := [*journey.lose("finish"), *journey.lose("finish-dead-letters")]:
            for message in messages:
                journey.send("finish-dead-letters", message["body"])
            journey.work("settle_dead_letter", "finish-dead-letters")
    journey.models = FakeModels()
    assert journey.state_of("j.jsonl") == "DONE"


def dead_plans(journey: Journey) -> None:
    """A file that was never planned."""
    journey.drop("i.csv", b"text\r\nnever planned\r\n")
    (upload,) = journey.lose("uploads")
    journey.dead_letter("uploads", upload["body"])
    journey.run_all()


def dead_requests(journey: Journey) -> None:
    """One that starts again, one of an unknown recipe, one whose body lies in the bucket and whose end is decided."""
    journey.dead_letter("requests", json.dumps({"recipe": "reviews", "id": "dead", "prompt": "x"}))
    lost = {"recipe": "nobody", "id": "lost", "reply_to": "promptmill-local-replies"}
    journey.dead_letter("requests", json.dumps(lost))
    journey.work_while_there("run_requests", "requests")
    body = json.dumps({"prompt": "decided"})
    journey.stack.s3.put_object(Bucket=BUCKET, Key="requests/reviews/d.json", Body=body)
    journey.ask(id="decided", body_key="requests/reviews/d.json")
    journey.gate.break_at("PutObject", "answers/")
    journey.work_until_it_fails("run_requests", "requests")
    (request,) = journey.lose("requests")
    journey.dead_letter("requests", request["body"])
    journey.work_while_there("run_requests", "requests")


REQUEST_JOURNEYS: tuple[Callable[[Journey], None], ...] = (
    requests,
    a_large_answer,
    a_request_that_waits,
    requests_whose_workers_die,
    secrets,
    calls_over_http,
    dead_letters,
    dead_letters_of_a_compressed_file,
    dead_letters_of_a_join,
    dead_plans,
    dead_requests,
)
