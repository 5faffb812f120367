"""Sweep folders for the report's tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reports import synthetic

MakeSweep = Callable[..., Path]


@pytest.fixture
def make_sweep(tmp_path: Path) -> MakeSweep:
    """A function that writes a sweep of these points, one record a point and seed, and gives its folder."""

    def make(
        points: list[synthetic.Point],
        *,
        seeds: int = 1,
        target: dict[str, float] | None = None,
        failures: tuple[dict[str, object], ...] = (),
        study: str = "digits_mlp",
    ) -> Path:
        records = [
            synthetic.record(point, seed=seed, seeds=seeds, n_val=synthetic.N_VAL)
            for point in points
            for seed in range(seeds)
        ]
        return synthetic.write_sweep(tmp_path / "runs" / "sweep", [*records, *failures], target=target, study=study)

    return make
