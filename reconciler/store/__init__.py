"""What is remembered, in one SQLite file: bans, offences, history, cursors and verified states.

Nothing here decides what is to be banned or enforced.
"""
