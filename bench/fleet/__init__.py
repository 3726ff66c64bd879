"""A fleet in small: hosts in namespaces on one switch, and PostgreSQL in another one."""
