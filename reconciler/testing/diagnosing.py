"""What a source or a backend promises that knows of flaws around it, as cases for pytest."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from reconciler.diagnosis import Diagnosing, Finding
from reconciler.testing.steps import Cases


class DiagnosingContract(Cases):
    """Subclass it, and give a fixture ``diagnosing``: a source or a backend where all is well.

    ``flaws`` are names of flaws, and functions that make them, each called with the test's
    instance. Each is to be found, and nothing is where there is none.
    """

    flaws: ClassVar[Mapping[str, Callable[[Any], object]]] = {}

    @pytest.fixture
    def diagnosing(self) -> Diagnosing:
        """A source or a backend where all is well."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'diagnosing'")

    def test_all_is_well(self, diagnosing: Diagnosing) -> None:
        """Nothing is found where nothing is wrong, however often it is asked."""
        assert isinstance(diagnosing, Diagnosing)
        assert [*diagnosing.diagnose()] == []
        assert [*diagnosing.diagnose()] == []

    def test_flaw(self, flaw: str, diagnosing: Diagnosing) -> None:
        """It is found, each time, with why it matters and what mends it, in a line each."""
        self.flaws[flaw](self)
        found = [*diagnosing.diagnose()]
        assert found
        assert [*diagnosing.diagnose()] == found
        for each in found:
            assert isinstance(each, Finding)
            assert all(text.isprintable() and text for text in (each.what, each.why, each.remedy))
