"""The works that are measured, a module each."""
