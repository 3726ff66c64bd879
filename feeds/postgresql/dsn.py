"""How to connect, as libpq reads it (PostgreSQL's documentation, §34.1.1): words or a URI.

It is read without libpq, since the configuration is checked where there is none.
"""

import re
from typing import Final
from urllib.parse import parse_qsl, unquote

_WORD: Final = re.compile(
    r"\s*([A-Za-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^'\s\\]|\\.)*))(?=\s|\Z)"
)
_URI: Final = re.compile(r"postgres(?:ql)?://(?:([^/?#@]*)@)?([^/?#]*)(?:/([^?#]*))?(?:\?([^#]*))?")
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:@]*)(?::([0-9]*))?")
_LOOPBACK: Final = re.compile(r"localhost|127(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}|::1")
"""What no resolver of names is asked for: a fourth part of 300 would be a name."""

SECRETS: Final = (
    "password",
    "sslpassword",
    "oauth_client_secret",
    "scram_client_key",
    "scram_server_key",
)
"""Keywords whose values nobody else may know."""

_TAKEN: Final = (
    *("host", "hostaddr", "port", "dbname", "user", "sslmode", "sslcert", "sslkey", "sslcrl"),
    *("sslnegotiation", "ssl_min_protocol_version", "channel_binding", "require_auth"),
    "target_session_attrs",
)
VERIFIED: Final = "verify-full"
"""The one ``sslmode`` in which nobody else can stand in for the server."""


def parse(text: str) -> dict[str, str]:
    """Return the keywords and their values. Raise ValueError, also where one is a secret."""
    if "\0" in text:
        raise ValueError("holds a NUL character")
    found = _of_uri(text) if re.match(r"postgres(ql)?://", text) else _of_words(text)
    for key in (each for each in (*SECRETS, "passfile") if each in found):
        raise ValueError(
            f"{key} is refused: write the password to a file, and name it by password_file"
        )
    return found


def check(words: dict[str, str]) -> None:
    """Raise ValueError where that is not enough to connect, or the server would not be verified."""
    for key in words:
        if key == "sslrootcert":
            raise ValueError("sslrootcert is refused: name the file by ca_file")
        if key not in _TAKEN:
            raise ValueError(f"{key} is refused; known: {', '.join(_TAKEN)}")
    for key in ("host", "dbname", "user"):
        if not words.get(key):
            raise ValueError(
                f'names no {key}: write as in "host=db.example dbname=fleet user=web1"'
            )
    _check_places(words)
    mode = words.get("sslmode", VERIFIED)
    if mode != VERIFIED and not is_local(words):
        raise ValueError(
            f"sslmode={mode} is refused, since anybody could stand in for the server:"
            " leave it out; ca_file names who signed the server's certificate"
        )


def _check_places(words: dict[str, str]) -> None:
    """Raise ValueError unless each host is named: libpq goes to one of its own choice otherwise."""
    hosts = words["host"].split(",")
    if not all(map(str.strip, hosts)):
        raise ValueError("names an empty host: write as in host=db1.example,db2.example")
    for key in ("port", "hostaddr"):
        number = words.get(key, "").count(",") + 1
        if key in words and number != len(hosts) and (key, number) != ("port", 1):
            raise ValueError(f"names {len(hosts)} as host, and {number} as {key}")


def is_local(words: dict[str, str]) -> bool:
    """Whether the server is on this machine, whatever is between."""
    hosts = words.get("host", "").split(",")
    addresses = [each for each in words.get("hostaddr", "").split(",") if each]
    return all(map(_is_local, hosts)) and all(map(_LOOPBACK.fullmatch, addresses))


def _is_local(host: str) -> bool:
    return host.startswith(("/", "@")) or bool(_LOOPBACK.fullmatch(host))


def _of_words(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        match = _WORD.match(text, at)
        if match is None:
            raise ValueError(
                f"is not understood from its character {at + 1} on: write as in host=db.example"
            )
        key, quoted, plain = match.groups()
        found[key] = re.sub(r"\\(.)", r"\1", plain if quoted is None else quoted)
        at = match.end()
    return found


def _of_uri(text: str) -> dict[str, str]:
    match = _URI.fullmatch(text)
    if match is None:
        raise ValueError("is no URI of PostgreSQL: write as in postgresql://web1@db.example/fleet")
    who, where, name, rest = (part or "" for part in match.groups())
    user, colon, _password = who.partition(":")
    places = [_HOST.fullmatch(each) for each in where.split(",")]
    if not all(places):
        raise ValueError("names no valid host")
    hosts = [unquote(each[1]).strip("[]") for each in places if each]
    ports = [each[2] or "" for each in places if each]
    found = dict(parse_qsl(rest, keep_blank_values=True))
    given = {"user": unquote(user), "dbname": unquote(name), "host": ",".join(hosts)}
    if any(ports):
        given["port"] = ",".join(ports)
    if colon:
        given["password"] = ""
    return {key: value for key, value in given.items() if value or key == "password"} | found
