"""Serve a GGUF file on loopback until a signal ends it. This is a script for an interpreter that has xllamacpp."""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from pathlib import Path

CONTEXT_PER_CALL = 2048


def main() -> None:
    """Start the server, and write ``{"url": …}`` to the ready file once it answers."""
    options = _options()
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    server = _serve(options)
    _announce(options.ready, server.listening_address)
    stop.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--name", required=True, help="name of the model in its answers")
    parser.add_argument("--ready", type=Path, required=True, help="file to write the URL to")
    parser.add_argument("--parallel", type=int, default=8)
    # Threads wait for each other in a busy loop, so on busy cores two are slower than one.
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    return parser.parse_args()


def _serve(options: argparse.Namespace):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a type of xllamacpp's
    import xllamacpp  # noqa: PLC0415 - lets --help work without it

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(options.gguf)
    parameters.model_alias = {options.name}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_parallel = options.parallel
    parameters.n_ctx = options.parallel * CONTEXT_PER_CALL
    parameters.cache_ram_mib = 0
    parameters.ui = False
    parameters.warmup = False
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    return xllamacpp.Server(parameters)


def _announce(ready: Path, address: str) -> None:
    url = address if address.startswith("http") else f"http://{address}"
    partial = ready.with_suffix(".partial")
    partial.write_text(json.dumps({"url": url}))
    partial.replace(ready)


if __name__ == "__main__":
    main()
