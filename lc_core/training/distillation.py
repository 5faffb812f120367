"""Training towards the outputs of the reference, with the labels or without any."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lc_core.training.loop import Loss, expect


@dataclass(frozen=True)
class Distillation:
    """labels * loss + (1 - labels) * T^2 KL(softmax(reference / T) || softmax(outputs / T)), the mean over a batch.

    The divergence of Hinton, Vinyals and Dean (arXiv:1503.02531, section 2); T^2 keeps its gradient's size while T
    changes. At the reference itself it is zero, and so is its gradient.

    Attributes:
        temperature: T, more than 0; a higher one looks more at the small outputs.
        labels: the share of the loss by the labels, in [0, 1]; at 0 there need be none.
    """

    temperature: float
    labels: float = 0.0

    def __post_init__(self) -> None:
        expect(0 < self.temperature < math.inf, "temperature", self.temperature, "a positive number")
        expect(0 <= self.labels <= 1, "labels", self.labels, "a number in [0, 1]")

    def targets_and_loss(self, reference: Tensor, *, targets: Tensor | None, loss: Loss) -> tuple[Tensor, Loss]:
        """What to train with in place of `targets` and `loss`.

        Args:
            reference: the reference's outputs for the training split, class logits (n, classes), as `predict` gives.
            targets: (n, ...); never touched where `labels` is 0, and then may be None.
            loss: by the targets.

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

    def _mixed(self, reference: Tensor, targets: Tensor, loss: Loss) -> Loss:
        """The loss by an example's number in place of its target: so it finds both its label and its logits."""
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
