"""TOML tables read into attrs classes, with every mistake named by its line.

It knows no key of any table: those stand where they are used.
"""
