"""The resident reconciler: it waits, and acts at once on what happens.

What is decided stands in `passes`, and what is told in `report`; nothing here prints.
"""
