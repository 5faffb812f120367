"""Iterated direct compression: train freely, project, and again."""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lc_core.algorithm import compressed_weights, delta_like, distance
from lc_core.compression import Compressed
from lc_core.methods.lc import direct_compression
from lc_core.methods.method import Tasks, TrainedState, Training
from lc_core.methods.reparametrized import copied, started
from lc_core.parameters import load_weights
from lc_core.schedule import Schedule
from lc_core.training.distillation import Distillation
from lc_core.training.loop import lay_out, train
from lc_core.training.nest import leaves


@dataclass(frozen=True)
class IteratedDirectCompression:
    """From w = Delta(Theta), an L step without penalty; then Theta = Pi(w); and again.

    "iDC", with which Carreira-Perpinan and Idelbayev compare LC, "Model compression as constrained optimization, with
    application to neural nets. Part II: quantization", arXiv:1707.04319; the "iterative" scheme of Han, Pool, Tran and
    Dally, arXiv:1506.02626, with free weights in between. It need not converge: trained long enough, the L step leads
    back to the same w, and the iterates cycle. Each step's `facts` say so: "moved", the distance ||Delta - previous
    Delta|| / ||Delta||; and "returned_to", the last earlier step with the same support, assignments or codes, or None.
    Chosen here: the L steps of LC, and the optimizer's momentum is kept across projections. A penalty form projects
    with the mu of LC's first step.
    """

    distillation: Distillation | None = None

    def steps(self, schedule: Schedule) -> int:
        return schedule.steps

    def check(self, tasks: Tasks) -> None:
        return None

    def states(
        self, model: nn.Module, tasks: Tasks, training: Training, *, resume: TrainedState | None = None
    ) -> Iterator[TrainedState]:
        plan, state = training.schedule.plan(len(training.data)), resume
        if state is None:
            direct = direct_compression(model, tasks, training)
            mu = torch.tensor(plan[0].mu * direct.mu_unit, dtype=torch.float64)
            state = replace(started(direct), held={"mu": mu, "marks": _mark(direct.thetas)[None]})
            yield state
        else:
            lay_out(model)
        optimizer = training.schedule.recipe.build_optimizer(model)
        batches = training.data.batches(batch_size=training.schedule.batch_size, seed=training.seed)
        optimizer.restore(state.optimizer)
        batches.restore(state.batches)
        l_step = functools.partial(train, model, batches, loss=training.loss, forward=training.forward)
        for step in plan[state.step :]:
            load_weights(model, compressed_weights(tasks, state))
            loss = l_step(optimizer=optimizer, lrs=step.lrs)
            state = replace(
                _projected(model, tasks, state),
                step=step.number,
                loss=loss,
                epochs=step.epochs,
                optimizer=optimizer.state(),
                batches=batches.state(),
            )
            yield state


def _projected(model: nn.Module, tasks: Tasks, state: TrainedState) -> TrainedState:
    """`state` with Theta = Pi(w) for w as `model` has it, and how far Theta moved."""
    weights, mu = copied(model), float(state.held["mu"])
    w = [task.governed.gather(weights) for task in tasks]
    pairs = zip(tasks, w, state.thetas, strict=True)
    thetas = tuple(task.compress(each, mu=mu, previous=theta) for task, each, theta in pairs)
    before, deltas = (
        [delta_like(theta, each) for theta, each in zip(some, w, strict=True)] for some in (state.thetas, thetas)
    )
    moved = distance(before, deltas)
    marks, mark = state.held["marks"], _mark(thetas)
    equal = (marks == mark).all(dim=1).nonzero().reshape(-1).tolist()
    return replace(
        state,
        gap=distance(w, deltas),
        thetas=thetas,
        weights=weights,
        held=state.held | {"marks": torch.cat([marks, mark[None]])},
        facts={"moved": moved, "returned_to": equal[-1] if equal and _indices(thetas) else None},
    )


def _mark(thetas: Sequence[Compressed]) -> Tensor:
    """32 bytes, uint8, that differ for other supports, assignments or codes."""
    sha256 = hashlib.sha256()
    for indices in _indices(thetas):
        sha256.update(indices.cpu().numpy().tobytes())
    return torch.frombuffer(bytearray(sha256.digest()), dtype=torch.uint8)


def _indices(thetas: Sequence[Compressed]) -> list[Tensor]:
    """The tensors of whole numbers in Thetas: supports, codes, zero points."""
    return [leaf for leaf in leaves(tuple(thetas)) if isinstance(leaf, Tensor) and not leaf.is_floating_point()]
