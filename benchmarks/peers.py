"""What the peers' own code makes of a study's reference, as points to draw beside the fronts of the study's sweep.

    python benchmarks/peers.py studies.rivals_lenet300
    lcsweep compare runs/rivals_lenet300 --points runs/rivals_lenet300/peers.csv

It needs `pip install 'lcsweep[onnx,rivals]'`. The reference is that of the sweep in --out, which is begun where there
is none. There are three peers:

- Torch-Pruning (MIT; Fang et al., "DepGraph", arXiv:2301.12900) removes channels: those layers, and as large a part of
  each, as the study's families of `GroupPruning` say, those of the least group magnitude. Then what is left trains with
  the study's schedule, as jobs do. Bytes are those of a packed file of what is left, in float32.
- ONNX Runtime's static and dynamic quantizers, as in `ptq.py`. Nothing trains; bytes are those of the ONNX file.
- The LC toolkit, for LeNet300 alone: the figures that it publishes, on MNIST's test images.
"""

import argparse
import copy
import csv
import importlib.metadata
import io
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch_pruning
from torch import Tensor, nn

from lc_core.compressions.structured import GroupPruning
from lc_core.file.artifact import encode
from lc_core.plan import plan_tasks
from lc_core.task import CompressionTask
from lc_core.training.loop import train_reference
from lenet300_table import TASKS
from ptq import quantizations
from reports.compare.points import COLUMNS
from studies.mnist_lenet300 import build_model as lenet300
from sweep.job.context import JobContext, settle_process
from sweep.job.measure import measure
from sweep.prepare.options import Options
from sweep.prepare.prepared import prepare
from sweep.store.files import write_whole
from sweep.study.loading import load_study

Row = tuple[str, int, float, str]
"""The columns of `reports.compare.points`: name, bytes, error, source."""
LENET300_BYTES = 4 * 266_610
TOOLKIT = {"quantize-all": 30.5, "prune-5": 16.0, "mixed": 24.8}
"""A row of `lenet300_table.py` -> its ratio by the toolkit's own count, with the biases that it leaves out."""


def main(arguments: argparse.Namespace) -> None:
    """Measures every peer, prints a row for each, and writes peers.csv."""
    settle_process()
    user_folder = os.getcwd()
    out = arguments.out or Path("runs", load_study(arguments.study, user_folder=user_folder).name)
    sweep = prepare(Options(arguments.study, user_folder, out=out), say=print)
    rows = []
    print(f"| {' | '.join(COLUMNS)} |\n| --- | ---: | ---: | --- |")
    for name, size, error, source in found(sweep.context, seeds=arguments.seeds):
        rows.append((name, size, error, source))
        print(f"| {name} | {size:,} | {100 * error:.2f} % | {source} |", flush=True)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([COLUMNS, *rows])
    write_whole(out / "peers.csv", text.getvalue())
    print(f"lcsweep compare {out} --points {out / 'peers.csv'}")


def found(context: JobContext, *, seeds: int) -> Iterator[Row]:
    """The rows of all peers."""
    yield from pruned_rows(context, seeds=seeds)
    reference = context.build_model()
    reference.load_state_dict(context.reference)
    for name, size, error in quantizations(reference, context.study, context.data):
        if name.startswith("int8"):
            yield f"ONNX Runtime, {name}", size, error, "benchmarks/peers.py; validation; untrained; the ONNX file"
    if context.study.build_model is lenet300:
        source = "the LC toolkit's README, 820 epochs; test images; its own count of bytes, and biases"
        for name, ratio in TOOLKIT.items():
            yield f"LC toolkit, {name}", round(LENET300_BYTES / ratio), TASKS[name].published / 100, source


def pruned_rows(context: JobContext, *, seeds: int) -> Iterator[Row]:
    """Torch-Pruning at each level of the study's families whose plans are all `GroupPruning`, then trained."""
    study, data, example = context.study, context.data, context.example
    assert isinstance(example, Tensor)
    for family in study.families:
        for configuration in family.grid_configurations():
            tasks = plan_tasks(context.template, family.plan(configuration))
            if not all(isinstance(task.compression, GroupPruning) for task in tasks):
                continue
            errors, size = [], 0
            for seed in range(seeds):
                model = context.build_model()
                model.load_state_dict(context.reference)
                small = pruned(model, tasks, example)
                recipe = replace(study.schedule.recipe, seed=seed)
                train = study.augmented(data.train)
                train_reference(small, train, loss=study.loss, recipe=recipe, forward=study.training_forward)
                errors.append(1 - measure(small, data.val, study=study).value)
                size = len(encode((), (), small.state_dict(), info={}, format=context.format))
            version = importlib.metadata.version("torch-pruning")  # 1.6.1 calls itself 1.6.0
            level = ", ".join(f"{knob} {value}" for knob, value in configuration.items())
            source = f"benchmarks/peers.py; validation; mean of {seeds} seeds; a packed file in float32"
            yield f"Torch-Pruning {version}, {level}", size, statistics.mean(errors), source


def pruned(model: nn.Module, tasks: Sequence[CompressionTask], example: Tensor) -> nn.Module:
    """A copy of `model` with channels removed by Torch-Pruning: of each layer of `tasks`, so that its part stays."""
    small = copy.deepcopy(model).eval()
    modules = dict(small.named_modules())
    keep: dict[nn.Module, float] = {}
    for task in tasks:
        assert isinstance(task.compression, GroupPruning)
        layer = modules[task.governed.names[0].removesuffix(".weight")]  # its bias and its norm come after it
        keep[layer] = task.compression.keep
    roots = (nn.Linear, nn.modules.conv._ConvNd)
    torch_pruning.BasePruner(
        small,
        example,
        importance=torch_pruning.importance.GroupMagnitudeImportance(),
        pruning_ratio_dict={layer: 1 - part for layer, part in keep.items()},
        ignored_layers=[layer for layer in small.modules() if isinstance(layer, roots) and layer not in keep],
    ).step()
    return small


def given(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", metavar="STUDY", help="as lcsweep run takes it: studies.rivals_lenet300")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="of the order of the batches; by default 3")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the sweep's folder; by default runs/<study>")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(given())
