"""Tables of the logistic function in whole numbers. Python's integers make them, so they are the same everywhere.

A logit is a whole number of 1/STEPS, from -LARGEST to LARGEST. A probability is a whole number of 1/65536.
"""

import numpy as np

STEPS = 256
LARGEST = 11 * STEPS
LIMIT = 1023
"""The largest count of a slot. The rate of learning falls no further after it."""


def _squash() -> list[int]:
    """65536 / (1 + e^-x) for the logits x from 0 to LARGEST, rounded down, at most 65535."""
    one, ratio, term, k = 1 << 64, 0, 1 << 64, 0
    while term:  # the Taylor series of e^(-1/STEPS), in units of 2^-64
        ratio += term if k % 2 == 0 else -term
        k += 1
        term //= STEPS * k
    found, power = [], one
    for _ in range(LARGEST + 1):
        found.append(min((one << 16) // (one + power), 65535))
        power = power * ratio >> 64
    return found


_UPPER = _squash()
SQUASH = np.array([65536 - p for p in reversed(_UPPER[1:])] + _UPPER, np.int32)
"""Logit + LARGEST -> probability, from 1 to 65535."""
STRETCH = np.minimum(np.searchsorted(SQUASH, np.arange(65536)) - LARGEST, LARGEST).astype(np.int16)
"""Probability -> logit."""
RATE = (655360 // (10 * np.arange(LIMIT + 1) + 13)).astype(np.int32)
"""How often a slot was visited -> the part of its error by which it moves, in 1/65536: 1 / (visits + 1.3)."""
