"""How the administrator connects: by verified TLS to another machine, if nothing else is said."""

import pytest

from feeds.postgresql import connecting, owner

BUNDLE = "/the/system's"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said by files or variables."""
    for name in ("PGHOST", "PGSSLMODE", "PGSERVICE", "PGSSLROOTCERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr(connecting, "_BUNDLES", (BUNDLE,))
    monkeypatch.setattr(connecting, "_SYSTEM", 1 << 30)


@pytest.mark.parametrize(
    ("dsn", "variables", "mode", "authorities"),
    [
        ("dbname=fleet", {}, None, None),
        ("host=/run/postgresql dbname=fleet", {}, None, None),
        ("host=localhost hostaddr=127.0.0.1", {}, None, None),
        ("hostaddr=127.0.0.1", {}, None, None),
        ("host=db.example", {}, "verify-full", BUNDLE),
        ("host=localhost,db.example", {}, "verify-full", BUNDLE),
        ("host=localhost hostaddr=192.0.2.1", {}, "verify-full", BUNDLE),
        ("hostaddr=192.0.2.1", {}, "verify-full", BUNDLE),
        ("postgresql://db.example/fleet", {}, "verify-full", BUNDLE),
        ("dbname=fleet", {"PGHOST": "db.example"}, "verify-full", BUNDLE),
        ("host=db.example sslrootcert=/ca.pem", {}, "verify-full", "/ca.pem"),
        ("host=db.example", {"PGSSLROOTCERT": "/ca.pem"}, "verify-full", None),
        ("host=db.example sslmode=require", {}, "require", None),
        ("host=db.example", {"PGSSLMODE": "require"}, None, None),
        ("service=fleet", {"PGHOST": "db.example"}, None, None),
    ],
)
def test_whom_the_administrator_believes(
    dsn: str,
    variables: dict[str, str],
    mode: str | None,
    authorities: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server that has a certificate of that name, signed by somebody whom the system knows."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    words = owner.verifying(owner.parsed(dsn))
    assert (words.get("sslmode"), words.get("sslrootcert")) == (mode, authorities)
