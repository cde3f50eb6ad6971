"""The outline of a chunk: the same records as a whole read gives, one by one."""

from __future__ import annotations

import pytest

from promptmill.domain.job_file import FileFacts
from promptmill.formats.cutting import make_cutter
from promptmill.formats.recognise import recognise
from promptmill.jobs.chunk_unit import CutObject, find_records, read_records
from tests.fakes.clock import FakeClock
from tests.fakes.object_store import FakeObjectStore

FILES = {
    "lines.jsonl": b'{"prompt": "a"}\n\n  \r\n{"prompt": "b"}\r\n{"prompt": "c"}',
    "table.csv": b'id,prompt\n1,"two\nlines, and ""quotes"""\n\n2,plain\n3,"stray"x\n4,last',
    "text.txt": "\ufeffone\n\nzwei \u00e4\nthree\n".encode(),
}


@pytest.mark.parametrize("chunk_records", [1, 2, 500])
@pytest.mark.parametrize("name", FILES)
async def test_each_record_is_found_where_it_lies(name: str, chunk_records: int) -> None:
    objects = FakeObjectStore(FakeClock())
    objects.put("key", FILES[name])
    facts = recognise_facts(name)
    cutter = make_cutter(facts, max_records=chunk_records)
    chunks = [*cutter.feed(FILES[name][facts.body_start :]), *cutter.finish()]
    cut = CutObject("key", "", cutter.facts)
    for chunk in chunks:
        places = await find_records(chunk, cut, objects=objects)
        found = [record for place in places for record in await read_records(place, cut, objects=objects)]
        assert found == await read_records(chunk, cut, objects=objects)
    assert sum(chunk.records for chunk in chunks) >= 3


def recognise_facts(name: str) -> FileFacts:
    return recognise(FILES[name], name=name, size=len(FILES[name])).facts
