"""Names of parametrized tests that are the same in every process."""

import re


def plain(value: object) -> str:
    """`value` as text, without the addresses of functions."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
