"""The functions in an ONNX file that decode its weights, in ONNX's textual form.

Each decodes one kind of packed array of the `.lcz` file by operators of opset 21 whose output sizes are known in
advance. ONNX Runtime (since 1.27) folds only those at load; a NonZero, and all that depends on it, would stay. Folded
functions cost time at load and none after.
"""

from onnx import FunctionProto, parser

OPSET = 21
DOMAIN = "lcsweep"
_HEAD = f'<opset_import: ["" : {OPSET}, "{DOMAIN}" : 1], domain: "{DOMAIN}">\n'

_BITS = """
Bits <count> (packed) => (bits) {  # uint8 bytes, lowest bit first, as their first `count` bits, uint8
  last = Constant <value_ints = [-1]> ()
  from = Constant <value_ints = [0]> ()
  to = Constant <value_ints: ints = @count> ()
  shifts = Constant <value = uint8[8] {0, 1, 2, 3, 4, 5, 6, 7}> ()
  mask = Constant <value = uint8[1] {1}> ()
  column = Unsqueeze (packed, last)
  shifted = BitShift <direction = "RIGHT"> (column, shifts)
  masked = BitwiseAnd (shifted, mask)
  flat = Reshape (masked, last)
  bits = Slice (flat, from, to)
}"""
_BITMAP = """
Bitmap <shape> (bits, values) => (tensor) {  # the values in the places of ones, zeros elsewhere
  axis = Constant <value_int = 0> ()
  to = Constant <value_ints: ints = @shape> ()
  zero = Constant <value = float[1] {0}> ()
  typed = CastLike (zero, values)
  listed = Concat <axis = 0> (typed, values)
  ones = Cast <to = 6> (bits)
  rank = CumSum (ones, axis)
  place = Mul (rank, ones)
  flat = Gather (listed, place)
  tensor = Reshape (flat, to)
}"""
_UNARY = """
Unary <slots> (bits) => (numbers) {  # for each one, the zeros before it: the high parts of an Elias-Fano code
  axis = Constant <value_int = 0> ()
  one = Constant <value = int64[1] {1}> ()
  none = Constant <value = int64[1] {0}> ()
  to = Constant <value_ints: ints = @slots> ()
  ones = Cast <to = 7> (bits)
  rank = CumSum (ones, axis)
  place = Mul (rank, ones)
  inverse = Sub (one, ones)
  before = CumSum (inverse, axis)
  empty = Expand (none, to)
  found = ScatterElements (empty, place, before)
  numbers = Slice (found, one, to)
}"""
_SCATTER = """
Scatter <size, shape> (places, values) => (tensor) {  # the values in these places of zeros
  zero = Constant <value = float[1] {0}> ()
  all = Constant <value_ints: ints = @size> ()
  to = Constant <value_ints: ints = @shape> ()
  typed = CastLike (zero, values)
  empty = Expand (typed, all)
  flat = ScatterElements (empty, places, values)
  tensor = Reshape (flat, to)
}"""
_ALIGNED = """
Codes{width} <count> (packed) => (codes) {{  # {width}-bit codes, int32
  last = Constant <value_ints = [-1]> ()
  from = Constant <value_ints = [0]> ()
  to = Constant <value_ints: ints = @count> ()
  shifts = Constant <value = uint8[{period}] {{{shifts}}}> ()
  mask = Constant <value = uint8[1] {{{mask}}}> ()
  column = Unsqueeze (packed, last)
  shifted = BitShift <direction = "RIGHT"> (column, shifts)
  masked = BitwiseAnd (shifted, mask)
  flat = Reshape (masked, last)
  some = Slice (flat, from, to)
  codes = Cast <to = 6> (some)
}}"""
_PLANES = """
Codes{width} <bits> (packed) => (codes) {{  # {width}-bit codes, which begin anywhere in a byte, int32
  each = Constant <value_ints = [-1, {width}]> ()
  last = Constant <value_ints = [-1]> ()
  weights = Constant <value = int32[{width}, 1] {{{weights}}}> ()
  stream = {domain}.Bits <count: ints = @bits> (packed)
  rows = Reshape (stream, each)
  planes = Cast <to = 6> (rows)
  sums = MatMul (planes, weights)
  codes = Reshape (sums, last)
}}"""


def function(name: str) -> FunctionProto:
    """The function `name`: one of those above, or "Codes<width>"."""
    fixed = {"Bits": _BITS, "Bitmap": _BITMAP, "Unary": _UNARY, "Scatter": _SCATTER}
    text = fixed[name] if name in fixed else _codes(int(name.removeprefix("Codes")))
    return parser.parse_function(_HEAD + "\n".join(line.split("  #")[0] for line in text.strip().splitlines()))


def needed(names: set[str]) -> list[FunctionProto]:
    """The functions of these names and those that they call. Each comes after the functions that it calls."""
    if any(not aligned(int(name.removeprefix("Codes"))) for name in names if name.startswith("Codes")):
        names = names | {"Bits"}
    return [function(name) for name in sorted(names)]


def aligned(width: int) -> bool:
    """Whether codes of `width` bits never cross a byte boundary."""
    return width in (1, 2, 4, 8)


def _codes(width: int) -> str:
    if aligned(width):
        shifts = ", ".join(str(shift) for shift in range(0, 8, width))
        return _ALIGNED.format(width=width, period=8 // width, shifts=shifts, mask=(1 << width) - 1)
    weights = ", ".join(str(1 << place) for place in range(width))
    return _PLANES.format(width=width, weights=weights, domain=DOMAIN)
