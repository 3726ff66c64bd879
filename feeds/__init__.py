"""Feeds: what others say about whom to drop. Each is a plugin."""
