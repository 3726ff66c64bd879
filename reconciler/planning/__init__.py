"""What should be enforced, and what differs: whitelist, protection, desired state, plan, guard.

Nothing here reads a firewall or the database.
"""
