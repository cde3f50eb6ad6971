"""How servers with OpenAI's batch API differ from OpenAI. Plain values: a flavour is a row."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct


class Flavour(Struct, frozen=True):
    """How one server differs from OpenAI.

    Attributes:
        terms: the name of its row in the table of terms.
        purpose: what its uploads are for.
        upload_days: after how many days it deletes an upload; 0 where it cannot be told.
        metadata: a batch can be labelled.
        idempotency_header: the header that names one create, "" for none.
        bare_lines: a line names no endpoint.
        uploads_elsewhere: it answers with the address of a store, where the file is put, and is told afterwards.
        jobs: its batches are Mistral's jobs, which name the model in place of their lines.
    """

    terms: str
    purpose: str = "batch"
    upload_days: int = 0
    metadata: bool = True
    idempotency_header: str = ""
    bare_lines: bool = False
    uploads_elsewhere: bool = False
    jobs: bool = False

    @property
    def batches(self) -> str:
        """The path of batches."""
        return "/batch/jobs" if self.jobs else "/batches"


FLAVOURS: Mapping[str, Flavour] = MappingProxyType(
    {
        "openai": Flavour("openai", upload_days=4),
        "azure": Flavour("azure", upload_days=14),
        "perplexity": Flavour("perplexity", idempotency_header="Idempotency-Key"),
        "compatible": Flavour("compatible"),
        "local": Flavour("compatible"),
        "groq": Flavour("groq"),
        "together": Flavour("together", "batch-api", metadata=False, bare_lines=True, uploads_elsewhere=True),
        "deepinfra": Flavour("deepinfra"),
        "mistral": Flavour("mistral", bare_lines=True, jobs=True),
    }
)
"""The flavours by the names of providers, and by the names of servers that are no providers of their own."""
SERVERS: Mapping[str, str] = MappingProxyType(
    {
        "api.groq.com": "groq",
        "api.together.ai": "together",
        "api.together.xyz": "together",
        "api.deepinfra.com": "deepinfra",
        "api.mistral.ai": "mistral",
    }
)
"""The flavours of servers by the hosts of their addresses, for routes of ``compatible``."""
OPENAI_LIKE = ("openai", "azure", "perplexity", "compatible", "local")
"""The providers whose routes lead to such servers."""
