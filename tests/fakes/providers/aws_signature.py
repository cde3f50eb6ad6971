"""AWS Signature Version 4 from the server's side.

By the specification, not by botocore: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import quote

from tests.fakes.providers.behaviours import Sent

ACCESS_KEY, SECRET_KEY, TOKEN, REGION = "AKIDFAKE", "fake/secret+key", "fake-session-token", "eu-west-1"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=(\S+), Signature=(\S+)"
)


def signature_problem(sent: Sent, service: str, *, signed: frozenset[str] = frozenset()) -> str | None:
    """Return what is wrong with a signature; ``signed`` are headers that it must cover besides the usual ones."""
    found = _AUTHORIZATION.fullmatch(sent.headers.get("authorization", ""))
    if found is None:
        return "Authorization header requires a signature"
    access_key, day, region, named, names, signature = found.groups()
    if (access_key, region, named) != (ACCESS_KEY, REGION, service):
        return f"credential should be scoped to {ACCESS_KEY}, {REGION} and {service}"
    if sent.headers.get("x-amz-security-token") != TOKEN or not {"host", "x-amz-date"} | signed <= set(
        names.split(";")
    ):
        return "the session token, the host and the date must be signed"
    matches = hmac.compare_digest(signature, _signature(sent, day, names, service))
    return None if matches else "the signature does not match"


def _signature(sent: Sent, day: str, names: str, service: str) -> str:
    headers = "".join(f"{name}:{sent.headers[name].strip()}\n" for name in names.split(";"))
    path, _, query = sent.path.partition("?")
    path, query = quote(path, safe="/-_.~"), "&".join(sorted(query.split("&")))
    hashed = hashlib.sha256(sent.data).hexdigest()
    canonical = f"{sent.method}\n{path}\n{query}\n{headers}\n{names}\n{hashed}"
    scope = f"{day}/{REGION}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", sent.headers["x-amz-date"], scope, digest])
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, REGION, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
