"""Names from a study as a figure can show them: printable, and no longer than their place."""


def label(text: str, *, most: int) -> str:
    """`text` in at most `most` characters, with a replacement character for what cannot be printed (or put in XML)."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return shown if len(shown) <= most else shown[: most - 1] + "\u2026"
