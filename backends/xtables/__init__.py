"""The chain ``TREASON`` of iptables and ip6tables: what the backends iptables and ipset share."""
