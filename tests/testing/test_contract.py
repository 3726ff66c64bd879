"""The contracts: those in memory keep them, and each sabotaged one is found out."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from harness import ROOT
from sabotaged import (
    EXPECTED,
    EXPECTED_ASKED,
    EXPECTED_HEEDING,
    EXPECTED_JUDGING,
    EXPECTED_PATIENTS,
    EXPECTED_POLLED,
    EXPECTED_REFLEXES,
    EXPECTED_SOURCES,
    EXPECTED_WATCHED,
    EXPECTED_WITNESSES,
    AlarmContract,
    AskableMemoryContract,
    EyewitnessContract,
    MemoryContract,
    MemoryReflexesContract,
    MemoryWatchedContract,
    PatientContract,
    PolledMemoryReflexesContract,
    TapeContract,
    WatchContract,
)
from sabotaged_feeds import EXPECTED as FEEDS
from sabotaged_feeds import (
    GossipContract,
    NamedContract,
    NoterContract,
    Posters,
    TellerContract,
    WakerContract,
)


class TestMemory(MemoryContract):
    """The backend in memory."""


class TestMemoryReflexes(MemoryReflexesContract):
    """The reflexes of the backend in memory."""


class TestPolledMemoryReflexes(PolledMemoryReflexesContract):
    """The same, asked each second."""


class TestMemoryWatched(MemoryWatchedContract):
    """The backend in memory, waited for."""


class TestAskable(AskableMemoryContract):
    """The backend in memory that can be asked."""


class TestTape(TapeContract):
    """The source in memory."""


class TestAlarm(AlarmContract):
    """What a bell wakes, in memory."""


class TestWatch(WatchContract):
    """The source in memory that judges by itself."""


class TestEyewitness(EyewitnessContract):
    """The source in memory that confirms messages."""


class TestGossip(GossipContract):
    """The feed in memory, which goes on from a cursor."""


class TestPosters(GossipContract):
    """The feed in memory that has none."""

    kind = Posters


class TestNamed(NamedContract):
    """The feed in memory that has an epoch."""


class TestNoter(NoterContract):
    """The feed in memory that has something to say about what it read."""


class TestTeller(TellerContract):
    """The feed in memory that tells others as well."""


class TestWaker(WakerContract):
    """The feed in memory that can be waited for."""


class TestPatient(PatientContract):
    """What knows of a flaw in memory."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """Run the contracts on what is sabotaged: the cases by class and result."""
    return outcomes(tmp_path_factory.mktemp("contract"), "sabotaged.py")


@pytest.fixture(scope="module")
def of_feeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """Run those of feeds."""
    return outcomes(tmp_path_factory.mktemp("feeds"), "sabotaged_feeds.py")


def outcomes(directory: Path, file: str) -> dict[str, dict[str, set[str]]]:
    """Run the cases of a file: by class and result."""
    report = directory / "report.xml"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
         ROOT / "tests" / file],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own report
        kind = case.attrib["classname"].rpartition(".")[2].removeprefix("Test")
        outcome = next((child.tag for child in case if child.tag != "system-out"), "passed")
        found[kind][outcome].add(case.attrib["name"].partition("[")[0])
    return found


@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.__name__)
def test_a_sabotaged_backend_fails_just_the_case_that_names_it(
    kind: type, results: dict[str, dict[str, set[str]]]
) -> None:
    """No other case fails, and none ends in an error."""
    found = results[kind.__name__]
    assert (found["failure"], found["error"]) == ({EXPECTED[kind]}, set())
    assert "test_empty" in found["passed"]


@pytest.mark.parametrize(
    ("kind", "cases"),
    [
        *EXPECTED_SOURCES.items(),
        *EXPECTED_JUDGING.items(),
        *EXPECTED_HEEDING.items(),
        *EXPECTED_REFLEXES.items(),
        *EXPECTED_POLLED.items(),
        *EXPECTED_WATCHED.items(),
        *EXPECTED_WITNESSES.items(),
        *EXPECTED_ASKED.items(),
        *EXPECTED_PATIENTS.items(),
    ],
    ids=lambda kind: getattr(kind, "__name__", ""),
)
def test_sabotaged_sources_and_reflexes_fail_the_cases_that_name_it(
    kind: type, cases: set[str], results: dict[str, dict[str, set[str]]]
) -> None:
    """These and no others."""
    found = results[kind.__name__]
    assert (found["failure"], found["error"]) == (cases, set())


@pytest.mark.parametrize(
    ("kind", "cases"), FEEDS.items(), ids=lambda kind: getattr(kind, "__name__", "")
)
def test_sabotaged_feeds_fail_the_cases_that_name_it(
    kind: type, cases: set[str], of_feeds: dict[str, dict[str, set[str]]]
) -> None:
    """These and no others, and none is skipped."""
    found = of_feeds[kind.__name__]
    assert (found["failure"], found["error"], found["skipped"]) == (cases, set(), set())


def test_a_contract_without_a_platform_says_what_it_needs(tmp_path: Path) -> None:
    """Damages, faults, foreign objects and unreadability are asked for by name."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\nfrom reconciler.testing import BackendContract, Memory\n"
        "class TestIt(BackendContract):\n    many = 10\n    beyond = 20\n"
        "    @pytest.fixture\n    def backend(self):\n        return Memory()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for wanted in ("give unreadable()", "give foreign()"):
        assert wanted in done.stdout
