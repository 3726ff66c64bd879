"""The fleet: bans shared by many machines, in a PostgreSQL of their own."""
