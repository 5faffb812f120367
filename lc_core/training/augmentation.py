"""Augmentation: training examples that change from one epoch to the next."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Examples(Protocol):
    """Training inputs: a tensor (n, ...), or an object that augments one.

    An augmentation depends only on the batch that is asked for, never on a random draw. Shuffled batches are random
    already, and a resumed run then gets the same inputs as a run that never stopped.
    """

    @property
    def shape(self) -> Sequence[int]: ...

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        """The augmented examples `index` (b,), as (b, ...); `dim` is 0."""
        ...


class PixelShifts:
    """Images moved by up to one pixel. Of a batch, a ninth moves in each of the eight directions and a ninth stays.

    The position in the batch decides the direction. Images lie in memory one after the other, so that a moved image is
    read from an address a pixel or a row further on, at the cost of an unmoved one. The pixels at its edges are then
    replaced. The first and the last image do not move where that would read outside the tensor; only their edges
    change.

    Args:
        inputs: (n, ...), of `height` x `width` pixels a channel: intensities, where 0 is dark, minus their mean at each
            pixel. The smallest value of each pixel gives the mean back; it does not move with the image. Pixels that
            move in are dark.

    Raises:
        ValueError: the inputs are no such images, or are not contiguous.
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
        self._starts = self._ways  # one for each position of a batch; kept for the next batch of this size
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
    """1 where a pixel of the moved image (c, h, w) comes from the image, 0 where it moves in from outside."""
    kept = torch.ones_like(image)
    if down:
        kept[:, 0 if down > 0 else -1] = 0
    if right:
        kept[..., 0 if right > 0 else -1] = 0
    return kept
