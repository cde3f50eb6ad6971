"""Google's token servers: a service account's key, or AWS's identity, for a token that lives an hour."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.fakes.providers.aws_signature import signature_problem
from tests.fakes.providers.behaviours import Sent, Wire

EMAIL = "promptmill@project-1.iam.gserviceaccount.com"
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/aws/providers/main"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_AWS_TOKEN = "urn:ietf:params:aws:token-type:aws4_request"
_IMPERSONATION = f"/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"


_PRIMES = (
    int(
        "e3568f8e31c10f58f8d41cc3d6cf6442b35eedca37a2658e56f696329d2c0f4f"
        "6e5b81a0e226ef2ff7903ec8d45a2cbd00309f3c6140f078c870b4a88121ecfe"
        "5f6bb8834ae1688cc4c4422c427103d32f285d17d53fe55ec900332f4e93e02e"
        "e9b249273054d6b191bea733a03a91c12c9c3eaa9c562edcfd244e5eb47a4fdd",
        16,
    ),
    int(
        "d84c36fde453245009d59532014d98ffd9787f4cc01ca2edadd1bb9ed0e8803b"
        "a722bf98e3238ed964a3340dbbb1984685135231ae958234f9721d3ebd1cee58"
        "bb03809e15ea2ca3ccb3d30836f2b09bb3ce73426135fba0cbf8189f439e13ef"
        "edada5d9fb587b319875333a60bd592e6333c9e24f17029d7ff5be66c9cbed05",
        16,
    ),
)
"""Of the one service account that the fake knows, in whatever process it runs."""


@cache
def _key() -> RSAPrivateKey:
    (p, q), e = _PRIMES, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), RSAPublicNumbers(e, p * q))
    return numbers.private_key()


def service_account(url: str) -> str:
    """The document of a key; ``url`` is where this server runs."""
    pem = _key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    document = {
        "type": "service_account",
        "project_id": "project-1",
        "private_key_id": "key-1",
        "private_key": pem,
        "client_email": EMAIL,
        "token_uri": f"{url}/token",
    }
    return json.dumps(document)


def external_account(url: str, *, impersonated: bool = True) -> str:
    """The document of a pool that trusts AWS."""
    document: dict[str, Any] = {
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": _AWS_TOKEN,
        "token_url": f"{url}/v1/token",
        "credential_source": {
            "environment_id": "aws1",
            "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
        },
    }
    if impersonated:
        document["service_account_impersonation_url"] = url + _IMPERSONATION
    return json.dumps(document)


class GoogleTokenServer:
    """
    Attributes:
        live: tokens that are good; empty it to have them all refused.
    """

    def __init__(self, *, now: datetime) -> None:
        self.live: set[str] = set()
        self._now = now
        self._made = 0

    def aside(self, sent: Sent) -> Wire | None:
        match sent.path:
            case "/token":
                return self._exchange(_jwt_problem(_form(sent), f"http://{sent.headers['host']}/token"))
            case "/v1/token":
                return self._exchange(_exchange_problem(_form(sent)), kind="federated")
            case path if path == _IMPERSONATION:
                return self._impersonate(sent)
        return None

    def _exchange(self, problem: str | None, *, kind: str = "access") -> Wire:
        if problem:
            return Wire(400, {"error": "invalid_grant", "error_description": problem})
        return Wire(200, {"access_token": self._token(kind), "expires_in": 3600, "token_type": "Bearer"})

    def _impersonate(self, sent: Sent) -> Wire:
        token = sent.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.live or not token.startswith("federated") or sent.body.get("scope") != [SCOPE]:
            return Wire(403, {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no"}})
        ends = self._now.astimezone(UTC) + timedelta(hours=1)
        return Wire(200, {"accessToken": self._token("access"), "expireTime": ends.strftime("%Y-%m-%dT%H:%M:%SZ")})

    def _token(self, kind: str) -> str:
        self._made += 1
        token = f"{kind}-{self._made}"
        self.live.add(token)
        return token


def _form(sent: Sent) -> dict[str, str]:
    if sent.headers.get("content-type") != "application/x-www-form-urlencoded":
        return {}
    return {name: values[0] for name, values in parse_qs(sent.data.decode(), strict_parsing=True).items()}


def _jwt_problem(form: dict[str, str], audience: str) -> str | None:
    if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
        return "Invalid grant_type"
    head, claims, signature = form["assertion"].split(".")
    try:
        _key().public_key().verify(_decoded(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
    except InvalidSignature:
        return "Invalid JWT Signature."
    if msgspec.json.decode(_decoded(head)) != {"alg": "RS256", "typ": "JWT", "kid": "key-1"}:
        return "Invalid JWT header."
    said = msgspec.json.decode(_decoded(claims))
    if (said["iss"], said["scope"], said["aud"]) != (EMAIL, SCOPE, audience) or said["exp"] - said["iat"] != 3600:
        return "Invalid JWT: iss, scope, aud, iat and exp"
    return None


def _exchange_problem(form: dict[str, str]) -> str | None:
    wanted = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": AUDIENCE,
        "scope": SCOPE,
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token_type": _AWS_TOKEN,
    }
    if {name: form.get(name) for name in wanted} != wanted:
        return "the exchange is not well-formed"
    return _proof_problem(json.loads(unquote(form["subject_token"])))


def _proof_problem(proof: dict[str, Any]) -> str | None:
    """Google asks AWS in the caller's place: the signature has to be good, and to name the pool."""
    headers = {item["key"].lower(): item["value"] for item in proof["headers"]}
    parts = urlsplit(proof["url"])
    if (proof["method"], parts.netloc, headers["host"]) != ("POST", "sts.eu-west-1.amazonaws.com", parts.netloc):
        return "the proof is not of AWS's regional STS"
    if headers.get("x-goog-cloud-target-resource") != AUDIENCE:
        return "the proof is for another pool"
    sent = Sent(f"{parts.path or '/'}?{parts.query}", headers, b"", {}, method="POST")
    return signature_problem(sent, "sts", signed=frozenset({"x-goog-cloud-target-resource"}))


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
