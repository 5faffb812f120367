"""zstd and deflate without what a packed file says elsewhere: no magic number, no size, no checksum."""

import zlib

import zstandard

from lc_core.compression import FormError
from lc_core.file.header_words import MORE_WORDS, WORDS

LEVEL = 19
LARGE, QUICK = 1 << 20, 3
"""From LARGE bytes on, a size is tried at the level QUICK, which takes a second and not a minute."""
_FORMAT = zstandard.FORMAT_ZSTD1_MAGICLESS


def compressed(data: bytes, *, words: bool = False, level: int = LEVEL) -> bytes:
    """`data` under zstd; with `words`, those of header_words.py are known."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=len(data), format=_FORMAT, write_content_size=False, write_checksum=False
    )
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=_words(known=words)).compress(data)


def decompressed(data: bytes, *, size: int, words: bool = False) -> bytes:
    """The inverse of `compressed`, in `size` bytes. FormError or ZstdError where `data` are not so many under zstd."""
    declared = zstandard.get_frame_parameters(data, format=_FORMAT).content_size
    if declared not in (size, zstandard.CONTENTSIZE_UNKNOWN):  # zstd would take memory for it
        raise FormError(f"expected {size} bytes under zstd, got a frame that declares {declared}")
    decompressor = zstandard.ZstdDecompressor(format=_FORMAT, dict_data=_words(known=words))
    found: bytes = decompressor.decompress(data, max_output_size=max(size, 1), allow_extra_data=False)
    if len(found) != size:
        raise FormError(f"expected {size} bytes under zstd, got {len(found)}")
    return found


def deflated(text: bytes) -> bytes:
    """`text` under deflate, which knows MORE_WORDS. It has no tables, so a short text is shorter than under zstd."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zdict=MORE_WORDS)
    return packer.compress(text) + packer.flush()


def inflated(data: bytes, *, size: int) -> bytes:
    """The inverse of `deflated`, in `size` bytes. FormError where `data` are not so many under deflate."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS, zdict=MORE_WORDS)
    try:
        found = unpacker.decompress(data, size + 1)  # the end of the stream may come after the last byte
    except zlib.error as error:
        raise FormError(f"expected text under deflate, got other bytes: {error}") from error
    if len(found) != size or not unpacker.eof or unpacker.unused_data:
        raise FormError(f"expected {size} bytes under deflate, got others")
    return found


def least_size(data: bytes) -> int:
    """The size of `data` under zstd, or as they are."""
    return min(len(data), len(compressed(data, level=LEVEL if len(data) < LARGE else QUICK)))


def _words(*, known: bool) -> zstandard.ZstdCompressionDict | None:
    return zstandard.ZstdCompressionDict(WORDS, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if known else None
