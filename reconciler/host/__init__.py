"""This machine: its lock, its namespaces, its listening ports, its kernel's message, its units.

Nothing here knows what a ban is, or reads the configuration.
"""
