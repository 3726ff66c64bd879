"""Passwords, and what PostgreSQL keeps of them: a SCRAM-SHA-256 verifier, never the password."""

import hmac
import re
import secrets
from base64 import b64encode
from hashlib import pbkdf2_hmac, sha256
from typing import Final

_ITERATIONS: Final = 4096
"""PostgreSQL's own number (SCRAM_SHA_256_DEFAULT_ITERATIONS); the password has 256 random bits."""

_SALT: Final = 16
"""Bytes, as PostgreSQL's own (SCRAM_DEFAULT_SALT_LEN)."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


def password() -> str:
    """Return a new password: 32 random bytes as URL-safe base64, 43 characters."""
    return secrets.token_urlsafe(32)


def verifier(password: str, salt: bytes | None = None) -> str:
    """Return what PostgreSQL stores (scram_build_secret in src/common/scram-common.c).

    ``SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY`` with the keys of RFC 5802 §3 and RFC
    7677. Raise ValueError for a password that SASLprep (RFC 4013) might change.
    """
    if not _PLAIN.fullmatch(password):
        raise ValueError("a password of the fleet has letters, digits, - and _ only")
    salt = salt or secrets.token_bytes(_SALT)
    salted = pbkdf2_hmac("sha256", password.encode("ascii"), salt, _ITERATIONS)
    stored = sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    first, second, third = (b64encode(each).decode("ascii") for each in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{first}${second}:{third}"
