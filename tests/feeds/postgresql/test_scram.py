"""What PostgreSQL keeps of a password."""

import hmac
from base64 import b64decode, b64encode
from hashlib import sha256

import pytest

from feeds.postgresql import scram


def keys(verifier: str) -> tuple[bytes, bytes]:
    """Return the stored and the server's key."""
    _, _, both = verifier.split("$")
    stored, server = map(b64decode, both.split(":"))
    return stored, server


def test_the_verifier_is_that_of_the_rfc() -> None:
    """RFC 7677 §3: with it a server accepts that proof, and signs so."""
    salt = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    stored, server = keys(scram.verifier("pencil", salt))
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    told = (
        f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    ).encode()
    signed = hmac.digest(server, told, "sha256")
    assert b64encode(signed) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    expected = hmac.digest(stored, told, "sha256")
    client = bytes(a ^ b for a, b in zip(proof, expected, strict=True))
    assert sha256(client).digest() == stored


def test_its_form_is_that_of_postgresql() -> None:
    """Each has a salt of its own, and another password another one of everything."""
    password = scram.password()
    assert len(password) >= 43
    made = scram.verifier(password)
    assert made.startswith("SCRAM-SHA-256$4096:")
    assert made != scram.verifier(password)
    assert scram.password() != password
    with pytest.raises(ValueError, match="letters, digits"):
        scram.verifier("pässword")
