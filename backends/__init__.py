"""The built-in backends. Each is a plugin of its own."""
