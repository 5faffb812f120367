"""Training towards the outputs of the reference, with or without labels."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lc_core.fields import check_numbers, expect
from lc_core.training.data import Forward
from lc_core.training.features import attention, hint, with_layers
from lc_core.training.loop import Loss
from lc_core.training.nest import Nest


@dataclass(frozen=True)
class Distillation:
    """labels * loss + (1 - labels) * T^2 KL(softmax(reference / T) || softmax(outputs / T)), the mean over a batch.

    The divergence of Hinton, Vinyals and Dean (arXiv:1503.02531). T^2 keeps its gradient's size the same for
    every T. At the reference it is zero, and so is its gradient.

    `hints` and `attention` add distances between what layers of the model and of the reference give for the same
    batch (`lc_core.training.features`), each times the layer's weight. Chosen here: they are added during the whole of
    training. (FitNets trains on them first, up to that layer, and then on the outputs.)

    Attributes:
        temperature: T, above 0. A higher T gives small outputs more weight.
        labels: the weight of the loss by the labels, in [0, 1]. With 0, no labels are needed.
        hints: the name of a layer, as of `named_modules`, -> the weight of the distance of its outputs.
        attention: the name of a layer with outputs (n, channels, height, width) -> that of its attention map.
    """

    temperature: float
    labels: float = 0.0
    hints: Mapping[str, float] = field(default_factory=dict)
    attention: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_numbers(self)
        expect(0 < self.temperature < math.inf, "temperature", self.temperature, "a positive number")
        expect(0 <= self.labels <= 1, "labels", self.labels, "a number in [0, 1]")
        for name, weights in (("hints", self.hints), ("attention", self.attention)):
            expect(all(0 < each < math.inf for each in weights.values()), name, weights, "positive weights")

    def targets_and_loss(self, reference: Tensor, *, targets: Tensor | None, loss: Loss) -> tuple[Tensor, Loss]:
        """The targets and the loss to train with.

        Args:
            reference: the reference's outputs for the training split, class logits (n, classes), as `predict` gives.
            targets: (n, ...); not used where `labels` is 0, and may then be None.
            loss: the loss by the targets.

        Raises:
            ValueError: the outputs are no class logits; targets are missing.
        """
        if reference.ndim != 2 or reference.shape[1] < 2:
            shape = tuple(reference.shape)
            raise ValueError(f"distillation: expected outputs of shape (n, classes), two or more, got {shape}")
        if self.labels == 0:
            return self._logits(reference), self._divergence
        if targets is None:
            raise ValueError(f"labels: expected 0 where there are no targets, got {self.labels!r}")
        return torch.arange(len(reference), device=reference.device), self._mixed(reference, targets, loss)

    def guided(self, forward: Forward, loss: Loss, *, reference: nn.Module) -> tuple[Forward, Loss]:
        """`forward` and `loss` with the distances of `hints` and `attention`; as they are where there are none.

        ValueError where the reference, which is copied, has no such layers.
        """
        measured = [(hint, *each) for each in self.hints.items()] + [
            (attention, *each) for each in self.attention.items()
        ]
        if not measured:
            return forward, loss
        layers = sorted({*self.hints, *self.attention})
        if unknown := set(layers) - {name for name, _ in reference.named_modules()}:
            known = ", ".join(name for name, _ in reference.named_modules() if name)
            raise ValueError(f"distillation: expected layers among {known}, got {min(unknown)!r}")
        teacher = copy.deepcopy(reference).eval()

        def beside(model: nn.Module, inputs: Nest) -> tuple[Nest, Tensor]:
            with torch.no_grad():
                _, theirs = with_layers(teacher, inputs, forward=forward, layers=layers)
            outputs, ours = with_layers(model, inputs, forward=forward, layers=layers)
            distances = [weight * distance(ours[name], theirs[name]) for distance, name, weight in measured]
            return outputs, torch.stack(distances).sum()

        def with_distance(found: tuple[Nest, Tensor], targets: Nest) -> Tensor:
            outputs, distance = found
            return loss(outputs, targets) + distance

        return beside, with_distance

    def _mixed(self, reference: Tensor, targets: Tensor, loss: Loss) -> Loss:
        """A loss whose targets are the numbers of the examples: by them it finds both labels and logits."""
        logits = self._logits(reference)

        def mixed(outputs: Tensor, numbers: Tensor) -> Tensor:
            by_labels = loss(outputs, targets[numbers])
            return self.labels * by_labels + (1 - self.labels) * self._divergence(outputs, logits[numbers])

        return mixed

    def _logits(self, reference: Tensor) -> Tensor:
        """log softmax(reference / T)."""
        return (reference / self.temperature).log_softmax(dim=1)

    def _divergence(self, outputs: Tensor, logits: Tensor) -> Tensor:
        found = (outputs / self.temperature).log_softmax(dim=1)
        return self.temperature**2 * nn.functional.kl_div(found, logits, reduction="batchmean", log_target=True)
