"""Broken machines: `treason doctor` names what is wrong, and what it prints mends it."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from doctors import do, findings
from harness import REAL_ROOT, Place, page
from residents import configure, running, until
from troubled import own_mounts

from reconciler.execute import run

Nft = Callable[..., str]
Flaw = Callable[[Place], object]

BANS = [f"198.51.100.{number}" for number in range(1, 13)]


@pytest.fixture
def well(place: Place, nft: Nft) -> Place:
    """A machine on which all is well: twelve are banned, and dropped."""
    place.configure(main='sources = ["sockets"]')
    (place.path / "run").mkdir(mode=0o700)
    place.config.write_text(place.config.read_text().replace("/lock", "/run/lock"))
    place.path.chmod(0o700)
    place.treason("ban", *BANS)
    assert place.treason("reconcile", "--no-scan").code == 0
    assert findings(place) == []
    return place


def sql(statement: str) -> Flaw:
    """Let another program write to the database."""

    def write(place: Place) -> None:
        with closing(sqlite3.connect(place.database)) as connection, connection:
            connection.execute(statement)

    return write


def nft(*commands: str) -> Flaw:
    """Let somebody else change the firewall."""
    return lambda _place: [run(["nft", each]) for each in commands]


def mode(name: str, bits: int) -> Flaw:
    """Let a file have other rights."""
    return lambda place: (place.path / name).chmod(bits)


def forget_three(content: bytearray) -> None:
    """Let three rows of an index be gone."""
    content[3:5] = (int.from_bytes(content[3:5]) - 3).to_bytes(2)


def behind_a_bridge(place: Place) -> None:
    """Let a guest be on a bridge by which this machine is reached, too."""
    for number in (1, 2):
        run(["ip", "link", "add", f"port{number}", "type", "veth", "peer", "name", f"far{number}"])
    run(["ip", "link", "add", "br0", "type", "bridge"])
    for device in ("port1", "port2"):
        run(["ip", "link", "set", device, "master", "br0", "up"])
    run(["ip", "addr", "add", "203.0.113.2/24", "dev", "br0"])
    run(["ip", "link", "set", "br0", "up"])
    run(["ip", "route", "add", "default", "via", "203.0.113.1", "dev", "br0"])
    run(["sysctl", "-w", "net.bridge.bridge-nf-call-iptables=0"])
    assert place.treason("reconcile", "--no-scan").code == 0  # its gateway is protected


def a_classifier(_place: Place) -> None:
    """Let a program have the packets first."""
    run(["tc", "qdisc", "add", "dev", "lo", "clsact"])
    run(["tc", "filter", "add", "dev", "lo", "ingress", "bpf", "da", "bytecode", "1,6 0 0 1,"])


def whitelist(*words: str) -> Flaw:
    """Let somebody whitelist too much."""

    def add(place: Place) -> None:
        place.treason("whitelist", "add", *words)
        place.treason("reconcile", "--no-scan", "--force")

    return add


def leave_a_chain(place: Place) -> None:
    """Let the legacy variant of iptables hold a chain of before."""
    run(["iptables-legacy", "-N", "TREASON"])
    run(["iptables-legacy", "-A", "TREASON", "-s", "198.51.100.1/32", "-j", "DROP"])
    run(["iptables-legacy", "-I", "INPUT", "-j", "TREASON"])
    use(place, "iptables")


def use(place: Place, backend: str, more: str = "") -> None:
    """Enforce by another backend from now on."""
    place.treason("teardown")
    place.config.write_text(
        place.config.read_text().replace("[treason]\n", f'[treason]\nbackends = ["{backend}"]\n')
        + more
    )
    assert place.treason("reconcile", "--no-scan").code == 0


FLAWS: dict[str, tuple[str, str, Flaw]] = {
    "the table deleted": ("backends", "is missing", nft("delete table inet treason")),
    "the table dormant": (
        "backends",
        "dormant",
        nft("add table inet treason { flags dormant; }"),
    ),
    "an accept ahead": (
        "backends",
        "has 'accept'",
        nft("insert rule inet treason prerouting accept"),
    ),
    "an element deleted": (
        "backends",
        "1 network missing",
        nft(f"delete element inet treason banned4 {{ {BANS[0]} }}"),
    ),
    "an element added": (
        "backends",
        "1 network too many",
        nft("add element inet treason banned4 { 192.0.2.1 }"),
    ),
    "a pause": ("pause", "everything is paused", lambda place: place.treason("pause")),
    "a directory for everybody": ("database", "may write to it", mode(".", 0o777)),
    "a database for everybody": ("database", "may write to it", mode("treason.db", 0o666)),
    "a lock for everybody": ("lock", "every user may write", mode("run", 0o777)),
    "an index without rows": (
        "database",
        "the index bans_by_key has",
        lambda place: page(place.database, "bans_by_key", forget_three),
    ),
    "a ban of no network": (
        "database",
        "1 stored ban is not a network: 'somebody;'",
        sql("INSERT INTO badips (ip) VALUES ('somebody;')"),
    ),
    "a ban too wide": (
        "database",
        "1 stored ban is wider",
        sql("INSERT INTO badips (ip) VALUES ('10.0.0.0/8')"),
    ),
    "all whitelisted": (
        "whitelist",
        "0.0.0.0/0 is wider than /8",
        whitelist("0.0.0.0/0", "--force"),
    ),
    "bans whitelisted": (
        "whitelist",
        "198.51.100.0/24 is whitelisted, and covers 12 stored bans",
        whitelist("198.51.100.0/24"),
    ),
    "a bridge": ("bypass", "the bridge br0", behind_a_bridge),
    "a tc program": ("bypass", "a tc program has the packets of lo", a_classifier),
    "a chain of the other iptables": (
        "backend iptables",
        "iptables-legacy holds a chain TREASON",
        leave_a_chain,
    ),
    "tests only": (
        "configuration",
        "[trust] userspace = true",
        lambda place: place.config.write_text(
            f"{place.config.read_text()}\n[trust]\nuserspace = true\n"
        ),
    ),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_the_remedy_mends_it(flaw: str, well: Place) -> None:
    """It is named by its check, and after the printed command that check says nothing any more."""
    check, words, make = FLAWS[flaw]
    make(well)
    found = findings(well, check)
    assert [words in each.what for each in found] == [True], found
    for each in found:
        do(each.remedy)
    if flaw.endswith("whitelisted"):
        assert well.treason("reconcile", "--no-scan").code == 0
    assert findings(well, check) == []


def test_looking_changes_nothing(well: Place) -> None:
    """Neither a file nor the firewall."""
    nft("add element inet treason banned4 { 192.0.2.1 }")(well)
    before = well.snapshot(), run(["nft", "list", "ruleset"]).output
    assert len(findings(well)) == 1
    assert (well.snapshot(), run(["nft", "list", "ruleset"]).output) == before


def test_a_pass_that_hangs(well: Place) -> None:
    """It is named by its process id, and killed."""
    text = well.config.read_text().replace("[treason]", '[treason]\npass_timeout = "1s"')
    well.config.write_text(text)
    script = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, well.path / "run" / "lock"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as pass_:  # fmt: skip
        assert pass_.stdout
        assert pass_.stdout.readline()
        until(lambda: findings(well, "lock"))
        [found] = findings(well, "lock")
        assert f"process {pass_.pid} has the lock" in found.what
        do(found.remedy)
        pass_.wait()
    assert findings(well, "lock") == []


def test_a_pass_that_runs_is_no_finding(well: Place) -> None:
    """Nobody knows how long it has had the lock, until it is older than a pass may be."""
    script = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, well.path / "run" / "lock"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as pass_:  # fmt: skip
        assert pass_.stdout
        assert pass_.stdout.readline()
        assert findings(well, "lock") == []
        pass_.communicate(b"\n")


@pytest.mark.skipif(not REAL_ROOT, reason="only root can mount")
def test_a_read_only_disk(well: Place) -> None:
    """It is named, and mounted again for writing."""
    with own_mounts():
        data = well.path / "data"
        data.mkdir(mode=0o700)
        run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs", str(data)])
        shutil.move(well.database, data / "treason.db")
        well.config.write_text(well.config.read_text().replace("/treason.db", "/data/treason.db"))
        run(["mount", "-o", "remount,ro", str(data)])
        [found] = findings(well, "disk")
        assert "read-only" in found.what
        do(found.remedy)
        assert findings(well, "disk") == []
        filler = data / "filler"
        filler.write_bytes(bytes(24 << 20))
        [found] = findings(well, "disk")
        assert "7 MiB are free; a pass may need 16 MiB" in found.what
        filler.unlink()
        assert findings(well, "disk") == []


@contextmanager
def saved_rules(place: Place, monkeypatch: pytest.MonkeyPatch, *, sets: bool) -> Iterator[Path]:
    """Let the rules be saved, with or without the sets that they ask."""
    rules, saved = place.path / "rules.v4", place.path / "ipsets"
    rules.write_text(run(["iptables-save"]).output)
    if sets:
        saved.write_text("")
    monkeypatch.setattr("backends.ipset.saved.RULES", (rules,))
    monkeypatch.setattr("backends.ipset.saved.SETS", (saved,))
    monkeypatch.setattr("backends.ipset.saved.UNIT", place.path / "no unit")
    yield saved
    rules.unlink()


def test_saved_rules_that_need_sets(well: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sets are saved, too; where no sets are ever saved, a unit makes them."""
    use(well, "ipset")
    with saved_rules(well, monkeypatch, sets=True) as saved:
        [found] = findings(well, "backend ipset")
        assert "name treason's sets" in found.what
        do(found.remedy)
        assert "create treason4 " in saved.read_text()
        assert findings(well, "backend ipset") == []
    with saved_rules(well, monkeypatch, sets=False) as saved:
        saved.unlink()
        [found] = findings(well, "backend ipset")
        assert found.remedy == f"treason --config {well.config} init --systemd"


def test_others_that_empty_the_chains(well: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of ufw and firewalld that do it are named, and changed."""
    use(well, "iptables")
    files = {
        "UFW": "ENABLED=yes\n",
        "UFW_DEFAULTS": "# defaults\nMANAGE_BUILTINS=yes\nIPV6=yes\n",
        "FIREWALLD_ENABLED": "",
        "FIREWALLD": "DefaultZone=public\nFirewallBackend=iptables\nFlushAllOnReload=yes\n",
    }
    for name, text in files.items():
        (well.path / name).write_text(text)
        monkeypatch.setattr(f"backends.xtables.diagnosing.{name}", well.path / name)
    found = findings(well, "backend iptables")
    assert [each.what.partition(" empties")[0] for each in found] == ["ufw", "firewalld"]
    for each in found:
        do(each.remedy)
    assert findings(well, "backend iptables") == []
    assert "IPV6=yes" in (well.path / "UFW_DEFAULTS").read_text()


def test_docker_ahead_of_the_jump(well: Place) -> None:
    """What is to be written is printed as it stands."""
    use(well, "iptables")
    run(["iptables", "-N", "DOCKER-USER"])
    [found] = findings(well, "backend iptables")
    setting, table = found.remedy.removeprefix("write ").split(" in ")
    well.config.write_text(f"{well.config.read_text()}\n{table}\n{setting}\n")
    run(["iptables", "-A", "FORWARD", "-j", "DOCKER-USER"])
    assert findings(well, "backend iptables") == []


def test_a_rule_for_each_network(well: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """From so many on, the move to sets is printed, and made (many are too many for a user)."""
    monkeypatch.setattr("backends.iptables.backend.MANY", 100)
    networks = [f"203.0.113.{number}" for number in range(100)]
    (well.path / "many").write_text("\n".join(networks))
    well.treason("ban", "--file", str(well.path / "many"))
    use(well, "iptables")
    [found] = findings(well, "backend iptables")
    assert "compares each packet with up to 1" in found.what
    do(found.remedy)
    well.config.write_text(well.config.read_text().replace('["iptables"]', '["nftables"]'))
    assert findings(well) == []


def test_a_daemon_that_stands_still(place: Place, nft: Nft) -> None:
    """After a teardown it is told to go on."""
    configure(place)
    place.path.chmod(0o700)
    with running(place) as daemon:
        place.treason("ban", BANS[0])
        assert place.treason("teardown").code == 0
        [found] = findings(place, "daemon")
        assert "stands still" in found.what
        do(found.remedy)
        assert findings(place, "daemon") == []
        assert daemon.stop() == 0


def test_nothing_at_all(place: Place, nft: Nft) -> None:
    """A database that is not there yet is made, and the firewall is brought in line."""
    place.configure(main='sources = ["sockets"]')
    place.path.chmod(0o700)
    for check in ("database", "backends"):
        [found] = findings(place, check)
        do(found.remedy)
        assert findings(place, check) == []
    assert findings(place) == []


def test_a_wrong_configuration(well: Place) -> None:
    """Every mistake is named, and nothing else is looked at."""
    right = well.config.read_text()
    well.config.write_text(f'{right}\n[policy]\nthreshhold = 3\nmode = "off"\n')
    assert {each.check for each in findings(well)} == {"configuration"}
    assert len(findings(well)) == 2
    well.config.write_text(right)
    assert findings(well) == []


@pytest.mark.skipif(not REAL_ROOT, reason="only root makes a namespace of processes alone")
def test_another_network_namespace(well: Place) -> None:
    """Where process 1 has another one, the command looks there."""
    script = (
        "first=$(unshare -n {t} doctor -o json); echo \"$first\" | grep -q 'not the network names' "
        "&& nsenter --net=/proc/1/ns/net {t} doctor"
    ).format(t=f"{Path(sys.executable).parent}/treason --config {well.config}")
    done = subprocess.run(
        ["unshare", "-p", "-f", "--mount-proc", "sh", "-c", script],
        capture_output=True, text=True, check=False, env={**os.environ},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "all is well (17 checks)\n"), done


def test_the_default_configuration(place: Place, nft: Nft) -> None:
    """What is found on a machine without systemd is what is true here: nothing but its log."""
    place.path.chmod(0o700)
    place.config.write_text(
        place.config.read_text().replace("[treason]", '[treason]\nsources = ["kmsg", "sockets"]')
    )
    place.treason("init")
    place.treason("reconcile", "--no-scan")
    assert {each.check for each in findings(place)} <= {"kernel message", "sources"}
