"""How to connect to the fleet: what is understood, and what is refused before anything is asked."""

from pathlib import Path

import pytest

from feeds.postgresql import PostgresqlSettings, dsn, treason_feeds

WHOLE = "host=db.example dbname=fleet user=web1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host=db.example  dbname = fleet", {"host": "db.example", "dbname": "fleet"}),
        (r"host='a b' user='o\'r\\'", {"host": "a b", "user": r"o'r" + "\\"}),
        (r"user=o\ r host=''", {"user": "o r", "host": ""}),
        ("", {}),
        (
            "postgresql://web1@db.example:5433/fleet?sslmode=verify-full",
            {
                "user": "web1", "host": "db.example", "port": "5433", "dbname": "fleet",
                "sslmode": "verify-full",
            },
        ),
        (
            "postgres://web%201@[2001:db8::1],b:5/fl%2Fet",
            {"user": "web 1", "host": "2001:db8::1,b", "port": ",5", "dbname": "fl/et"},
        ),
        ("postgresql://%2Frun%2Fpostgresql/fleet", {"host": "/run/postgresql", "dbname": "fleet"}),
        ("postgresql:///fleet?host=/run/pg", {"host": "/run/pg", "dbname": "fleet"}),
    ],
)  # fmt: skip
def test_understood(text: str, words: dict[str, str]) -> None:
    """As libpq does."""
    assert dsn.parse(text) == words


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{WHOLE} password=x", "password is refused: write the password to a file"),
        (f"{WHOLE} passfile=/x", "passfile is refused"),
        ("postgresql://web1:x@db.example/fleet", "password is refused"),
        ("postgresql://web1@db.example/fleet?password=x", "password is refused"),
        (f"{WHOLE} sslpassword=x", "sslpassword is refused"),
        (f"{WHOLE} sslrootcert=/x", "sslrootcert is refused: name the file by ca_file"),
        (f"{WHOLE} service=x", "service is refused; known: host,"),
        (f"{WHOLE} sslmode=require", "sslmode=require is refused, since anybody could"),
        (f"{WHOLE} sslmode=disable", "sslmode=disable is refused"),
        ("host=/run,db.example dbname=a user=b sslmode=prefer", "sslmode=prefer is refused"),
        (
            "host=localhost hostaddr=192.0.2.1 dbname=a user=b sslmode=allow",
            "sslmode=allow is refused",
        ),
        (f"{WHOLE} port=1,2", "names 1 as host, and 2 as port"),
        ("host=a,b hostaddr=127.0.0.1 dbname=a user=b", "names 2 as host, and 1 as hostaddr"),
        ("host=localhost hostaddr=, dbname=a user=b", "names 1 as host, and 2 as hostaddr"),
        ("host=a,,b dbname=a user=b", "names an empty host"),
        ("postgresql://web1@a,/fleet", "names an empty host"),
        ("host=127.1.1.300 dbname=a user=b sslmode=prefer", "sslmode=prefer is refused"),
        (f"{WHOLE} options='-c jit=off'", "options is refused"),
        ("dbname=fleet user=web1", "names no host: write as in"),
        ("host=db.example user=web1", "names no dbname"),
        ("postgresql://db.example/fleet", "names no user"),
        ("host", "is not understood from its character 1 on"),
        (f"{WHOLE} port='1", "is not understood from its character 39 on"),
        ("postgresql://a@b@c/d", "names no valid host"),
        ("postgresql://web1@[::1]x/fleet", "names no valid host"),
        ("host=a\0b", "holds a NUL character"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    """By what is to be written instead, and without a word of a secret."""
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        PostgresqlSettings(text)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        f"{WHOLE} sslmode=verify-full hostaddr=192.0.2.1 port=5433",
        "host=/run/postgresql dbname=fleet user=web1 sslmode=disable",
        "host=127.0.0.1,::1 dbname=fleet user=web1 sslmode=prefer",
        "host=@fleet dbname=fleet user=web1",
    ],
)
def test_taken(text: str) -> None:
    """What leaves no doubt who the server is: verified TLS, or what stays on this machine."""
    assert PostgresqlSettings(text).dsn == text


def test_what_it_needs() -> None:
    """The authorities are read by the feed's user, the password by root alone."""
    [plugin] = treason_feeds()
    settings = plugin.schema(WHOLE, Path("/etc/treason/fleet.password"), Path("/etc/ca.pem"))
    assert plugin.max_new == 2_000
    assert plugin.needs(settings).secrets == ("/etc/treason/fleet.password",)
    assert plugin.needs(settings).reads == ("/etc/ca.pem",)
    assert plugin.needs(plugin.schema(WHOLE)) == plugin.needs(plugin.schema(f"{WHOLE} port=5"))
