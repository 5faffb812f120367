"""Is the headline, the mean over fresh seeds on validation, what the picked file measures on test?

    python benchmarks/headline.py [--sweeps 30]

Each sweep draws other splits of the digits, trains its own reference, searches for the smallest model within a point of
it, and picks. In points: the headline less test, and the file's own validation score, of the best seed, less test. The
first should be centred on zero within two standard errors; the second is what a headline of the best seed would claim.
"""

import argparse
import contextlib
import math
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

from lc_core import Chain, Codebook, Joint, L0Pruning, Plan, Recipe, Schedule
from sweep.execution import driver
from sweep.job.compress import run_job
from sweep.pick.picked import Picked
from sweep.pick.picking import pick_model
from sweep.prepare.options import Options
from sweep.prepare.prepared import PreparedSweep, prepare
from sweep.study import Configuration, Data, Family, Split, Study, Target

TRAIN, VAL = 799, 499  # test has as many examples as validation
TARGET = Target(max_drop=0.01)


def splits(seed: int) -> Data:
    """The digits, split at random."""
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16 - 0.3
    targets = torch.tensor(digits.target, dtype=torch.int64)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    return Data(*(Split(inputs[part], targets[part]) for part in order.tensor_split([TRAIN, TRAIN + VAL])))


def model() -> nn.Module:
    """64-32-10 with tanh: 2,410 parameters."""
    return nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))


def plan(configuration: Configuration) -> Plan:
    """The largest weights stay and share a codebook."""
    pruning, codebook = L0Pruning(keep=float(configuration["keep"])), Codebook(size=int(configuration["size"]))
    return {"*": Joint(Chain(pruning, codebook))}


def study(seed: int) -> Study:
    """A study of the digits in the splits of `seed`."""
    return Study(
        name="headline",
        build_model=model,
        load_data=partial(splits, seed),
        loss=nn.functional.cross_entropy,
        reference=Recipe(epochs=20, lr=0.1, batch_size=64, seed=seed),
        schedule=Schedule(epochs=6, lr=0.1, batch_size=64),
        families=(Family("both", {"keep": (0.6, 0.45, 0.35, 0.25, 0.2, 0.15, 0.1), "size": (8, 4, 2)}, plan),),
        target=TARGET,
    )


def picked(seed: int) -> Picked:
    """The pick of a sweep in the splits of `seed`, measured on test."""
    with tempfile.TemporaryDirectory() as folder:
        made = study(seed)
        options = Options(made, folder, 1, Path(folder, "sweep"), search="smallest")
        sweep = prepare(options, say=lambda _: None)
        unwatched: Any = contextlib.nullcontext()
        driver.run(sweep, watch=lambda _: unwatched, runner=partial(run_here, sweep))
        return pick_model(
            sweep.folder.root, target=TARGET, by="bytes", user_folder=folder, study_reference=made, test=True
        )


def run_here(sweep: PreparedSweep, search: Any, *_: Any, **__: Any) -> None:
    """Runs the jobs one by one in this process."""
    while (job := search.next()) is not None:
        search.tell(job, run_job(job, sweep.context, report=lambda _: None))


def main() -> None:
    """Runs the sweeps and prints the two differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=30)
    count = parser.parse_args().sweeps
    torch.set_num_threads(1)
    differences: dict[str, list[float]] = {"headline less test": [], "best seed less test": []}
    states = []
    for seed in range(count):
        found = picked(seed)
        assert found.test is not None
        assert found.mean is not None
        states.append(found.state)
        differences["headline less test"].append(100 * (found.mean - found.test.value))
        differences["best seed less test"].append(100 * (found.val.value - found.test.value))
        print(
            f"{seed}: {found.state}, {len(found.seeds)} seeds, "
            + ", ".join(f"{name} {values[-1]:+.2f}" for name, values in differences.items()),
            flush=True,
        )
    print(f"{count} sweeps, {states.count('confirmed')} picks confirmed; in points:")
    for name, values in differences.items():
        error = statistics.stdev(values) / math.sqrt(count)
        print(f"{name}: mean {statistics.mean(values):+.2f}, standard error {error:.2f}")


if __name__ == "__main__":
    main()
