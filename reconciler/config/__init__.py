"""The administrator's choice: the configuration, the plugins, and what follows from both.

It prints nothing, and opens neither the database nor a firewall.
"""
