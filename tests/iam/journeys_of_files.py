"""Every path of a dropped file that reaches another AWS call."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from promptmill import wiring
from promptmill.domain import job_file, layout
from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.errors import RecordRefusedError
from promptmill.domain.job import JobState, Source
from promptmill.domain.limits import DOCUMENT
from promptmill.domain.messages import PlanMessage
from promptmill.domain.recipe import Route
from promptmill.engine.journal import SEAL
from promptmill.jobs.find_run import find_run
from promptmill.jobs.plan_job import release_duplicate
from promptmill.jobs.reject_job import open_job
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.stop_run import cancel_job
from tests.fakes.batches.service import FakeBatches
from tests.fakes.model_provider import FakeModels
from tests.iam.functions import BUCKET, sample
from tests.iam.journeys import FILE, OK, Journey

_PART = 4 << 10
ROUTE = "openai/gpt-6-luna"


def a_file(journey: Journey) -> None:
    """Plan, run, finish, sweep; the limits document is there."""
    limits = b"limits:\n  - {models: openai/gpt-6-luna, requests_per_minute: 6000, tokens_per_minute: 9000000}\n"
    journey.stack.s3.put_object(Bucket=BUCKET, Key=f"recipes/{DOCUMENT}.yaml", Body=limits)
    journey.drop("a.csv", FILE)
    journey.run_all()
    journey.invoke("sweep", sample("schedule"))
    assert journey.state_of("a.csv") == "DONE"
    journey.stack.s3.delete_object(Bucket=BUCKET, Key=f"recipes/{DOCUMENT}.yaml")


def a_file_in_a_batch(journey: Journey) -> None:
    """Decided, staged, sent, copied in parts, told and erased; one upload of the copy fails and is taken back."""
    batches = FakeBatches(journey.clock)
    batches.takes = timedelta(0)
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch)
        patch.setattr(wiring.Services, "batch_services", batches)
        lines = "".join(f"{n} in a batch\r\n" for n in range(150))
        journey.drop("patient.csv", f"text\r\n{lines}".encode(), recipe="patient")
        journey.gate.break_at("CompleteMultipartUpload", "batches/")
        for minutes in range(0, 40, 4):
            journey.ahead(minutes=minutes)
            journey.invoke("sweep", sample("schedule"))
            batches.move_to(journey.clock)
            for queue, function in (("uploads", "plan_job"), ("chunks", "run_chunk"), ("finish", "finish_job")):
                journey.work(function, queue)
    assert journey.state_of("patient.csv") == "DONE"
    assert (len(batches.creates), len(batches.deleted)) == (1, 1)
    journey.ahead()


def small_parts(patch: pytest.MonkeyPatch) -> None:
    """Let parts be small, so that files of several parts are as well."""
    for place in ("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", "promptmill.aws.s3.multipart.MIN_PART"):
        patch.setattr(place, _PART)
    for place in ("promptmill.aws.s3.object_store.PART", "promptmill.aws.s3.multipart.PART"):
        patch.setattr(place, _PART)


def a_compressed_file_in_parts(journey: Journey) -> None:
    """What is unpacked, and what is joined, is written in several parts; one upload fails and is taken back."""
    lines = [json.dumps({"prompt": "x" * 1_000}) for _ in range(9)]
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch)
        journey.drop("b.jsonl.gz", gzip.compress("\n".join(lines).encode()))
        journey.models = FakeModels({ROUTE: [Completion("y" * 1_000, "stop", Usage(1, output_total=1))] * 9})
        journey.gate.break_at("CompleteMultipartUpload")
        assert journey.work("plan_job", "uploads") != OK
        journey.work("plan_job", "uploads")
        journey.work("run_chunk", "chunks")
        journey.gate.break_at("CompleteMultipartUpload")
        assert journey.work("finish_job", "finish") != OK
        journey.run_all()
    journey.models = FakeModels()
    assert journey.state_of("b.jsonl.gz") == "DONE"


def many_windows_and_segments(journey: Journey) -> None:
    """Many chunks, sent window by window; their results are joined in segments whose parts S3 copies."""
    journey.chunks_a_segment = 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_file, "MAX_RECORDS", 4)
        small_parts(patch)
        journey.models = FakeModels({ROUTE: [Completion("y" * 2_000, "stop", Usage(1, output_total=1))] * 24})
        lines = [json.dumps({"prompt": f"windows {n}"}) for n in range(24)]
        journey.drop("w.jsonl", "\n".join(lines).encode())
        journey.work("plan_job", "uploads")
        journey.work_while_there("run_chunk", "chunks")
        journey.gate.break_at("CompleteMultipartUpload", "/joined/")
        journey.work("finish_job", "finish")
        journey.work("finish_job", "finish")
        journey.run_all()
    journey.models = FakeModels()
    assert journey.state_of("w.jsonl") == "DONE"


def a_duplicate(journey: Journey) -> None:
    """The same bytes wait; a tag lets them run, and so does an operator."""
    journey.drop("a.csv", FILE)
    journey.run_all()
    version = journey.stack.s3.head_object(Bucket=BUCKET, Key="inbox/reviews/a.csv")["VersionId"]
    tag = {"TagSet": [{"Key": "promptmill-again", "Value": "true"}]}
    journey.stack.s3.put_object_tagging(Bucket=BUCKET, Key="inbox/reviews/a.csv", VersionId=version, Tagging=tag)
    event = sample("upload_tagged")["Records"][0]
    notification = json.loads(event["body"])
    notification["Records"][0]["s3"]["object"] |= {"key": "inbox/reviews/a.csv", "versionId": version}
    journey.send("uploads", json.dumps(notification))
    journey.run_all()
    journey.drop("again.csv", FILE)
    journey.run_all()
    assert journey.state_of("again.csv") == "DUPLICATE"
    journey.services.run(release_duplicate(journey.job_of("again.csv"), journey.services.job_context))
    journey.run_all()
    assert journey.state_of("again.csv") == "DONE"


def a_rejected_file(journey: Journey) -> None:
    """No file of ours, and no such recipe."""
    journey.drop("c.pdf", b"%PDF-1.7 nothing")
    journey.drop("d.csv", FILE, recipe="nobody")
    journey.run_all()
    assert journey.state_of("c.pdf") == "REJECTED"


def failures_and_reruns(journey: Journey) -> None:
    """A job whose records fail under a budget is redriven, and then there is nothing left to run."""
    journey.models = FakeModels({ROUTE: [RecordRefusedError("content_filter", "no")]})
    journey.drop("e.csv", b"text\r\nonce\r\n", recipe="frugal")
    journey.run_all()
    journey.models = FakeModels()
    job = journey.job_of("e.csv")
    journey.services.run(rerun_job(job, "redrive", journey.services.job_context))
    journey.run_all()
    assert journey.state_of("e.csv") == "DONE"


def a_rerun_with_nothing_to_run(journey: Journey) -> None:
    """Two operators redrive at once, and the first has left the second nothing: the plan sends for the finish."""
    journey.drop("n.csv", b"text\r\nnothing left\r\n")
    journey.run_all()
    services = journey.services
    last = services.run(find_run(journey.job_of("n.csv"), jobs=services.jobs))
    prefix = layout.rerun_prefix(last.source.key, last.job_id, 2)
    run = replace(last, run=2, state=JobState.PLANNING, rerun="redrive", results_prefix=prefix, files={})
    services.run(services.jobs.create(run))
    services.run(services.queue.send([PlanMessage(run.source.key, run.source.version, run.job_id, run=2)]))
    journey.run_all()
    assert journey.state_of("n.csv") == "DONE"


def budgets(journey: Journey) -> None:
    """A job's budget, a day's, and the cap of the deployment are spent after a call or two."""
    for recipe, cap in (("poor", None), ("daily", None), ("capped", 7_500)):
        lines = "".join(f"{n} is too much for {recipe}\r\n" for n in range(9))
        journey.drop(f"{recipe}.csv", f"text\r\n{lines}".encode(), recipe=recipe)
        journey.day_cap = cap
        journey.work("plan_job", "uploads")
        for _ in range(3):
            journey.work("run_chunk", "chunks")
        journey.day_cap = None
        if recipe != "poor":  # it waits for the next day
            journey.services.run(cancel_job(journey.job_of(f"{recipe}.csv"), journey.services.job_context))
        journey.run_all()
    assert journey.state_of("poor.csv") == "STOPPED"


def a_cancelled_job(journey: Journey) -> None:
    """Stopped before a chunk ran, and swept while a worker may still hold it."""
    journey.drop("f.csv", b"text\r\ncancelled\r\n")
    journey.work("plan_job", "uploads")
    services = journey.services
    services.run(cancel_job(journey.job_of("f.csv"), services.job_context))
    journey.invoke("sweep", sample("schedule"))
    journey.run_all()
    assert journey.state_of("f.csv") == "CANCELLED"


def messages_that_are_lost(journey: Journey) -> None:
    """A job whose messages vanished is found by the sweep, step by step."""
    journey.drop("g.csv", b"text\r\nquiet\r\n")
    found = journey.stack.s3.head_object(Bucket=BUCKET, Key="inbox/reviews/g.csv")
    modified = found["LastModified"].isoformat().replace("+00:00", "Z")
    source = Source("inbox/reviews/g.csv", found["VersionId"], found["ContentLength"], modified)
    journey.services.run(open_job(source, journey.services.job_context))
    for queue, function in (("uploads", "plan_job"), ("chunks", "run_chunk"), ("finish", "finish_job")):
        journey.lose(queue)
        journey.ahead(minutes={"uploads": 20, "chunks": 40, "finish": 80}[queue])
        journey.invoke("sweep", sample("schedule"))
        assert journey.work(function, queue) == OK
    journey.ahead()


def workers_that_die(journey: Journey) -> None:
    """A worker dies with calls under way, another with their answers journaled; the next ones take the chunk over."""
    journey.drop("k.csv", b"text\r\ntaken over\r\n")
    journey.work("plan_job", "uploads")
    for place in ("/journals/", "/chunks/"):
        journey.gate.break_at("PutObject", place, dies=True)
        journey.work_until_it_fails("run_chunk", "chunks")
    journey.run_all()
    assert journey.state_of("k.csv") == "DONE"


class Thief(FakeModels):
    """Models that answer once another worker has taken the chunk over, and has sealed its journal."""

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        unit = call_id.rsplit(".", 2)[0]
        job_id, run, chunk = unit.rsplit(".", 2)
        services = wiring.services_of_process()
        await services.units.claim(unit, seen=await services.units.read(unit), owner="another")
        await services.objects.create(
            layout.journal_key(layout.chunk_journals(job_id, int(run), int(chunk)), 1, 0), SEAL
        )
        return await super().complete(route, request, call_id=call_id)


def a_worker_that_is_taken_over(journey: Journey) -> None:
    """A worker that is only slow learns what its calls cost when another has taken the chunk: it corrects the costs."""
    journey.drop("l.csv", b"text\r\nslow\r\n")
    journey.work("plan_job", "uploads")
    journey.models = Thief()
    journey.work("run_chunk", "chunks")
    journey.models = FakeModels()
    journey.run_all()


def a_join_that_is_repeated(journey: Journey) -> None:
    """The files are there and the end is not: whoever joins again compares what is there with what it would write."""
    journey.drop("m.csv", b"text\r\njoined twice\r\n")
    journey.work("plan_job", "uploads")
    journey.work("run_chunk", "chunks")
    journey.gate.break_at("PutObject", "summary.json")
    assert journey.work("finish_job", "finish") != OK
    journey.run_all()
    assert journey.state_of("m.csv") == "DONE"


def no_versions(journey: Journey) -> None:
    """A bucket that keeps no versions: files are read, tagged and settled by their keys alone."""
    journey.drop("u.csv", b"text\r\nno versions\r\n")
    journey.run_all()
    journey.drop("u2.csv", b"text\r\nno versions\r\n")
    journey.run_all()
    assert (journey.state_of("u.csv"), journey.state_of("u2.csv")) == ("DONE", "DUPLICATE")
    journey.drop("u3.csv", b"text\r\nsettled without a version\r\n")
    (upload,) = journey.lose("uploads")
    journey.dead_letter("uploads", upload["body"])


FILE_JOURNEYS: tuple[Callable[[Journey], None], ...] = (
    a_file,
    a_compressed_file_in_parts,
    many_windows_and_segments,
    a_duplicate,
    a_rejected_file,
    failures_and_reruns,
    a_rerun_with_nothing_to_run,
    a_cancelled_job,
    messages_that_are_lost,
    workers_that_die,
    a_worker_that_is_taken_over,
    a_join_that_is_repeated,
    budgets,
    a_file_in_a_batch,
)
