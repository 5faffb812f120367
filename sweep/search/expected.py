"""The sizes that files will probably have, learned from those that a search has seen.

Before a job, only the nominal size of its file is known, which no file exceeds. How much smaller the coded file is
depends on its weights. It is alike for configurations that are alike. So a search goes by the sizes that it expects,
and rules out by size only what would be no smaller even if it had less than that by the error. Pure.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sweep.search.space import Space, Values

NEAR = 0.05
"""Distances are in shares of a knob's range. Nearer results than this count about the same."""
MOST = 10**5
"""The most distances that are worked out in a family. With more results than that allows, some stand for all."""
ERRORS = (0.02, 0.3)
"""The least and the largest error of an expected size, as a share of it. Errors were chosen on synthetic surfaces and
on real files (docs/LOG.md). A family with fewer than three results has the largest."""
SHARE = 0.8
"""In a family with more results, the error is as large as this share of those that are made of each by the others."""


def expect(space: Space, seen: Mapping[int, float]) -> Space:
    """`space`, as `make_space` made it, with the sizes that files are expected to have, and the least they may have.

    `seen` has the sizes of files by the numbers of their configurations. They are taken as they are. The logarithm of
    expected over nominal size is the mean of those seen in the family, each weighed by its distance to the power of -2;
    without any in the family, the mean of all. Where a tighter one is expected to be larger, a size is raised to that.
    The error is no larger than what was ever saved.
    """
    if not seen:
        return space
    known, files = np.array(list(seen)), np.array(list(seen.values()))
    logs = np.log(files / space.sizes[known])
    shares, errors = np.full(len(space), logs.mean()), np.full(len(space), ERRORS[1])
    for family in np.unique(space.families[known]):
        members, results = np.flatnonzero(space.families == family), np.flatnonzero(space.families[known] == family)
        results = results[:: 1 + len(members) * len(results) // MOST]
        places = space.levels / np.maximum(space.levels[members].max(axis=0), 1)
        among = places[known[results]]
        shares[members] = _weighed(_weights(places[members], among), logs[results])
        if len(results) > 2:
            others = _weighed(_weights(among, among) * (1 - np.eye(len(among))), logs[results])
            errors[members] = np.clip(np.quantile(np.abs(others - logs[results]), SHARE), *ERRORS)
    sizes = np.rint(space.sizes * np.exp(shares)).astype(np.int64)
    sizes[known] = np.rint(files)
    sizes = replace(space, sizes=sizes).raised().sizes
    least = np.floor(sizes * (1 - np.minimum(errors, np.abs(logs).max()))).astype(np.int64)
    sizes[known] = least[known] = np.rint(files)
    return replace(space, sizes=sizes, least=least)


def _weights(places: Values, known: Values) -> Values:
    """(n, m) how much results at `known` (m, knobs) count at `places` (n, knobs)."""
    return np.asarray((np.abs(places[:, None] - known).sum(axis=2) + NEAR) ** -2.0)


def _weighed(weights: Values, values: Values) -> Values:
    """(n,) the means of `values` (m,) with the `weights` (n, m)."""
    return np.asarray(weights @ values / weights.sum(axis=1))
