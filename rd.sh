. /tmp/sk_mk; PATH=$(dirname $T):$PATH; mount -t tmpfs t /tmp 
mkdir -m 700 /tmp/treason && cd /tmp/treason
cat > treason.toml <<END
[treason]
database = "/tmp/treason/treason.db"
lock = "/tmp/treason/lock"
[whitelist]
networks = [{ network = "172.16.0.0/12", comment = "our own" }]
END
export TREASON_CONFIG=/tmp/treason/treason.toml
echo 'TCP: Treason uncloaked! Peer 117.79.83.112:4638/8080 shrinks window 3207520931:3207522811. Repaired.' > kern.log
treason reconcile --check --source file:kern.log; echo $?
treason reconcile --source file:kern.log; echo $?
nft flush set inet treason banned4
treason reconcile --check --no-scan; echo $?
treason reconcile --no-scan
treason reconcile --check --no-scan; echo $?
# pipeline how-to: db copied, conf
treason export --observed > observed.json
sqlite3 treason.db ".backup copy.db"; ls -la copy.db
# dup backends
treason reconcile --check --no-scan --backend nftables --backend file:x/y; echo $?
treason reconcile --no-scan --backend nftables --backend file:x/y; echo $?
treason reconcile --no-scan --backend file:bl --backend nftables --backend file:./bl; echo $?
# guard: whitelist whole internet
for i in $(seq 1 20); do echo 60.0.0.$i; done | xargs treason ban >/dev/null; treason reconcile --no-scan > /dev/null
treason whitelist add 0.0.0.0/0; treason reconcile --no-scan | head -3; treason whitelist remove 0.0.0.0/0
treason ban 60.0.0.0/8 --force; treason reconcile --no-scan | head -2; treason unban 60.0.0.0/8; treason reconcile --no-scan | head -3; 
echo "-- lifted /8 explains lost DB"; for i in $(seq 1 20); do echo 60.0.0.$i; done | xargs treason ban >/dev/null;  treason reconcile --no-scan >/dev/null; sqlite3 treason.db "delete from bans where network like '60.0.0.%'"; treason reconcile --no-scan | head -2; echo rc ${PIPESTATUS[0]}
