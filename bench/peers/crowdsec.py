"""CrowdSec and its firewall bouncer, private and without any network."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.logs import lines, syslog
from bench.measure import Sample
from bench.peers.daemon import Daemon
from bench.peers.fetch import unpacked
from bench.peers.watch import Watch
from bench.station import Station

_PATIENCE: Final = 20.0
_FOLLOWING: Final = 1.0  # seconds from which on the engine follows a log that it has opened
_KEY: Final = "benchbenchbenchbenchbenchbench00"
_PORT: Final = 8080
_CONFIG: Final = """\
common: {{daemonize: false, log_media: file, log_level: info, log_dir: {path}/log/}}
config_paths:
  config_dir: {path}/etc/
  data_dir: {path}/data/
  simulation_path: {root}/etc/crowdsec/simulation.yaml
  hub_dir: {path}/hub/
  index_path: {path}/hub/.index.json
  notification_dir: {path}/notifications/
  plugin_dir: {root}/usr/lib/crowdsec/plugins/
crowdsec_service: {{acquisition_path: {path}/acquis.yaml, parser_routines: 1}}
cscli: {{output: human}}
db_config: {{log_level: info, type: sqlite, use_wal: true, db_path: {path}/data/crowdsec.db}}
plugin_config: {{user: nobody, group: nogroup}}
api:
  client: {{insecure_skip_verify: false, credentials_path: {path}/lapi.yaml}}
  server:
    log_level: info
    listen_uri: 127.0.0.1:{port}
    profiles_path: {root}/etc/crowdsec/profiles.yaml
    console_path: {path}/console.yaml
    trusted_ips: [127.0.0.1]
prometheus: {{enabled: false}}
"""
_BOUNCER: Final = """\
mode: nftables
pid_dir: {path}/
update_frequency: {update}
daemonize: false
log_mode: file
log_dir: {path}/log/
log_level: info
api_url: http://127.0.0.1:{port}/
api_key: {key}
disable_ipv6: true
deny_action: DROP
supported_decisions_types: [ban]
blacklists_ipv4: crowdsec-blacklists
nftables:
  ipv4: {{enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain}}
  ipv6: {{enabled: false, set-only: false, table: crowdsec6, chain: crowdsec6-chain}}
prometheus: {{enabled: false, listen_addr: 127.0.0.1, listen_port: 60601}}
"""
_ACQUISITION: Final = """\
filenames: ["{path}/kern.log"]
labels: {{type: treason}}
"""
_PARSER: Final = r"""name: bench/treason
filter: "evt.Line.Labels.type == 'treason'"
onsuccess: next_stage
nodes:
  - grok:
      pattern: 'TCP: Treason uncloaked! Peer %{IP:source_ip}:%{NUMBER}/%{NUMBER} shrinks window'
      apply_on: Line.Raw
statics:
  - {meta: log_type, value: treason}
  - {meta: source_ip, expression: evt.Parsed.source_ip}
"""
_SCENARIO: Final = """\
type: trigger
name: bench/treason
description: treason
filter: "evt.Meta.log_type == 'treason'"
groupby: evt.Meta.source_ip
labels: {remediation: true}
"""


class Crowdsec:
    """Is told of peers by ``cscli decisions import``; the bouncer asks every ``update``."""

    _engine: tuple[str, ...] = ("-no-cs",)

    def __init__(self, station: Station, update: str = "1s") -> None:
        self._station = station
        self._path = station.path / "crowdsec"
        self._update = update
        self._cli: list[str] = []
        self._daemons: list[Daemon] = []

    def start(self) -> None:
        """Start the API and the bouncer, and wait until they answer."""
        root, bouncer = unpacked("crowdsec"), unpacked("crowdsec-firewall-bouncer")
        config = self._configure(root)
        self._cli = [str(root / "usr/bin/cscli"), "-c", str(config)]
        self._station.run(["ip", "link", "set", "lo", "up"])
        self._run("machines", "add", "bench", "--password", _KEY, "-f", f"{self._path}/lapi.yaml",
                  "-u", f"http://127.0.0.1:{_PORT}", "--force")  # fmt: skip
        self._run("bouncers", "add", "bench", "-k", _KEY)
        server = [str(root / "usr/bin/crowdsec"), "-c", str(config), *self._engine]
        guard = [str(bouncer / "usr/bin/crowdsec-firewall-bouncer"), "-c", f"{self._path}/b.yaml"]
        with self._station.entered():
            self._daemons.append(Daemon(server, self._path / "api.out"))
            self._daemons[0].ready(_answers)
            self._daemons.append(Daemon(guard, self._path / "bouncer.out"))
            self._daemons[1].ready(self._has_table)
        self._settled()

    def ban(self, peers: Sequence[str]) -> Sample:
        """Report the peers, and wait until all are in the set."""
        with self._station.entered(), Watch() as watch:
            cpu = sum(daemon.cpu() for daemon in self._daemons)
            with self._reported(peers) as start:
                wall = watch.wait(len(peers), _PATIENCE) - start
        used = sum(daemon.cpu() for daemon in self._daemons) - cpu
        memory = max(daemon.memory() for daemon in self._daemons)
        return {"wall": wall, "cpu": used, "memory": memory}

    def pids(self) -> Sequence[int]:
        """Return the processes of the API (with the engine) and of the bouncer."""
        return [daemon.pid for daemon in self._daemons]

    def close(self) -> None:
        """Stop the bouncer, then the API."""
        for daemon in reversed(self._daemons):
            daemon.close()

    def _configure(self, root: Path) -> Path:
        for name in ("etc", "data", "hub", "log", "notifications"):
            (self._path / name).mkdir(parents=True)
        shutil.copytree(root / "etc/crowdsec/patterns", self._path / "etc/patterns")
        for name in ("acquis.yaml", "lapi.yaml"):
            (self._path / name).touch()
        config = self._path / "config.yaml"
        config.write_text(_CONFIG.format(path=self._path, root=root, port=_PORT))
        bouncer = _BOUNCER.format(path=self._path, port=_PORT, key=_KEY, update=self._update)
        (self._path / "b.yaml").write_text(bouncer)
        return config

    @contextmanager
    def _reported(self, peers: Sequence[str]) -> Iterator[float]:
        """Import decisions about the peers; yield when that begins."""
        file = self._path / "decisions.csv"
        head = "duration,reason,scope,type,value"
        file.write_text(lines([head, *(f"24h,treason,ip,ban,{peer}" for peer in peers)]))
        start = time.perf_counter()
        importing = self._start("decisions", "import", "-i", str(file))
        try:
            yield start
        finally:
            importing.wait()

    def _run(self, *arguments: str) -> None:
        self._station.run([*self._cli, *arguments])

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._path / "cscli.out").open("ab") as output:
            return subprocess.Popen([*self._cli, *arguments], stdout=output, stderr=output)

    def _settled(self) -> None:
        """Wait for all that it needs besides."""

    def _has_table(self) -> bool:
        return "crowdsec" in self._station.run(["nft", "list", "tables"])


class Engine(Crowdsec):
    """Reads of peers in a log: a parser and a scenario that needs one line (``trigger``)."""

    _engine = ()

    def _configure(self, root: Path) -> Path:
        config = super()._configure(root)
        for each in (root / "usr/share/crowdsec/hub").iterdir():
            (self._path / "hub" / each.name).symlink_to(each)
        etc = self._path / "etc"
        for name, text in (("parsers/s00-raw", _PARSER), ("scenarios", _SCENARIO)):
            (etc / name).mkdir(parents=True)
            (etc / name / "treason.yaml").write_text(text)
        (self._path / "acquis.yaml").write_text(_ACQUISITION.format(path=self._path))
        (self._path / "kern.log").touch()
        return config

    def _settled(self) -> None:
        """Wait until it has opened its log: what is written before is not read."""
        files = Path(f"/proc/{self._daemons[0].pid}/fd")
        self._daemons[0].ready(
            lambda: self._path / "kern.log" in map(Path.resolve, files.iterdir())
        )
        time.sleep(_FOLLOWING)

    @contextmanager
    def _reported(self, peers: Sequence[str]) -> Iterator[float]:
        """Log the peers; yield when that begins."""
        start = time.perf_counter()
        with (self._path / "kern.log").open("a") as file:
            file.write(syslog(peers))
        yield start


def _answers() -> bool:
    try:
        socket.create_connection(("127.0.0.1", _PORT), 1).close()
    except OSError:
        return False
    return True
