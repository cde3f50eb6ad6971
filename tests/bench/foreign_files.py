"""Drop files of other projects unchanged, and print what became of each line: ``python -m tests.bench.foreign_files FOLDER``.

The files are not ours to ship: collect them yourself. ``recipes.json`` in the folder may give a file its recipe, as
``{"rows.csv": {"prompt": "{{ text }}"}}``, and its route for vectors, as ``{"a.jsonl": {"dialect": "embeddings"}}``. Each
file goes through the real planner, engine and adapters to fakes of OpenAI, Anthropic and Bedrock, which judge every
request by the types of the official SDKs and by botocore's model.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from promptmill.domain.job import JobRun, JobState
from tests.contract.providers.scenes import opened
from tests.fakes.mill import Mill
from tests.fakes.recipes import recipe

PROVIDERS = ("openai", "anthropic", "bedrock")
RECIPES = "recipes.json"


class Fate(msgspec.Struct, frozen=True):
    """What became of a line: ``answered``, or the code of its failure."""

    record: int
    code: str


async def drop(name: str, data: bytes, provider: str, settings: Mapping[str, Any]) -> str:
    """Drop a file on a route of one provider, and return what became of it in words."""
    own = dict(settings)
    dialect = {"endpoint": own.pop("dialect")} if "dialect" in own else {}
    async with opened(provider, **dialect) as stand:
        mill = Mill(recipe(routes=(stand.route,), **own), models=stand.providers)
        job = await mill.mill(f"inbox/r/{name}", data)
        refused = f"; the fake refused {len(stand.fake.refused)} calls" if stand.fake.refused else ""
        if job.state is JobState.REJECTED:
            return f"REJECTED: {job.reason} ({job.remedy}){refused}"
        return ", ".join(tell(list(fates(mill, job)))) + refused


def fates(mill: Mill, job: JobRun) -> Iterator[Fate]:
    """Yield what became of each record, in order, from the results that people read."""
    text = mill.file(job, "results").decode("utf-8-sig")
    if job.files["results"].endswith(".csv"):
        head = text.partition("\n")[0]
        delimiter = max(",;\t|", key=head.count)
        for place, row in enumerate(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)):
            yield Fate(place, row["status"] if row["status"] == "answered" else row["error"].partition(":")[0])
    elif job.files["results"].endswith(".txt"):
        for place, line in enumerate(text.removesuffix("\n").split("\n")):
            code = line.removeprefix("[error] ").partition(":")[0] if line.startswith("[error]") else "answered"
            yield Fate(place, code)
    else:
        for place, line in enumerate(text.removesuffix("\n").split("\n")):
            yield Fate(place, code_of(json.loads(line)))


def code_of(line: dict[str, Any]) -> str:
    """Return the code of a result line in any of the formats of JSON lines."""
    error = line.get("error") or (line.get("result") or {}).get("error")
    if not error:
        return "answered"
    if "errorMessage" in error:
        return str(error["errorMessage"]).partition(":")[0]
    return str(error.get("code") or error["error"]["details"]["error_code"])


def tell(found: list[Fate]) -> Iterator[str]:
    for code, group in groupby(found, key=lambda fate: fate.code):
        places = [fate.record + 1 for fate in group]
        yield f"{places[0]} {code}" if len(places) == 1 else f"{places[0]}-{places[-1]} {code}"


def main(folder: Path) -> None:
    """Print a table of Markdown: a row for each file and route."""
    own = json.loads((folder / RECIPES).read_text()) if (folder / RECIPES).exists() else {}
    print("| file | route | what became of its records |\n|---|---|---|")
    for path in sorted(folder.iterdir()):
        if path.name == RECIPES:
            continue
        settings = own.get(path.name, {})
        only = ("openai",) if "dialect" in settings else PROVIDERS
        for provider in only:
            fate = asyncio.run(drop(path.name, path.read_bytes(), provider, settings))
            print(f"| {path.name} | {provider} | {fate} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
