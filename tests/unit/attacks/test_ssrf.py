"""Addresses that lead inside: in recipes, in names of the DNS, in redirects. Nothing is sent there, and every job ends."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from promptmill.providers.http import HttpCalls
from tests.fakes.providers.behaviours import Reply
from tests.unit.attacks.house import OVER_HTTP, House

METADATA = "169.254.169.254"
INSIDE = (
    "https://169.254.169.254./", "https://2852039166/", "https://0251.0376.0251.0376/", "https://[::ffff:169.254.169.254]/",
    "https://[fd00:ec2::254]/", "https://127.0.0.1:9001/2018-06-01", "https://10.0.0.1/", "http://169.254.170.2/",
    "https://api.openai.com@169.254.169.254/", "https://169.254.169.254#.openai.com/", "https://①⑥⑨.254.169.254/",
    "file:///etc/passwd", "//169.254.169.254/",
)  # fmt: skip
"""One of each kind; tests/unit/test_url_policy.py has many more."""
NAMES = {
    "metadata.example": [METADATA],
    "loopback.example": ["127.0.0.1"],
    "localhost": ["::1", "127.0.0.1"],
    "mapped.example": ["::ffff:169.254.169.254"],
    "two-faced.example": ["93.184.216.34", METADATA],
}


def recipe_at(url: str) -> str:
    return f"routes: [{{model: compatible/m, base_url: {url!r}}}]\n"


@pytest.fixture
def outside(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A deployment in an account, which calls models over HTTP. Its DNS knows nasty names, and no socket opens."""

    def resolve(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
        if host not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "no such host")
        families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in NAMES[host]]
        return [
            (family, socket.SOCK_STREAM, 6, "", (one, port) if family == socket.AF_INET else (one, port, 0, 0))
            for family, one in zip(families, NAMES[host], strict=True)
        ]

    def connect(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(HttpCalls, "_exchange", OVER_HTTP)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr("aiohttp.connector.TCPConnector._wrap_create_connection", connect)
    house.over_http = True
    return house


def test_no_recipe_and_no_name_of_the_dns_leads_inside(outside: House) -> None:
    urls = [*INSIDE, *(f"https://{name}/v1" for name in NAMES)]
    for number, url in enumerate(urls):
        outside.write_recipe(f"inside-{number}", recipe_at(url))
        outside.drop("a.jsonl", b'{"prompt":"x"}\n', f"inside-{number}")
    outside.run_all()
    for number, url in enumerate(urls):
        status = outside.status("a.jsonl", f"inside-{number}")
        assert (status["state"], status["records"]["answered"]) in (("REJECTED", 0), ("STOPPED", 0)), url
        closed = set(status["closed_routes"].values())
        assert closed <= {"private_address", "bad_url", "insecure_url"}, (url, closed)
        assert closed or "base_url" in status["reason"], (url, status["reason"])


def test_a_redirect_is_no_answer_and_takes_no_key_along(wired: House) -> None:
    for code, location in ((301, f"http://{METADATA}/latest"), (303, "//evil.example"), (307, "/other")):
        wired.provider.script.extend([Reply(code, b"", {"Location": location})])
        status = wired.run_file(f"{code}-{location.rpartition('/')[2]}.jsonl", b'{"prompt":"x"}\n')
        assert (status["state"], status["records"]["answered"]) == ("STOPPED", 0)
    assert {sent.path for sent in wired.provider.sent} == {"/v1/chat/completions"}
    assert len(wired.provider.sent) == 3
    assert wired.run_file("good.jsonl", b'{"prompt":"x"}\n')["state"] == "DONE"
