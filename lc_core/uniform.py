"""Uniform quantization: every value of Delta(Theta) is a whole number of steps from zero."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from lc_core.compression import Compressed, Dense, Form, Use, dense_bits, dense_form, dense_macs, numel, outline_tensor
from lc_core.packing import byte_count, pack_codes, unpack_codes
from lc_core.sorting import ascending

Granularity = Literal["tensor", "channel"]
CLIPS = tuple(2 ** (-number / 2) for number in range(13))
"""Ranges to start from, as parts of the weights' own: each 1/sqrt 2 of the one before, the last 1/64."""
ROUNDS = 12
FIRST_STRETCH, LAST_STRETCH = 0.2, 5e-3
TOLERANCE = 1e-3
"""A round that lowers the error by less than this part of it halves the stretch."""
BLOCK = 1 << 16
"""Weights of the channels that are searched at a time: few enough to stay in a processor's cache."""
WEIGHTS_A_CODE = 64
"""From as many, runs of sorted weights are faster than the weights one by one."""


@dataclass(frozen=True, eq=False)
class Uniform:
    """scale * (code - zero), one scale and zero point for all weights or for each output channel.

    Attributes:
        shape: of Delta(Theta).
        codes: (n,) uint8, flat, below 2^bits; below 2^bits - 1 in the symmetric form.
        scale: (1,) or (shape[0],), not negative.
        zero: the code of 0, uint8, as many as scales; None in the symmetric form, whose middle code it is.
        bits: of a code.
    """

    shape: tuple[int, ...]
    codes: Tensor
    scale: Tensor
    zero: Tensor | None
    bits: int

    @property
    def dtype(self) -> torch.dtype:
        return self.scale.dtype

    def decompress(self) -> Tensor:
        channels = self.scale.numel()
        codes = self.codes.reshape(channels, self.codes.numel() // channels).to(self.dtype)
        return ((codes - self._grid().zero[:, None]) * self.scale[:, None]).reshape(self.shape)

    def encode(self, w: Tensor) -> "Uniform":
        """Theta of other weights on the same grid: the nearest codes. One scale takes any shape, scales for channels
        one of as many channels."""
        grid = self._grid()
        codes = grid.nearest(_rows(w, grid.scale.numel()).double()).to(torch.uint8).reshape(-1)
        return Uniform(tuple(w.shape), codes, self.scale, self.zero, self.bits)

    def storage_bits(self) -> int:
        return min(self._code_bits(), dense_bits(self))

    def macs(self, use: Use) -> int:
        return dense_macs(self.shape, use)

    def pack(self) -> dict[str, Tensor]:
        if self._code_bits() >= dense_bits(self):
            return Dense(self.decompress()).pack()
        arrays = {"codes": pack_codes(self.codes, width=self.bits), "scale": self.scale}
        return arrays if self.zero is None else arrays | {"zero": self.zero}

    def form(self) -> Form:
        if self._code_bits() >= dense_bits(self):
            return dense_form(self.shape)
        return {"form": "uniform", "shape": list(self.shape), "bits": self.bits, "symmetric": self.zero is None}

    @staticmethod
    def unpack(form: Form, arrays: Mapping[str, Tensor]) -> "Uniform":
        """Theta from what `pack` and `form` gave. ValueError where they do not fit together."""
        shape, bits, scale = tuple(form["shape"]), form["bits"], arrays["scale"]
        zero = None if form["symmetric"] else arrays["zero"]
        if type(bits) is not int or not 1 <= bits <= 8:
            raise ValueError(f"expected codes of 1 to 8 bits, got {bits!r}")
        if tuple(scale.shape) not in {(1,), shape[:1]} or not scale.numel():
            raise ValueError(f"expected one scale or one for each channel of {shape}, got shape {tuple(scale.shape)}")
        if zero is not None and (zero.shape != scale.shape or zero.dtype != torch.uint8 or int(zero.max()) >> bits):
            raise ValueError(f"expected {scale.numel()} zero points of {bits} bits, got {zero.dtype}, {zero.tolist()}")
        codes = unpack_codes(arrays["codes"], width=bits, count=numel(shape)).to(torch.uint8)
        if zero is None and codes.numel() and int(codes.max()) > 2 * _middle(bits):
            raise ValueError(f"expected codes up to {2 * _middle(bits)}, got {int(codes.max())}: the codes are damaged")
        return Uniform(shape, codes, scale, zero, bits)

    def _grid(self) -> "_Grid":
        zero = torch.full_like(self.scale, _middle(self.bits)) if self.zero is None else self.zero.to(self.scale)
        return _Grid(self.scale, zero, _last(self.bits, symmetric=self.zero is None))

    def _code_bits(self) -> int:
        zeros = 0 if self.zero is None else self.zero.numel() * 8
        scales = self.scale.numel() * self.dtype.itemsize * 8
        return scales + zeros + 8 * byte_count(numel(self.shape) * self.bits)


@dataclass(frozen=True)
class UniformQuantization:
    """min over s, z, q of sum_i (w_i - s (q_i - z))^2, s >= 0, q and z whole numbers from 0 to 2^bits - 1.

    Symmetric: z is the middle of q from 0 to 2^bits - 2, so that q - z goes from -(2^(bits-1) - 1) to 2^(bits-1) - 1.
    Either way 0 is a value of the grid. For each output channel (dimension 0) on its own, if so asked.

    Alternating: for s and z every q_i is the nearest; for q and z, s = w^T (q - z) / ||q - z||^2; z moves by one where
    that is better. It starts from the best of the grid between the least and the largest weight, ranges down to 1/64
    of it, and `previous`. A local optimum, never worse than the first of these nor than `previous`; zeros and constants
    come out as they are. O(n) a round, at most 13 + 20 rounds, three zero points in each of the last 20.

    Attributes:
        bits: of a code, 1 to 8; symmetric from 2.
        symmetric: whether the grid reaches as far below 0 as above; no zero point is stored then.
        granularity: "tensor" for one scale and zero point, "channel" for one a channel of weights in two dimensions or
            more.
    """

    bits: int
    symmetric: bool = False
    granularity: Granularity = "tensor"

    def __post_init__(self) -> None:
        least = 2 if self.symmetric else 1
        if type(self.bits) is not int or not least <= self.bits <= 8:
            raise ValueError(f"bits: expected a whole number from {least} to 8, got {self.bits}")
        if self.granularity not in ("tensor", "channel"):
            raise ValueError(f"granularity: expected tensor or channel, got {self.granularity!r}")

    def check(self, shape: tuple[int, ...]) -> None:
        self._channels(shape)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Uniform:
        shape = tuple(w.shape)
        rows = _rows(w, self._channels(shape))
        before = previous._grid() if isinstance(previous, Uniform) and self._same_grid(previous, rows) else None
        grid = _best_grid(
            rows, last=_last(self.bits, symmetric=self.symmetric), symmetric=self.symmetric, before=before
        )
        zero = None if self.symmetric else grid.zero.to(torch.uint8)
        return Uniform(shape, grid.nearest(rows.double()).to(torch.uint8).reshape(-1), grid.scale, zero, self.bits)

    def outline(self, shape: tuple[int, ...]) -> Uniform:
        channels = self._channels(shape)
        codes = outline_tensor(numel(shape), dtype=torch.uint8)
        zero = None if self.symmetric else outline_tensor(channels, dtype=torch.uint8)
        return Uniform(shape, codes, outline_tensor(channels), zero, self.bits)

    def _channels(self, shape: tuple[int, ...]) -> int:
        if self.granularity == "tensor":
            return 1
        if len(shape) < 2:
            raise ValueError(
                f"granularity: expected tensor for weights of shape {shape}, without channels, got channel"
            )
        return shape[0]

    def _same_grid(self, previous: Uniform, rows: Tensor) -> bool:
        alike = previous.bits == self.bits and (previous.zero is None) == self.symmetric
        return alike and previous.scale.numel() == rows.shape[0] and previous.dtype == rows.dtype


@dataclass(frozen=True, eq=False)
class _Grid:
    """The values scale * (code - zero), code = 0 ... last, for each of some channels.

    Attributes:
        scale: (channels,).
        zero: (channels,), whole numbers in the dtype of `scale`.
        last: the largest code.
    """

    scale: Tensor
    zero: Tensor
    last: int

    def nearest(self, rows: Tensor) -> Tensor:
        """Codes (channels, n) of the values nearest to `rows` (channels, n), in their dtype."""
        # Where the scale is 0 every value is; an infinite one gives the code of 0 without a division by 0.
        scale = torch.where(self.scale > 0, self.scale, torch.inf).to(rows)[:, None]
        return (rows / scale).add_(self.zero.to(rows)[:, None]).round_().clamp_(0, self.last)

    def steps(self, rows: Tensor) -> Tensor:
        """q - z (channels, n) of the nearest codes."""
        return self.nearest(rows).sub_(self.zero.to(rows)[:, None])

    def errors(self, rows: Tensor) -> Tensor:
        """Squared distances (channels,) of `rows` to the nearest values, as they will be decompressed; float64."""
        wide = rows.double()
        values = self.steps(wide).to(rows.dtype).mul_(self.scale[:, None])
        return (wide - values).square_().sum(dim=1)

    def split(self, channels: int) -> list["_Grid"]:
        """In parts of as many channels."""
        pairs = zip(self.scale.split(channels), self.zero.split(channels), strict=True)
        return [_Grid(scale, zero, self.last) for scale, zero in pairs]

    def where(self, chosen: Tensor, other: "_Grid") -> "_Grid":
        """This grid in the channels that are `chosen`, `other` in the others."""
        scale, zero = torch.where(chosen, self.scale, other.scale), torch.where(chosen, self.zero, other.zero)
        return _Grid(scale, zero, self.last)


class _Rows(Protocol):
    """Weights (channels, n) as the search sees them."""

    def products(self, grid: _Grid) -> tuple[Tensor, Tensor]:
        """w^T d and d^T d (channels,), float64, for d the steps q - z of the values of `grid` nearest to w."""
        ...


@dataclass(frozen=True, eq=False)
class _Listed:
    """One by one, float64."""

    rows: Tensor

    def products(self, grid: _Grid) -> tuple[Tensor, Tensor]:
        steps = grid.steps(self.rows)
        return torch.linalg.vecdot(steps, self.rows), torch.linalg.vecdot(steps, steps)


@dataclass(frozen=True, eq=False)
class _Sorted:
    """In ascending order, a run for each code, with the sums (channels, n + 1) of the first 0 ... n; float64."""

    rows: Tensor
    sums: Tensor

    def products(self, grid: _Grid) -> tuple[Tensor, Tensor]:
        steps = torch.arange(grid.last + 1, dtype=torch.float64, device=self.rows.device) - grid.zero[:, None]
        inner = torch.searchsorted(self.rows, (steps[:, 1:] - 0.5) * grid.scale[:, None])
        ends = torch.full_like(inner[:, :1], self.rows.shape[1])
        edges = torch.cat([torch.zeros_like(ends), inner, ends], dim=1)
        counts, sums = edges.diff(dim=1).double(), self.sums.gather(1, edges).diff(dim=1)
        return torch.linalg.vecdot(steps, sums), torch.linalg.vecdot(steps.square(), counts)


def _best_grid(rows: Tensor, *, last: int, symmetric: bool, before: _Grid | None) -> _Grid:
    """The best grid found for each of `rows` (channels, n), in their dtype; of equally good ones `before`."""
    channels = max(1, BLOCK // max(1, rows.shape[1]))
    blocks = rows.split(channels)
    befores = [None] * len(blocks) if before is None else before.split(channels)
    found = [
        _best_of_block(block, last=last, symmetric=symmetric, before=earlier)
        for block, earlier in zip(blocks, befores, strict=True)
    ]
    return _Grid(torch.cat([grid.scale for grid in found]), torch.cat([grid.zero for grid in found]), last)


def _best_of_block(rows: Tensor, *, last: int, symmetric: bool, before: _Grid | None) -> _Grid:
    low, high = _range(rows, symmetric=symmetric)
    widest = torch.maximum(-low, high)
    ranges = [(low.maximum(-widest * clip), high.minimum(widest * clip)) for clip in CLIPS]
    starts = [_between(*clipped, last=last) for clipped in ranges]
    whole = starts[0]
    if before is not None:
        starts.insert(0, _Grid(before.scale.double(), before.zero.double(), last))
    found = _alternate(rows, starts, shifts=() if symmetric else (-1, 1))
    # Of zeros and of a constant every weight is zero or one step of its own size.
    grids = [whole, _Grid(widest, whole.zero, last), found]
    held = [_held(grid, rows.dtype) for grid in grids]
    return _least(held if before is None else [before, *held], rows)


def _range(rows: Tensor, *, symmetric: bool) -> tuple[Tensor, Tensor]:
    """The least and the largest of each of `rows` and 0, or minus and plus the largest magnitude; float64."""
    if not rows.shape[1]:
        return (rows.new_zeros(rows.shape[0], dtype=torch.float64),) * 2
    low, high = (edge.double() for edge in rows.aminmax(dim=1))
    low, high = low.clamp(max=0), high.clamp(min=0)
    return (low.minimum(-high), high.maximum(-low)) if symmetric else (low, high)


def _between(low: Tensor, high: Tensor, *, last: int) -> _Grid:
    """The grid from `low` (channels,), at most 0, to `high`, at least 0, moved so that 0 has a code."""
    scale = (high - low) / last
    zero = (-low / torch.where(scale > 0, scale, 1.0)).round()
    return _Grid(scale, torch.where(scale > 0, zero, last // 2), last)


def _alternate(rows: Tensor, starts: list[_Grid], *, shifts: tuple[int, ...]) -> _Grid:
    """Where the alternation from the best of `starts` rests in each channel.

    It tries the scale as it is, zero points moved by `shifts`, and scales stretched both ways by less and less: with
    many codes the best scale for given codes is hardly another than gave them, however far the best of all is.
    """
    search = _search(rows, last=starts[0].last)
    best, error = search.refit(starts[0])
    for start in starts[1:]:
        best, error = search.better(start, best, error)
    stretch = torch.full_like(error, FIRST_STRETCH)
    for _ in range(ROUNDS):
        base, base_error = best, error
        for scale in (base.scale, base.scale * (1 + stretch), base.scale / (1 + stretch)):
            best, error = search.better(_Grid(scale, base.zero, base.last), best, error)
        for shift in shifts:
            zero = (base.zero + shift).clamp(0, base.last)
            best, error = search.better(_Grid(base.scale, zero, base.last), best, error)
        stretch = torch.where(error < base_error * (1 - TOLERANCE), stretch, stretch / 2)
        if not bool((stretch > LAST_STRETCH).any()):
            break
    return best


@dataclass(frozen=True, eq=False)
class _Search:
    """Grids compared on some rows.

    Attributes:
        rows: the weights.
        squares: ||w||^2 (channels,), float64.
    """

    rows: _Rows
    squares: Tensor

    def refit(self, grid: _Grid) -> tuple[_Grid, Tensor]:
        """`grid` with the best scale for the codes that it gives, and the squared error (channels,) then."""
        products, squares = self.rows.products(grid)
        scale = products / squares.clamp(min=1)
        return _Grid(scale, grid.zero, grid.last), self.squares - products * scale

    def better(self, grid: _Grid, best: _Grid, error: Tensor) -> tuple[_Grid, Tensor]:
        """`grid`, refitted, where its error is below `error`, `best` elsewhere; and the smaller errors."""
        refitted, errors = self.refit(grid)
        return refitted.where(errors < error, best), torch.minimum(errors, error)


def _search(rows: Tensor, *, last: int) -> _Search:
    wide = rows.double()
    squares = torch.linalg.vecdot(wide, wide)
    if rows.shape[1] < WEIGHTS_A_CODE * (last + 1):
        return _Search(_Listed(wide), squares)
    ordered = ascending(rows).double()
    return _Search(_Sorted(ordered, torch.nn.functional.pad(ordered.cumsum(dim=1), (1, 0))), squares)


def _held(grid: _Grid, dtype: torch.dtype) -> _Grid:
    """`grid` with its scale rounded to `dtype`."""
    return _Grid(grid.scale.clamp(max=torch.finfo(dtype).max).to(dtype), grid.zero.to(dtype), grid.last)


def _least(grids: list[_Grid], rows: Tensor) -> _Grid:
    """In each channel the first of `grids` with the least error."""
    best, least = grids[0], grids[0].errors(rows)
    for grid in grids[1:]:
        errors = grid.errors(rows)
        best, least = grid.where(errors < least, best), torch.minimum(errors, least)
    return best


def _last(bits: int, *, symmetric: bool) -> int:
    return (1 << bits) - 2 if symmetric else (1 << bits) - 1


def _middle(bits: int) -> int:
    return (1 << bits - 1) - 1


def _rows(w: Tensor, channels: int) -> Tensor:
    return w.detach().reshape(channels, w.numel() // channels)
