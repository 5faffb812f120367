"""What the user of a study should know before anything is run, a line each."""

from collections.abc import Iterator, Mapping

from sweep.prepare.check import Checked

LISTED = 3


def notes(checked: Checked) -> list[str]:
    """What lcsweep does to a study without being asked."""
    return list(_folded(checked.folded))


def _folded(folded: Mapping[str, str]) -> Iterator[str]:
    """The weights that were computed from others, a line for each way."""
    for by in dict.fromkeys(folded.values()):
        names = [name for name, each in folded.items() if each == by]
        what = "a plain parameter" if len(names) == 1 else "plain parameters"
        yield f"{some(names)}: computed by {by}; folded into {what}"


def some(names: list[str]) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
