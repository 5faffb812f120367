"""The study whose processes are killed: jobs of two seconds, with two checkpoints a second; each start is noted."""

STUDY = '''
import time
from pathlib import Path

import torch
from torch import nn

from lc_core import Codebook, Joint, L0Pruning, Recipe, Schedule
from lc_core.methods import lc
from sweep.job import checkpoint, compress
from sweep.study import Data, Family, Split, Study

checkpoint.SECONDS = 0.5
run_lc, compress_job = lc.run_lc, compress._compress


def noted(job, *others):
    """`compress._compress`, which also notes the job."""
    with Path(__file__).with_name("trace").open("a") as trace:
        trace.write(f"{time.time()} {job.id}\\n")
    return compress_job(job, *others)


def slowed(*arguments, **named):
    """The LC steps, slowed down."""
    for state in run_lc(*arguments, **named):
        time.sleep(0.1)
        yield state


lc.run_lc, compress._compress = slowed, noted


def build_model():
    return nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))


def load_data():
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(300) % 3
    inputs = torch.randn(300, 8, generator=generator) + 2.0 * torch.eye(8)[targets]
    parts = torch.arange(300).split([120, 90, 90])
    return Data(*(Split(inputs[part].clone(), targets[part].clone()) for part in parts))


def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)


def prune(configuration):
    return {"*": Joint(L0Pruning(keep=configuration["keep"]))}


def quantize(configuration):
    return {"*": Codebook(size=configuration["size"])}


study = Study(
    name="killed",
    build_model=build_model,
    load_data=load_data,
    loss=loss,
    reference=Recipe(epochs=200, lr=0.02, batch_size=20),
    schedule=Schedule(epochs=2, lr=0.1, batch_size=20),
    families=(
        Family("prune", {"keep": (0.8, 0.5, 0.3, 0.2, 0.1, 0.05, 0.01)}, prune),
        Family("quantize", {"size": (16, 8, 4, 3, 2)}, quantize),
    ),
)
'''
