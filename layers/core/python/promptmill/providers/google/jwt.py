"""Sign JSON web tokens with a service account's key. Imported only if such a key is used: cryptography is large."""

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


def sign_jwt(claims: dict[str, Any], *, private_key: str, key_id: str) -> str:
    """Return the token, signed by RS256. Raise RouteClosedError (``credentials_malformed``) for a key that is no PEM."""
    header = {"alg": "RS256", "typ": "JWT", **({"kid": key_id} if key_id else {})}
    signed = f"{_encode_segment(header)}.{_encode_segment(claims)}"
    signature = _read_rsa_key(private_key).sign(signed.encode(), PKCS1v15(), SHA256())
    return f"{signed}.{_encode_base64(signature)}"


def _read_rsa_key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RouteClosedError("credentials_malformed", "the service account's private key is none") from error
    if not isinstance(key, RSAPrivateKey):
        raise RouteClosedError("credentials_malformed", "the service account's private key is not an RSA key")
    return key


def _encode_segment(value: dict[str, Any]) -> str:
    return _encode_base64(msgspec.json.encode(value))


def _encode_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
