"""Augmentation: training examples that do not look the same every time they are seen."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Examples(Protocol):
    """Training inputs: a tensor (n, ...), or what shows its examples otherwise.

    How they are shown follows from which are asked for together, never from a draw: shuffled batches are random
    already, and a run that is resumed sees what it would have seen.
    """

    @property
    def shape(self) -> Sequence[int]: ...

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        """The examples `index` (b,) as they are to be seen, (b, ...); `dim` is 0."""
        ...


class PixelShifts:
    """Images that are seen moved by up to one pixel: of a batch, a ninth to each of the eight neighbours, a ninth not.

    A training image's way is by its place in the batch. Images lie in memory row by row, so a moved one is read from a
    pixel or a row further on, at the cost of an unmoved one; what then stands at its edges is replaced. The first and
    the last image, beside which there is nothing to read, stay where their way would need it, edges apart.

    Args:
        inputs: (n, ...), of `height` x `width` pixels a channel: intensities, 0 being dark, minus their mean at each
            pixel. The mean is found again from the least that each pixel gets, and does not move along; what moves in
            is dark.

    Raises:
        ValueError: the inputs are no such images, or do not lie row by row.
    """

    def __init__(self, inputs: Tensor, *, height: int, width: int) -> None:
        n, size = inputs.shape[0], inputs[0].numel()
        if min(height, width) < 2 or size % (height * width) or not inputs.is_contiguous():
            raise ValueError(
                f"inputs: expected images of {height} x {width} pixels, two or more each way, that lie in memory row "
                f"by row, got shape {tuple(inputs.shape)}"
            )
        self.inputs = inputs
        self._size, self._last = size, (n - 1) * size
        self._at = inputs.view(-1).as_strided((self._last + 1, size), (1, 1))
        ways = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        self._ways = torch.tensor([-down * width - right for down, right in ways], device=inputs.device)
        self._starts = self._ways  # of every place in a batch, of the size that was last asked for
        dark = inputs.amin(dim=0).reshape(-1, height, width)
        self._kept = torch.stack([_kept(dark, down, right) for down, right in ways]).flatten(1)
        means = torch.stack([dark - dark.reshape(-1).roll(-int(way)).view(dark.shape) for way in self._ways])
        self._added = torch.where(self._kept > 0, means.flatten(1), dark.reshape(-1))

    @property
    def shape(self) -> Sequence[int]:
        return self.inputs.shape

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        assert dim == 0 and not index.is_floating_point()
        ways, places = len(self._ways), len(index)
        times = -(-places // ways)
        if len(self._starts) != places:
            self._starts = self._ways.repeat(times)[:places]
        starts = torch.add(self._starts, index, alpha=self._size).clamp_(0, self._last)
        seen = self.inputs.new_empty(times * ways, self._size)
        torch.index_select(self._at, 0, starts, out=seen[:places])
        nines = seen.view(times, ways, self._size)
        torch.addcmul(self._added, self._kept, nines, out=nines)
        return seen[:places].view(-1, *self.shape[1:])


def _kept(image: Tensor, down: int, right: int) -> Tensor:
    """1 where a pixel of the moved image (c, h, w) comes from the image, 0 where it moves in."""
    kept = torch.ones_like(image)
    if down:
        kept[:, 0 if down > 0 else -1] = 0
    if right:
        kept[..., 0 if right > 0 else -1] = 0
    return kept
