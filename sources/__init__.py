"""The built-in sources. Each module is a plugin of its own."""
