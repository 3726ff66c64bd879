"""What is wrong with this machine: one check a file, each with what mends it.

Here nothing is changed, and nothing is told that is not certain.
"""
