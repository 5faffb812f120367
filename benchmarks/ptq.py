"""What eight-bit arithmetic, of weights and activations, gives a study's reference after training.

    python benchmarks/ptq.py
    python benchmarks/ptq.py studies.rivals_lenet300

By default the study is `studies.rivals_digits`. It is ONNX Runtime's, by the code of `lcsweep export --int8`; bytes are
the ONNX file's, graph and all, and static ranges come from 512 training examples. Weights alone are jobs:
`lcsweep run STUDY:grids --method ptq`.
"""

import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from torch import nn

from lc_core import load
from lc_core.compressions.uniform import Granularity
from lc_core.file.artifact import Artifact, encode
from lc_core.onnx.build import build
from lc_core.onnx.file import Runtime, seal
from lc_core.onnx.int8 import Int8, quantized
from lc_core.training.loop import Recipe, train_reference
from sweep.job.measure import measure
from sweep.study import Data, Study
from sweep.study.loading import load_study
from sweep.study.seeds import seed_all


def main(study: Study) -> None:
    """Trains the reference, quantizes it in every way and prints a row for each."""
    data, reference, made = study.load_data(), study.seeded_model(), study.reference
    assert isinstance(made, Recipe)
    seed_all(made.seed)
    train_reference(reference, data.train, loss=study.loss, recipe=made)
    print("| quantized | bytes | validation error, % |\n| --- | ---: | ---: |")
    for name, size, error in quantizations(reference, study, data):
        print(f"| {name} | {size:,} | {100 * error:.2f} |", flush=True)


def quantizations(reference: nn.Module, study: Study, data: Data) -> Iterator[tuple[str, int, float]]:
    """The name, the bytes and the validation error of the reference's ONNX file, then of each with eight bits."""

    def error(sealed: bytes) -> float:
        return 1 - measure(Runtime(sealed), data.val, study=study).value

    dense = seal(build(packed(reference, study), reference.eval(), data.train.inputs[:2]), {})
    yield "nothing", len(dense), error(dense)
    for kind, granularity, symmetric in itertools.product(get_args(Int8), get_args(Granularity), (True, False)):
        if kind == "dynamic" and symmetric:
            continue  # ONNX Runtime's dynamic ranges are asymmetric
        found = quantized(dense, kind=kind, inputs=data.train.inputs, granularity=granularity, symmetric=symmetric)
        sealed = seal(found, {})
        range_ = "symmetric" if symmetric else "asymmetric"
        yield f"int8, {kind}, per {granularity}, {range_}", len(sealed), error(sealed)


def packed(reference: nn.Module, study: Study) -> Artifact:
    """The content of a packed file of the reference."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.lcz"
        path.write_bytes(encode((), (), reference.state_dict(), info={}, format=2))
        return load(path, study.new_model())


if __name__ == "__main__":
    named = sys.argv[1] if len(sys.argv) > 1 else "studies.rivals_digits"
    main(load_study(named, user_folder=os.getcwd()))
