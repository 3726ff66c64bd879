"""Text from strangers made harmless: evidence, comments and reasons may hold anything."""


def plain(text: str) -> str:
    """Return the text with its control characters made visible."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def plain_lines(text: str) -> str:
    """Return the text likewise, with its line breaks as they are."""
    return "\n".join(map(plain, text.split("\n")))
