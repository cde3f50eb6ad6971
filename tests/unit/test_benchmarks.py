"""Benchmarks measure what they say, on whatever day they run."""

from __future__ import annotations

from tests.bench.calls import stored_job
from tests.bench.foreign_files import drop


def test_a_job_of_a_benchmark_is_answered_and_not_given_up() -> None:
    found = stored_job(50, 200)
    assert (found["state"], found["answered"], found["provider"]) == ("DONE", 50, 50)


async def test_what_becomes_of_a_foreign_file_is_told_by_its_records() -> None:
    rows = b"id;Text\n1;good\n2;\n"
    assert await drop("a.csv", rows, "openai", {"prompt": "{{ text }}"}) == "1 answered, 2 empty_prompt"
    lines = b'{"prompt": "x"}\n{"prompt": "y", "max_token": 5, "max_output_token": 5}\n'
    assert (await drop("a.jsonl", lines, "bedrock", {})).startswith("1 answered, 2 unsupported_field")
