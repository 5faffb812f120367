"""Names from a study, made fit to be shown."""


def printable(text: str, *, most: int) -> str:
    """`text` in at most `most` characters. A replacement character stands for each that cannot be printed."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return shown if len(shown) <= most else shown[: most - 1] + "\u2026"
