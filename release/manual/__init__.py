"""The manual pages, in the language mdoc(7).

They are made of what the program itself says: the commands' help, the configuration's template and
settings, the docstrings of what plugins may use.
"""
