"""What feeds bring: their own files, written and read, and the limits on what is taken of them.

Here is no feed: those are plugins. What is taken is kept in the store.
"""
