"""The commands, by what they are about. Each module is imported when one of its commands runs."""
