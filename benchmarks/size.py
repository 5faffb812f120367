"""The size of packed files by format, and of what their bytes are: twelve models of four networks.

Each model is compressed directly (a C step, no training), but for lenet300-smallest, which is an LC job of 20 epochs.
References are trained shortly; ResNet20 is its checkpoint. A row compares a file of format 2 (ours) with format 1
(against), in bytes, and holds when it is smaller, the weights are the same to the last bit and so is the score on
validation. The note has, in bytes: the supports, codes and highest bytes of floats (format 1 packed, order-0 entropy,
format 2), what is not coded, and the header; then seconds to write and to read. LCSWEEP_DATA names the folder of MNIST
and of CIFAR-10.
"""

import functools
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lc_core.algorithm import deploy, run_lc
from lc_core.compression import Compressed
from lc_core.compressions.chain import Chain
from lc_core.compressions.fixed_codebooks import ScaledTernary
from lc_core.compressions.lowrank import LowRank
from lc_core.compressions.pruning import L0Pruning, NMPruning
from lc_core.compressions.quantization import Codebook
from lc_core.compressions.uniform import UniformQuantization
from lc_core.file import format_2
from lc_core.file.artifact import encode, load
from lc_core.file.entropy import coded_sizes
from lc_core.plan import Joint, Plan, plan_tasks
from lc_core.task import CompressionTask
from lc_core.training.loop import Recipe, train_reference
from rows import Row, options, seconds, speak
from studies import cifar10_resnet20, digits_mlp, mnist_lenet5, mnist_lenet300
from sweep.job.context import settle_process
from sweep.job.measure import measure
from sweep.study import Checkpoint, Data, Study

BOTH = Chain(L0Pruning(keep=0.05), Codebook(size=4))
SMALLEST = Joint(Chain(L0Pruning(keep=0.015), Codebook(size=8)))


@dataclass(frozen=True)
class Network:
    """A study, and the epochs of its reference here."""

    study: Study
    epochs: float


NETWORKS = {
    "digits": Network(digits_mlp.study, 20),
    "lenet300": Network(mnist_lenet300.study, 10),
    "lenet5": Network(mnist_lenet5.study, 1),
    "resnet20": Network(cifar10_resnet20.study, 0),
}
PLANS: dict[str, Plan] = {
    "digits-prune": {"*": Joint(L0Pruning(keep=0.1))},
    "digits-both": {"*": Joint(BOTH)},
    "digits-factors": {"*": Chain(LowRank(rank=5), UniformQuantization(bits=4))},
    "lenet300-smallest": {"*": SMALLEST},
    "lenet300-prune": {"*": Joint(L0Pruning(keep=0.05))},
    "lenet300-ternary": {"*": ScaledTernary()},
    "lenet5-both": {"*": Joint(BOTH)},
    "lenet5-uniform": {"*": UniformQuantization(bits=4)},
    "lenet5-n-of-m": {"*": Chain(NMPruning(n=1, m=4), Codebook(size=4))},
    "resnet20-prune": {"*": Joint(L0Pruning(keep=0.3))},
    "resnet20-quantize": {"*": Codebook(size=16)},
    "resnet20-both": {"*": Joint(Chain(L0Pruning(keep=0.4), Codebook(size=16)))},
}
TRAINED = ("lenet300-smallest",)


@dataclass(frozen=True)
class Compact:
    """A compressed model before it is written.

    Attributes:
        tasks: the compressions and their parameters.
        thetas: Theta of each.
        weights: the model's parameters and buffers, decompressed.
    """

    tasks: Sequence[CompressionTask]
    thetas: Sequence[Compressed]
    weights: dict[str, Tensor]


@functools.cache
def opened(network: str) -> tuple[Study, Data, dict[str, Tensor]]:
    """A network's study, its data and the weights of its reference."""
    study, epochs = NETWORKS[network].study, NETWORKS[network].epochs
    data, model = study.load_data(), study.starting_model()
    if isinstance(study.reference, Checkpoint):
        study.reference.load_into(model)
    else:
        recipe: Recipe = replace(study.reference, epochs=epochs)
        train_reference(model, data.train, loss=study.loss, recipe=recipe, forward=study.training_forward)
    return study, data, {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def compact(name: str) -> Compact:
    """The compressed model of a row."""
    study, data, reference = opened(name.split("-")[0])
    model = study.new_model()
    model.load_state_dict(reference)
    tasks = plan_tasks(model, PLANS[name])
    train = data.train
    if name in TRAINED:
        assert study.augment is not None
        train = replace(train, inputs=study.augment(train.inputs))
    schedule = study.schedule
    states = run_lc(model, tasks, train, loss=study.loss, schedule=schedule, seed=0, forward=study.training_forward)
    state = list(itertools.islice(states, None if name in TRAINED else 1))[-1]
    settled = study.new_model()
    deploy(settled, tasks, state, data=data.train, batch_size=schedule.batch_size, forward=study.forward)
    return Compact(tasks, state.thetas, settled.state_dict())


@dataclass(frozen=True)
class File:
    """A packed file: its bytes, whether it gives back the weights and the score, and seconds to write and to read."""

    data: bytes
    same: bool
    write: float
    read: float


def row_of(name: str) -> Row:
    """Packs the model of a row in both formats, reads both files and measures what they hold."""
    study, data, _ = opened(name.split("-")[0])
    made = compact(name)
    model = study.new_model()
    model.load_state_dict(made.weights)
    score = measure(model, data.val, study=study, interval=False).value
    first, second = (file_of(made, format, study, data, score) for format in (1, 2))
    ours, against = len(second.data), len(first.data)
    holds = first.same and second.same and ours < against
    note = _note(made.thetas, first, second, score)
    return Row(name, ours, against, against / ours, 1.0, holds, "bytes", note=note)


def file_of(made: Compact, format: int, study: Study, data: Data, score: float) -> File:
    """The file of a model in `format`. Times are the least of three."""
    model = study.new_model()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "model.lcz")
        pack = functools.partial(encode, made.tasks, made.thetas, made.weights, info={}, format=format)
        write = min(seconds(pack) for _ in range(3))
        path.write_bytes(pack())
        read = min(seconds(functools.partial(load, path, model)) for _ in range(3))
        packed = path.read_bytes()
    weights = model.state_dict()
    same = all(torch.equal(weights[name], tensor) for name, tensor in made.weights.items())
    found = measure(model, data.val, study=study, interval=False).value
    return File(packed, same and found == score, write, read)


def _note(thetas: Sequence[Compressed], first: File, second: File, score: float) -> str:
    coded, sizes = coded_sizes(thetas), format_2.sizes(second.data)
    found = [
        f"{kind} {coded[kind].packed_bytes} packed, {coded[kind].entropy_bytes} entropy, {size} coded"
        for kind, size in (("supports", sizes.supports), ("codes", sizes.codes))
        if kind in coded
    ]
    found.append(f"the rest {sizes.highest + sizes.plain}, header {sizes.header}")
    for format, file in ((1, first), (2, second)):
        found.append(f"format {format} written in {file.write:.3f} s, read in {file.read:.3f}")
    return "; ".join([*found, f"score {score!r}"])


if __name__ == "__main__":
    chosen = options(__doc__, names=list(PLANS)).parse_args()
    settle_process()
    speak(map(row_of, chosen.only), as_json=chosen.json)
