"""What post-training quantization, without training, gives on the digits beside the methods of `studies.rivals_digits`.

    python benchmarks/ptq.py

The reference is that study's. Weights alone: direct compression to steps of 8 and of 4 bits; bytes are the packed
file's. Weights and activations: ONNX Runtime's eight-bit arithmetic, by the code of `lcsweep export --int8`; bytes are
the ONNX file's, graph and all, and static ranges come from 512 training examples.
"""

import itertools
import tempfile
from pathlib import Path
from typing import get_args

from torch import nn

from lc_core import Plan, UniformQuantization, load, plan_tasks
from lc_core.compressions.uniform import Granularity
from lc_core.file.artifact import Artifact, encode
from lc_core.onnx.build import build
from lc_core.onnx.file import Runtime, seal
from lc_core.onnx.int8 import Int8, quantized
from lc_core.training.loop import Recipe, train_reference
from studies.rivals_digits import study
from sweep.job.measure import measure
from sweep.study.seeds import seed_all


def main() -> None:
    """Trains the reference, quantizes it in every way and prints a row for each."""
    data, reference, made = study.load_data(), study.seeded_model(), study.reference
    assert isinstance(made, Recipe)
    seed_all(made.seed)
    train_reference(reference, data.train, loss=study.loss, recipe=made)

    def row(name: str, size: int, model: nn.Module) -> None:
        print(f"| {name} | {size:,} | {100 * (1 - measure(model, data.val, study=study).value):.2f} |", flush=True)

    print("| quantized | bytes | validation error, % |\n| --- | ---: | ---: |")
    size, model, artifact = packed(reference, {})
    row("nothing; packed file", size, model)
    for bits, granularity, symmetric in itertools.product((8, 4), get_args(Granularity), (True, False)):
        each = UniformQuantization(bits, symmetric=symmetric, granularity=granularity)
        size, model, _ = packed(reference, {"*": each})
        row(f"weights, {bits} bits, {named(granularity, symmetric=symmetric)}", size, model)
    dense = seal(build(artifact, reference.eval(), data.train.inputs[:2]), {})
    row("nothing; ONNX file", len(dense), Runtime(dense))
    for kind, granularity, symmetric in itertools.product(get_args(Int8), get_args(Granularity), (True, False)):
        if kind == "dynamic" and symmetric:
            continue  # ONNX Runtime's dynamic ranges are asymmetric
        found = quantized(dense, kind=kind, inputs=data.train.inputs, granularity=granularity, symmetric=symmetric)
        sealed = seal(found, {})
        row(f"int8, {kind}, {named(granularity, symmetric=symmetric)}", len(sealed), Runtime(sealed))


def packed(reference: nn.Module, plan: Plan) -> tuple[int, nn.Module, Artifact]:
    """The bytes of the packed file of direct compression, the model that it loads into, and its content."""
    tasks, weights = plan_tasks(reference, plan), reference.state_dict()
    thetas = [task.compress(task.governed.gather(weights), mu=1.0, previous=None) for task in tasks]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.lcz"
        path.write_bytes(encode(tasks, thetas, weights, info={}, format=2))
        model = study.new_model()
        artifact = load(path, model)
        return path.stat().st_size, model, artifact


def named(granularity: Granularity, *, symmetric: bool) -> str:
    """The kind of grid, in words."""
    return f"per {granularity}, {'symmetric' if symmetric else 'asymmetric'}"


if __name__ == "__main__":
    main()
