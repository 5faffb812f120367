"""A whole LC job of LeNet300 on MNIST, 40 epochs, k=2 in each layer: the parts of its time, and a worker's memory.

- training-share: seconds in forward, backward and optimizer, over the job's seconds without evaluation.
- evaluation-share: seconds of putting Delta(Theta) into a model and validating it at every LC step, over all seconds of
  the job. Both shares are of one job in this process, run as a worker runs it.
- peak-memory: peak resident MB of a worker in a real sweep, without the data, of which all workers share one copy.
  "against" is the peak with that copy. Linux only.

LCSWEEP_DATA names the folder of MNIST.
"""

import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from lc_core.training.loop import predictions, train_reference
from lc_core.training.optimizers import Optimizer
from rows import Row, options, speak
from studies.mnist_lenet300 import RECIPE, study
from sweep.job import compress, measure
from sweep.job.context import JobContext, settle_process
from sweep.store.folder import SweepFolder
from sweep.store.job import Job

NAMES = ("training-share", "evaluation-share", "peak-memory")
TRAINING, EVALUATION, MEMORY = 0.85, 0.05, 500.0
EPOCHS = 40
SHORT = """
import dataclasses
from lc_core import Recipe
from studies.mnist_lenet300 import study as whole

study = dataclasses.replace(
    whole,
    name="short",
    reference=Recipe(epochs=1, lr=0.1, batch_size=256),
    schedule=dataclasses.replace(whole.schedule, epochs=2),
    families=(dataclasses.replace(whole.family("quantize"), grid={"size": (2,)}),),
)
"""


def shares() -> tuple[Counter[str], float]:
    """Seconds of one job by part, and in all."""
    settle_process()
    data, model = study.load_data(), study.seeded_model()
    recipe = dataclasses.replace(RECIPE, epochs=5)
    train_reference(model, data.train, loss=study.loss, recipe=recipe)
    spent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as timing:
        blank = JobContext.untrained(study, data, folder=SweepFolder(Path(folder)))
        place = dataclasses.replace(blank, reference=model.state_dict(), reference_bytes=1)
        schedule = dataclasses.asdict(dataclasses.replace(study.schedule, epochs=EPOCHS))
        job = Job("benchmark", "quantize", {"size": 2}, "lc", 0, schedule)
        # a generator takes its time where it is read
        timing.enter_context(
            mock.patch.object(measure, "predictions", lambda *given, **named: list(predictions(*given, **named)))
        )
        for holder, name, kind in (
            (nn.Sequential, "forward", "forward"),
            (torch.Tensor, "backward", "backward"),
            (Optimizer, "step", "optimizer"),
            (Optimizer, "zero_grad", "optimizer"),
            (compress, "deploy", "evaluation"),
            (compress, "measure", "evaluation"),
            (compress, "scores", "evaluation"),
            (measure, "predictions", "forward in evaluation"),
        ):
            whole = getattr(holder, name)
            timing.enter_context(mock.patch.object(holder, name, timed(whole, spent, kind)))
        place = dataclasses.replace(place, study=dataclasses.replace(study, loss=timed(study.loss, spent, "forward")))
        start = time.perf_counter()
        record = compress.run_job(job, place, report=lambda _: None)
        seconds = time.perf_counter() - start
    if record.status != "done":
        raise RuntimeError(f"the job failed: {record.error}")
    spent["forward"] -= spent.pop("forward in evaluation")
    return spent, seconds


def timed(run: Callable[..., Any], spent: Counter[str], kind: str) -> Callable[..., Any]:
    """`run`, with its seconds added to those of `kind`."""
    clock = time.perf_counter

    def timing(*given: Any, **named: Any) -> Any:
        start = clock()
        result = run(*given, **named)
        spent[kind] += clock() - start  # type: ignore[assignment]
        return result

    return timing


def peak_memory() -> tuple[float, float]:
    """Peak resident MB of the worker of a sweep of one job: without and with shared memory."""
    own = whole = 0.0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "short.py").write_text(SHORT)
        command = [sys.executable, "-c", "from sweep.cli import main; raise SystemExit(main())", "run", "short.py"]
        with subprocess.Popen([*command, "--workers", "1"], cwd=folder, stdout=subprocess.DEVNULL) as sweep:
            while sweep.poll() is None:
                for status in workers():
                    held = {key: int(kb) / 1024 for key, kb in re.findall(r"(VmHWM|RssShmem):\s+(\d+) kB", status)}
                    whole = max(whole, held["VmHWM"])
                    own = max(own, held["VmHWM"] - held["RssShmem"])
                time.sleep(0.1)
        if sweep.returncode:
            raise RuntimeError(f"the sweep ended with exit code {sweep.returncode}")
    return own, whole


def workers() -> Iterator[str]:
    """/proc's status of each worker process of a sweep."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path("/proc", pid, "cmdline").read_bytes().startswith(b"ray::ImplicitFunc"):
                yield Path("/proc", pid, "status").read_text()
        except OSError:
            continue  # it has just ended


def rows(only: Sequence[str]) -> Iterator[Row]:
    """The rows of `only`."""
    if set(only) & {"training-share", "evaluation-share"}:
        spent, whole = shares()
        training, evaluation = sum(spent[kind] for kind in ("forward", "backward", "optimizer")), spent["evaluation"]
        share, apart = training / (whole - evaluation), evaluation / whole
        parts = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in spent.items() if seconds)
        if "training-share" in only:
            yield Row(
                NAMES[0], training, whole - evaluation, share, TRAINING, share >= TRAINING, "s", [share], note=parts
            )
        if "evaluation-share" in only:
            yield Row(NAMES[1], evaluation, whole, apart, EVALUATION, apart <= EVALUATION, "s", [apart])
    if "peak-memory" in only:
        own, shared = peak_memory()
        yield Row(NAMES[2], own, shared, MEMORY / own, 1.0, own < MEMORY, "MB", [own], note=f"under {MEMORY:g} MB")


if __name__ == "__main__":
    given = options(__doc__, names=NAMES).parse_args()
    speak(rows(given.only), as_json=given.json)
