"""One pass: sources are read, backends are brought in line, and what happened is returned.

Nothing here prints, and nothing here knows the command line.
"""
