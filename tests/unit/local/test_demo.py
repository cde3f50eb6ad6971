"""The demo's input."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import pytest

from promptmill.cli.local.demo import (
    Snippet,
    _extract_ratings,
    choose_snippets,
    load_snippets,
    parse_snippets,
    read_own_snippets,
    write_csv,
)
from promptmill.cli.local.downloads import DOWNLOADS, announcement
from promptmill.cli.local.paths import CLONE

LINES = "".join(
    f"{n}_1\t{rating}\t{'good' if rating > 0 else 'bad'} thing number {n}, it is\n"
    for n, rating in enumerate([2.5, -2.5] * 30 + [0.1, -0.2, 1.9] * 5)
)


def test_half_are_positive_and_people_were_clear_about_all() -> None:
    chosen = choose_snippets(parse_snippets(LINES), count=20)
    assert len(chosen) == 20
    assert sum(s.rating > 0 for s in chosen) == 10
    assert all(abs(s.rating) >= 2 for s in chosen)
    assert len({s.id for s in chosen}) == 20


def test_the_same_at_every_call_and_mixed() -> None:
    first, second = (choose_snippets(parse_snippets(LINES), count=20) for _ in range(2))
    assert first == second
    assert [s.rating > 0 for s in first] not in ([True] * 10 + [False] * 10, [False] * 10 + [True] * 10)


def test_very_short_and_long_texts_are_left_out() -> None:
    odd = "a\t3\tgreat\nb\t-3\tbad\n" + "c\t3\t" + "x" * 500 + "\n"
    assert all(20 <= len(s.text) <= 120 for s in choose_snippets(parse_snippets(odd + LINES), count=20))


def test_the_file_survives_commas_quotes_and_tabs() -> None:
    snippet = Snippet("1", -2.25, 'it said "fine", but\tno; ünïcode 🙂')
    rows = list(csv.DictReader(io.StringIO(write_csv([snippet]).decode(), newline="")))
    assert rows == [{"id": "1", "rating": "-2.25", "text": snippet.text}]


def test_our_own_are_clear_and_balanced() -> None:
    own = read_own_snippets(CLONE / "samples" / "reviews.csv")
    assert len(own) >= 20
    assert sum(s.rating > 0 for s in own) * 2 == len(own)


def package(folder: Path, name: str) -> Path:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        entry = tarfile.TarInfo("hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt")
        body = b"1_1\t-0.9\tno picture\r\n1_2\t2.1\tgood\r\n"
        entry.size = len(body)
        archive.addfile(entry, io.BytesIO(body))
    with tarfile.open(folder / "p.tar.gz", "w:gz") as outer:
        entry = tarfile.TarInfo(name)
        entry.size = inner.tell()
        inner.seek(0)
        outer.addfile(entry, inner)
    return folder / "p.tar.gz"


def test_the_ratings_are_taken_out_of_the_package_within_the_package(tmp_path: Path) -> None:
    found = package(tmp_path, "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz")
    assert [s.rating for s in parse_snippets(_extract_ratings(found))] == [-0.9, 2.1]


def clone(folder: Path, requirement: str) -> Path:
    (folder / "requirements").mkdir()
    (folder / "samples").mkdir()
    (folder / "requirements" / "reviews.txt").write_text(requirement)
    (folder / "samples" / "reviews.csv").write_bytes(write_csv([Snippet("1", 3.0, "ours")]))
    return folder


def test_without_network_and_cache_our_own_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    requirement = f"vaderSentiment==3.3.2 --hash=sha256:{'0' * 64}\n"
    snippets, published = load_snippets(clone(tmp_path, requirement), count=100)
    assert (published, [s.text for s in snippets]) == (False, ["ours"])


def test_the_cache_needs_no_network(tmp_path: Path) -> None:
    (clone(tmp_path, "nonsense\n") / ".local").mkdir()
    (tmp_path / ".local" / "reviews.tsv").write_text(LINES)
    snippets, published = load_snippets(tmp_path, count=20)
    assert (published, len(snippets)) == (True, 20)


def test_what_will_be_downloaded_is_said_before(tmp_path: Path) -> None:
    text = announcement(tmp_path)
    assert f"about {sum(size for _, _, size in DOWNLOADS)} MB" in text
    assert "ministack" in text
    for _, there, _ in DOWNLOADS:
        (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / there).touch()
    assert "nothing will be downloaded" in announcement(tmp_path)
