"""JSON web tokens signed with a service account's key. Imported only where such a key is used."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from promptmill.domain.errors import RouteClosedError


def signed_jwt(claims: dict[str, Any], *, private_key: str, key_id: str) -> str:
    """By RS256. Raises RouteClosedError: the key, in PEM, is none (``credentials_malformed``)."""
    header = {"alg": "RS256", "typ": "JWT", **({"kid": key_id} if key_id else {})}
    signed = f"{_segment(header)}.{_segment(claims)}"
    signature = _rsa_key(private_key).sign(signed.encode(), PKCS1v15(), SHA256())
    return f"{signed}.{_base64(signature)}"


def _rsa_key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RouteClosedError("credentials_malformed", "the service account's private key is none") from error
    if not isinstance(key, RSAPrivateKey):
        raise RouteClosedError("credentials_malformed", "the service account's private key is not an RSA key")
    return key


def _segment(value: dict[str, Any]) -> str:
    return _base64(msgspec.json.encode(value))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
