"""A whole LC job of LeNet300 on MNIST, 40 epochs, k=2 in each layer: the parts of its time, and a worker's memory.

- training-share: seconds in forward, backward and optimizer, over the job's seconds without evaluation.
- evaluation-share: seconds of putting Delta(Theta) into a model and validating it, over all seconds of the job. Both
  shares are of one job in this process, run as a worker runs it. Seconds are the processor's.
- resnet20-evaluation-share: the same for ResNet20 on CIFAR-10, which has batch norm, from its checkpoint, in 5 epochs.
  Takes four minutes.
- peak-memory: peak resident MB of a worker in a real sweep, without the data, of which all workers share one copy.
  "against" is the peak with that copy. Linux only.

LCSWEEP_DATA names the folder of MNIST and CIFAR-10.
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
from studies import cifar10_resnet20
from studies.mnist_lenet300 import RECIPE, study
from sweep.job import compress, measure
from sweep.job.context import JobContext, settle_process
from sweep.store.folder import SweepFolder
from sweep.store.job import Configuration, Job
from sweep.study import Checkpoint, Data, Study
from sweep.study.families import completed

NAMES = ("training-share", "evaluation-share", "resnet20-evaluation-share", "peak-memory")
TRAINING, EVALUATION, EVALUATION_OF_RESNET, MEMORY = 0.85, 0.05, 0.1, 500.0
EPOCHS, EPOCHS_OF_RESNET = 40, 5
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


def lenet300() -> tuple[Counter[str], float]:
    """Seconds of a job of LeNet300 by part, and in all."""
    settle_process()
    data, model = study.load_data(), study.seeded_model()
    train_reference(model, data.train, loss=study.loss, recipe=dataclasses.replace(RECIPE, epochs=5))
    return shares(study, data, model, job=("quantize", {"size": 2}), epochs=EPOCHS)


def resnet20() -> tuple[Counter[str], float]:
    """The same of a job of ResNet20."""
    settle_process()
    whole = completed(cifar10_resnet20.study)
    assert isinstance(whole.reference, Checkpoint)
    data, model = whole.load_data(), whole.seeded_model()
    whole.reference.load_into(model)
    return shares(whole, data, model, job=("quantize", {"size": 4}), epochs=EPOCHS_OF_RESNET)


def shares(
    study: Study, data: Data, model: nn.Module, *, job: tuple[str, Configuration], epochs: float
) -> tuple[Counter[str], float]:
    """Seconds of a job of this family and configuration, from `model`, by part and in all."""
    spent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as timing:
        blank = JobContext.untrained(study, data, folder=SweepFolder(Path(folder)))
        place = dataclasses.replace(blank, reference=model.state_dict(), reference_bytes=1)
        schedule = dataclasses.replace(study.schedule, epochs=epochs)
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
            (compress, "evidence", "evaluation"),
            (measure, "predictions", "forward in evaluation"),
        ):
            whole = getattr(holder, name)
            timing.enter_context(mock.patch.object(holder, name, timed(whole, spent, kind)))
        place = dataclasses.replace(place, study=dataclasses.replace(study, loss=timed(study.loss, spent, "forward")))
        _ = place.reference_points  # once for all jobs of a worker
        planned = Job("benchmark", *job, "lc", 0, dataclasses.asdict(schedule))
        start = time.process_time()
        record = compress.run_job(planned, place, report=lambda _: None)
        seconds = time.process_time() - start
    if record.status != "done":
        raise RuntimeError(f"the job failed: {record.error}")
    spent["forward"] -= spent.pop("forward in evaluation")
    return spent, seconds


def timed(run: Callable[..., Any], spent: Counter[str], kind: str) -> Callable[..., Any]:
    """`run`, with its seconds added to those of `kind`."""
    clock = time.process_time

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
        spent, whole = lenet300()
        training, evaluation = sum(spent[kind] for kind in ("forward", "backward", "optimizer")), spent["evaluation"]
        share, apart = training / (whole - evaluation), evaluation / whole
        parts = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in spent.items() if seconds)
        if "training-share" in only:
            yield Row(
                NAMES[0], training, whole - evaluation, share, TRAINING, share >= TRAINING, "s", [share], note=parts
            )
        if "evaluation-share" in only:
            yield Row(NAMES[1], evaluation, whole, apart, EVALUATION, apart <= EVALUATION, "s", [apart])
    if "resnet20-evaluation-share" in only:
        spent, whole = resnet20()
        share, limit = spent["evaluation"] / whole, EVALUATION_OF_RESNET
        yield Row(NAMES[2], spent["evaluation"], whole, share, limit, share <= limit, "s", [share])
    if "peak-memory" in only:
        own, shared = peak_memory()
        yield Row(NAMES[3], own, shared, MEMORY / own, 1.0, own < MEMORY, "MB", [own], note=f"under {MEMORY:g} MB")


if __name__ == "__main__":
    given = options(__doc__, names=NAMES).parse_args()
    speak(rows(given.only), as_json=given.json)
