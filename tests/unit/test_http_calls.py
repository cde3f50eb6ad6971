"""Which addresses are called, and how much is read."""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from promptmill.domain.errors import RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.providers.http import IDLE_S, HttpCalls
from promptmill.providers.url_policy import UrlPolicy
from promptmill.system_clock import SystemClock
from promptmill.wire.stream_events import SseDecoder
from tests.fakes.clock import FakeClock
from tests.fakes.providers.behaviours import Hang, Reply
from tests.fakes.providers.openai import KEY, OpenAi
from tests.fakes.providers.server import FakeProvider

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
LOCAL = UrlPolicy(local=True)
HEADERS = {"Authorization": f"Bearer {KEY}"}


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with FakeProvider(OpenAi()) as fake:
        http = HttpCalls(in_flight=5, policy=LOCAL, clock=FakeClock())
        answer = await http.post(f"{fake.url}/v1/chat/completions", body=BODY, headers=HEADERS, timeout_s=5)
        await http.close()

    assert answer.status == 200


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_an_answer_beyond_the_bound_is_not_read(size: int, fits: bool) -> None:
    async with FakeProvider(OpenAi(), script=[Reply(200, b"x" * size)]) as fake:
        http = HttpCalls(in_flight=5, policy=LOCAL, clock=FakeClock(), max_answer_bytes=1000)
        url = f"{fake.url}/v1/chat/completions"
        if fits:
            assert (await http.post(url, body=BODY, headers=HEADERS, timeout_s=5)).body == b"x" * size
        else:
            with pytest.raises(RecordRefusedError) as caught:
                await http.post(url, body=BODY, headers=HEADERS, timeout_s=5)
            assert (caught.value.code, caught.value.usage_unknown) == ("answer_too_large", True)
        await http.close()


async def test_cookies_are_not_kept() -> None:
    reply = Reply(200, b"{}", {"Set-Cookie": "tracked=1"})
    async with FakeProvider(OpenAi(), script=[reply, reply]) as fake:
        http = HttpCalls(in_flight=5, policy=LOCAL, clock=FakeClock())
        url = fake.url.replace("127.0.0.1", "localhost")  # no jar keeps the cookies of an address
        for _ in range(2):
            await http.post(f"{url}/v1/chat/completions", body=BODY, headers=HEADERS, timeout_s=5)
        await http.close()

    assert "cookie" not in fake.sent[1].headers


def test_a_second_event_loop_gets_a_session_of_its_own() -> None:
    http = HttpCalls(in_flight=5, policy=LOCAL, clock=FakeClock())

    async def call() -> int:
        async with FakeProvider(OpenAi()) as fake:
            answer = await http.post(f"{fake.url}/v1/chat/completions", body=BODY, headers=HEADERS, timeout_s=5)
            await http.close()
            return answer.status

    assert [asyncio.run(call()), asyncio.run(call())] == [200, 200]


@pytest.mark.parametrize(("pause_s", "connections"), [(IDLE_S - 1, 1), (IDLE_S + 1, 2)])
async def test_no_connection_is_used_after_a_pause(pause_s: float, connections: int) -> None:
    clock = FakeClock(auto=False)
    async with FakeProvider(OpenAi()) as fake:
        http = HttpCalls(in_flight=5, policy=LOCAL, clock=clock)
        for _ in range(2):
            await http.post(f"{fake.url}/v1/chat/completions", body=BODY, headers=HEADERS, timeout_s=5)
            clock.advance(pause_s)
        await http.close()

    assert len({sent.peer for sent in fake.sent}) == connections


async def test_a_pause_does_not_break_calls_that_start_together() -> None:
    clock = FakeClock(auto=False)
    async with FakeProvider(OpenAi()) as fake:
        http = HttpCalls(in_flight=5, policy=LOCAL, clock=clock)
        for _ in range(3):
            clock.advance(60)
            await asyncio.gather(
                *(
                    http.post(f"{fake.url}/v1/chat/completions", body=BODY, headers=HEADERS, timeout_s=5)
                    for _ in range(20)
                )
            )
        await http.close()

    assert len(fake.billed) == 60


async def test_a_certificate_that_is_not_good_closes_the_route(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=self_signed(tmp_path))
    http = HttpCalls(in_flight=5, policy=LOCAL, clock=FakeClock())
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RouteClosedError) as caught:
            await http.post(f"https://127.0.0.1:{port}/v1", body=BODY, headers=HEADERS, timeout_s=5)
    await http.close()

    assert caught.value.code == "tls_certificate"


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    now = SystemClock().now()  # TLS judges certificates by the real clock
    certificate = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "pem").write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "pem")
    return context


async def test_a_stream_beyond_the_bound_is_not_read() -> None:
    async with FakeProvider(OpenAi(), script=[Reply(200, b"data: x\n\n" * 200)]) as fake:
        http = HttpCalls(in_flight=5, policy=LOCAL, clock=FakeClock(), max_answer_bytes=1000)
        url = f"{fake.url}/v1/chat/completions"
        with pytest.raises(RecordRefusedError) as caught:
            async with http.stream(url, body=BODY, headers=HEADERS, timeout_s=5, stall_s=5) as reply:
                _ = [event async for event in reply.events(SseDecoder())]
        await http.close()

    assert (caught.value.code, caught.value.usage_unknown) == ("answer_too_large", True)


async def test_a_stream_that_never_begins_ends_after_the_routes_time() -> None:
    async with FakeProvider(OpenAi(), script=[Hang()]) as fake:
        http = HttpCalls(in_flight=5, policy=LOCAL, clock=FakeClock())
        url = f"{fake.url}/v1/chat/completions"
        with pytest.raises(RetryLaterError) as caught:
            async with http.stream(url, body=BODY, headers=HEADERS, timeout_s=0.05, stall_s=5):
                pass
        await http.close()

    assert (caught.value.code, caught.value.usage_unknown) == ("timeout", True)


async def test_leaving_a_stream_early_leaves_its_connection() -> None:
    async with FakeProvider(OpenAi(), script=[Reply(200, b"data: x\n\n" * 2000), Reply(200, b"{}")]) as fake:
        http = HttpCalls(in_flight=1, policy=LOCAL, clock=FakeClock())
        url = f"{fake.url}/v1/chat/completions"
        async with http.stream(url, body=BODY, headers=HEADERS, timeout_s=5, stall_s=5) as reply:
            await anext(reply.events(SseDecoder()))
        answer = await http.post(url, body=BODY, headers=HEADERS, timeout_s=5)
        await http.close()

    assert answer.body == b"{}"


async def test_a_get_goes_out_as_one() -> None:
    async with FakeProvider(OpenAi()) as fake:
        http = HttpCalls(in_flight=5, policy=LOCAL, clock=FakeClock())
        answer = await http.get(f"{fake.url}/v1/predictions/1", headers=HEADERS, timeout_s=5)
        await http.close()

    assert (answer.status, fake.sent[0].method, fake.sent[0].data) == (404, "GET", b"")
