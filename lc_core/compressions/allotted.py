"""Theta of several layers, each compressed in its own way."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lc_core.compression import Compressed, Form, FormError, Use, dense_macs, numel, prefixed


@dataclass(frozen=True, eq=False)
class Allotted:
    """Theta of several layers, each compressed in its own way.

    Attributes:
        shape: of Delta(Theta): that of the only layer, or of one vector of all layers in order.
        thetas: Theta of each layer.
        chosen: for each layer, the label of its compression; empty for a Theta that was read from a file.
        gap: what the total error of the chosen compressions may lie above the least one possible, as a fraction.
    """

    shape: tuple[int, ...]
    thetas: tuple[Compressed, ...]
    chosen: tuple[str, ...] = ()
    gap: float = 0.0

    @property
    def dtype(self) -> torch.dtype:
        return self.thetas[0].dtype

    def decompress(self) -> Tensor:
        if len(self.thetas) == 1:
            return self.thetas[0].decompress()
        return torch.cat([theta.decompress().reshape(-1) for theta in self.thetas])

    def storage_bits(self) -> int:
        return sum(theta.storage_bits() for theta in self.thetas)

    def macs(self, use: Use) -> int:
        return self.thetas[0].macs(use) if len(self.thetas) == 1 else dense_macs(self.shape, use)

    def pack(self) -> dict[str, Tensor]:
        arrays: dict[str, Tensor] = {}
        for number, theta in enumerate(self.thetas):
            arrays |= prefixed(str(number), theta.pack())
        return arrays

    def form(self) -> Form:
        return {"form": "layers", "shape": list(self.shape), "layers": [theta.form() for theta in self.thetas]}

    @staticmethod
    def unpack(form: Form, thetas: Sequence[Compressed]) -> "Allotted":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        shape = tuple(form["shape"])
        joined = thetas[0].shape if len(thetas) == 1 else (sum(numel(theta.shape) for theta in thetas),)
        if shape != joined:
            raise FormError(f"expected layers of a tensor of shape {shape}, got {[theta.shape for theta in thetas]}")
        return Allotted(shape, tuple(thetas))
