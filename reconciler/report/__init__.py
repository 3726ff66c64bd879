"""What is told of a pass and of the store, in every form: text, JSON, diffs.

Nothing here is printed, and nothing is decided.
"""
