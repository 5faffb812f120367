"""An ascending set of indices, as a bitmap or an Elias-Fano code, whichever is smaller. The count gives the size."""

from collections.abc import Mapping

from torch import Tensor

from lc_core.numerics.packing import (
    DamagedError,
    byte_count,
    elias_fano_bits,
    pack_bitmap,
    pack_elias_fano,
    unpack_bitmap,
    unpack_elias_fano,
)


def support_bits(count: int, universe: int) -> int:
    """Bits that `pack_support` writes for `count` indices below `universe`."""
    return min(8 * byte_count(universe), elias_fano_bits(count, universe))


def pack_support(support: Tensor, *, universe: int) -> dict[str, Tensor]:
    """Ascending indices (k,) below `universe` as uint8 arrays; on the meta device without values."""
    if _bitmap_is_smaller(support.numel(), universe):
        return {"bitmap": pack_bitmap(support, universe=universe)}
    return pack_elias_fano(support, universe=universe)


def unpack_support(arrays: Mapping[str, Tensor], *, count: int, universe: int) -> Tensor:
    """The inverse of `pack_support`: int64 (count,), ascending. DamagedError where the arrays are damaged."""
    names = {"bitmap"} if _bitmap_is_smaller(count, universe) else {"low", "high"}
    if not names <= arrays.keys():
        raise DamagedError(f"expected an index in arrays {sorted(names)}, got {sorted(arrays)[:9]}")
    if _bitmap_is_smaller(count, universe):
        return unpack_bitmap(arrays["bitmap"], count=count, universe=universe)
    return unpack_elias_fano(arrays["low"], arrays["high"], count=count, universe=universe)


def _bitmap_is_smaller(count: int, universe: int) -> bool:
    return 8 * byte_count(universe) <= elias_fano_bits(count, universe)
