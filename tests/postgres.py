"""A PostgreSQL of the test's own, and the mark of tests that need one."""

import pytest

from bench.fleet.postgres import Postgres, is_there, running

__all__ = ["Postgres", "is_there", "needed", "running"]

needed = pytest.mark.skipif(not is_there(), reason="needs root, and Debian's package postgresql")
