"""The package in a chroot without systemd and without nft: it works there, and nothing stays."""

from container import Network, chrooted, laid_over
from debs import Stage
from package_remove import changed, files
from roots import plain

BANNED, FRIEND = "203.0.113.66", "203.0.113.5"


def without_systemd(stage: Stage) -> None:
    """Install it without what it recommends, ban, and purge it twice."""
    deb, say = stage.deb, stage.say
    with laid_over(plain(stage.suite)) as system:
        network = Network([BANNED, FRIEND])
        try:
            (system / "root" / deb.name).write_bytes(deb.read_bytes())

            def run(*argv: str) -> str:
                return chrooted(system, network, *argv)

            before = files(system)
            run("apt-get", "install", "--yes", "--no-install-recommends", f"/root/{deb.name}")
            for each in ("/usr/sbin/nft", "/usr/bin/systemctl"):
                assert not (system / each.lstrip("/")).exists(), each
            (system / "etc/treason/treason.toml").write_text('[treason]\nsources = ["sockets"]\n')
            run("treason", "init")
            run("treason", "ban", BANNED)
            run("treason", "reconcile")
            assert network.arriving(BANNED, FRIEND) == {FRIEND}
            told = run("apt-get", "remove", "--yes", "treason")
            assert network.arriving(BANNED, FRIEND) == {FRIEND}
            assert "\ntreason: " in told, told
            say("without systemd and nft: it drops, also when removed, and that is told")
            told = run("apt-get", "purge", "--yes", "treason")
            run("dpkg", "--purge", "treason")
            left = [each for each in changed(before, files(system)) if "treason" in str(each)]
            assert not left, left
            assert not network.run("nft", "list", "ruleset"), told
            assert network.arriving(BANNED, FRIEND) == {BANNED, FRIEND}
            say("purged without systemd and nft, twice: nothing is left")
        finally:
            network.close()
