"""Which URLs are called: hostile ones are not, whatever they are written like and whatever the DNS says of them."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.errors import RetryLaterError, RouteClosedError
from promptmill.providers.http import HttpCalls
from promptmill.providers.url_policy import UrlPolicy, check_url, make_url_policy
from tests.fakes.clock import FakeClock
from tests.fakes.providers.openai import KEY, OpenAi
from tests.fakes.providers.server import FakeProvider

DEPLOYED = UrlPolicy()
LOCAL = UrlPolicy(local=True)
VPC = make_url_policy(local=False, private_ranges="10.0.0.0/16, fd12:3456::/32,")
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
HEADERS = {"Authorization": f"Bearer {KEY}"}


def code_for(url: str, policy: UrlPolicy = DEPLOYED) -> str:
    with pytest.raises(RouteClosedError) as caught:
        check_url(url, policy)
    return caught.value.code


@pytest.mark.parametrize("policy", [DEPLOYED, LOCAL, VPC])
@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://my_box.example.:8443/v1?api-version=2024-10-21",
        "https://93.184.216.34/v1",
        "https://[2606:2800:220:1::1]/v1",
        "https://model/v1/@cf/vendor/name",
    ],
)
def test_https_to_the_world_may_be_called(url: str, policy: UrlPolicy) -> None:
    check_url(url, policy)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/v1", "http://localhost/v1", "http://[::1]:80/v1"])
def test_plain_http_may_be_called_on_loopback_of_the_local_stage_only(url: str) -> None:
    check_url(url, LOCAL)
    assert code_for(url, VPC) == "insecure_url"


@pytest.mark.parametrize("url", ["https://10.0.0.7/v1", "https://[fd12:3456::7]/v1"])
def test_private_addresses_may_be_called_where_the_deployment_allows_their_range(url: str) -> None:
    check_url(url, VPC)
    assert code_for(url, DEPLOYED) == code_for(url, LOCAL) == "private_address"
    assert code_for("https://10.1.0.1/v1", VPC) == "private_address"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "0.0.0.0",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[::ffff:10.9.0.1]",
        "[::169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b::7f00:1]",
        "[2002:a9fe:a9fe::]",
        "[2002:7f00:1::1]",
        "[2001:0:7f00:1::80ff:fffe]",
    ],
)
def test_these_addresses_are_never_called(host: str) -> None:
    everything = make_url_policy(local=False, private_ranges="0.0.0.0/0,::/0") if "10.9" not in host else DEPLOYED
    assert code_for(f"https://{host}/latest/meta-data", everything) == "private_address"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://api.openai.com/v1", "insecure_url"),
        ("http://127.0.0.1.evil.example/v1", "insecure_url"),
        ("http://localhost.evil.example/v1", "insecure_url"),
        ("http://169.254.169.254/latest", "insecure_url"),
        ("http://127.0.0.1@evil.example/", "insecure_url"),
        ("ftp://host/v1", "insecure_url"),
        ("file:///etc/passwd", "insecure_url"),
        ("gopher://host/1", "insecure_url"),
        ("//host/v1", "insecure_url"),
        ("", "insecure_url"),
        ("https://", "bad_url"),
        ("https:///v1", "bad_url"),
        ("https://user:password@host/v1", "bad_url"),
        ("https://user@host/v1", "bad_url"),
        ("https://api.openai.com@evil.example/v1", "bad_url"),
        ("https://host/v1#x", "bad_url"),
        ("https://host:99999/v1", "bad_url"),
        ("https://host:0/v1", "bad_url"),
        ("https://[::1/v1", "bad_url"),
        ("https://2130706433/v1", "bad_url"),
        ("https://0x7f000001/v1", "bad_url"),
        ("https://0177.0.0.1/v1", "bad_url"),
        ("https://127.1/v1", "bad_url"),
        ("https://127.0.0.0x1/v1", "bad_url"),
        ("https://1.2.3.4.5/v1", "bad_url"),
        ("https://127.0.0.1./v1", "bad_url"),
        ("https://127%2e0%2e0%2e1/v1", "bad_url"),
        ("https://①②⑦.⓪.⓪.①/v1", "bad_url"),
        ("https://ex\u0430mple.com/v1", "bad_url"),
        ("https://host\\@evil.example/v1", "bad_url"),
        ("https://host /v1", "bad_url"),
        ("https://host\r\nX-Evil: 1/v1", "bad_url"),
        ("https://-/\x00", "bad_url"),
        ("https://a..b/v1", "bad_url"),
        ("https://[fe80::1%25eth0]/v1", "bad_url"),
    ],
)
@pytest.mark.parametrize("policy", [DEPLOYED, LOCAL])
def test_hostile_urls_are_refused(url: str, code: str, policy: UrlPolicy) -> None:
    assert code_for(url, policy) in (code, "private_address")


@given(st.integers(0, 2**32 - 1))
def test_an_address_within_another_is_held_to_the_same_rules(number: int) -> None:
    plain = ipaddress.IPv4Address(number)
    disguises = (
        ipaddress.IPv6Address(0xFFFF << 32 | number),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
        ipaddress.IPv6Address(0x2002 << 112 | number << 80),
    )
    for disguise in disguises:
        assert not DEPLOYED.allows(disguise) or DEPLOYED.allows(plain)


@given(st.text(max_size=60), st.sampled_from(["https://", "http://", ""]))
def test_any_text_is_called_or_refused_in_words(text: str, scheme: str) -> None:
    with suppress(RouteClosedError):
        check_url(f"{scheme}{text}", DEPLOYED)


class Names(AbstractResolver):
    """A DNS with a script: one answer after another, the last one for ever."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        self.asked += 1
        if not self.answers[0]:
            raise OSError(None, "no such host")
        addresses = self.answers[0].split()
        self.answers = self.answers[1:] or self.answers
        return [
            ResolveResult(hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0)
            for one in addresses
        ]

    async def close(self) -> None: ...


async def called(names: Names, url: str, *, policy: UrlPolicy, calls: int = 1) -> list[int]:
    clock = FakeClock(auto=False)
    http = HttpCalls(in_flight=5, policy=policy, clock=clock, make_resolver=lambda: names)
    statuses = []
    try:
        for _ in range(calls):
            statuses.append((await http.post(url, body=BODY, headers=HEADERS, timeout_s=5)).status)
            clock.advance(60)
    finally:
        await http.close()
    return statuses


@pytest.mark.parametrize(
    "answer", ["10.0.0.9", "127.0.0.1", "169.254.169.254", "93.184.216.34 10.0.0.9", "::ffff:169.254.169.254"]
)
async def test_a_name_with_a_private_address_is_refused_before_anything_is_sent(answer: str) -> None:
    with pytest.raises(RouteClosedError) as caught:
        await called(Names(answer), "https://model.example/v1", policy=DEPLOYED)
    assert (caught.value.code, caught.value.status) == ("private_address", 0)


async def test_a_dns_that_answers_otherwise_the_second_time_is_refused_then() -> None:
    """The first connection goes to what was checked; a new one asks, and is checked, again."""
    async with FakeProvider(OpenAi()) as fake:
        url = f"{fake.url.replace('127.0.0.1', 'localhost')}/v1/chat/completions"
        names = Names("127.0.0.1", "169.254.169.254")
        with pytest.raises(RouteClosedError) as caught:
            await called(names, url, policy=LOCAL, calls=2)

    assert caught.value.code == "private_address"
    assert names.asked == 2
    assert len(fake.sent) == 1


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """Nobody else is asked for the name: this one exists nowhere else."""
    async with FakeProvider(OpenAi()) as fake:
        names = Names("127.0.0.1", "203.0.113.1")
        url = f"{fake.url.replace('127.0.0.1', 'localhost')}/v1/chat/completions"
        assert await called(names, url, policy=LOCAL) == [200]

    assert names.asked == 1


async def test_a_name_that_does_not_exist_may_exist_later() -> None:
    with pytest.raises(RetryLaterError) as caught:
        await called(Names(""), "https://nowhere.example/v1", policy=DEPLOYED)
    assert caught.value.code == "connection"


@pytest.mark.parametrize("ranges", ["10.0.0.0/33", "vpc-1", "10.0.0.1/8"])
def test_ranges_that_are_none_are_refused(ranges: str) -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0|vpc-1"):
        make_url_policy(local=False, private_ranges=ranges)
