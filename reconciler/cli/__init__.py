"""The command line: each command parses its options, calls a pass or the store, and prints.

Nothing is decided here, and nothing below knows of click.
"""
