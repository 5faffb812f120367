"""The model that codes symbols bit by bit, in plain Python: whole numbers alone.

A symbol is coded from its highest bit on; the bits before lead to a node of a binary tree. For each bit, INPUTS slots
predict a 1. A slot is chosen by the node and by one context each; more contexts than slots share them:

0. what is known of the column beforehand
1. the symbols before, 8 bits of them
2. the column
3. the row
4. the symbols around: above, left, right of above, one pitch to the left (and more where symbols have one bit)
5. how likely the columns around and this column make a 1
6. the block of columns in this row, and whether the symbol before and the one to the left are 0
7. the symbols to the left and one pitch to the left, and the place in the block

"Above" and "left" are the last symbols of a column. A slot has a probability of 22 bits and a count of visits in 10;
it moves to the bit by 1 / (visits + 1.3). The logits of the slots are mixed with weights of their own for each depth
of the tree, which learn by gradient descent on the code's length (Mahoney, "Adaptive weighing of context models for
lossless data compression", 2005). `symbols.c` does the same faster, `lanes.py` for many streams at once.
"""

from operator import mul

from lc_core.coding.layout import Layout, Symbols
from lc_core.coding.streams import Stream
from lc_core.coding.tables import LARGEST, LIMIT, RATE, SQUASH, STRETCH

INPUTS = 8
UNSEEN = 1 << 31
"""A slot that was never visited: 1/2."""
WEIGHT = 9175
"""The first weight of an input, in 1/65536."""


def code_part(stream: Stream, symbols: Symbols, layout: Layout, part: tuple[int, int], *, writing: bool) -> None:
    """Writes `symbols[part[0]:part[1]]` to `stream`, or reads them into there, with a model of their own."""
    width, columns, pitch = layout.width, layout.columns, layout.pitch
    nodes, last, kept = 1 << width, (1 << width) - 1, (1 << 8 // width * width) - 1
    coarse, mask = max(width - 2, 0), layout.slots - 1
    stretch, squash, rate = STRETCH.tolist(), SQUASH.tolist(), RATE.tolist()
    slots = [[UNSEEN] * layout.slots for _ in range(INPUTS)]
    weights = [[WEIGHT] * INPUTS for _ in range(width)]
    of_columns, history, shift = slots[2], [0] * (columns + 2 * pitch + 2), pitch + 1
    known = [0] * columns if layout.known is None else layout.known.tolist()
    places = range(*part) if layout.places is None else layout.places[slice(*part)].tolist()
    given = symbols[slice(*part)].tolist()
    code = stream.write if writing else stream.read
    before = 0
    for t, place in enumerate(places):
        row, column = divmod(place, columns)
        at = shift + column
        own = history[at]
        above, left, right = own & last, history[at - 1] & last, history[at + 1] & last
        far = history[at - pitch] & last
        if width == 1:
            near = above | left << 1 | right << 2 | far << 3 | (own >> 1 & 1) << 4 | (history[at - 1] >> 1 & 1) << 5
            near |= (history[at + pitch] & 1) << 6 | (history[at + 1 - pitch] & 1) << 7
        else:
            near = above >> coarse | left >> coarse << 2 | far >> coarse << 4 | right >> coarse << 6
        block = (row * 131 + column // pitch) * 4 + (before & last != 0) + 2 * (left != 0)
        pattern = (left * 2 + far) * 64 + column % pitch
        contexts = (known[column], before & kept, column, row, near, 0, block, pattern)
        bases = [context * nodes for context in contexts]
        around = [(column + distance) * nodes for distance in (-1, 1, -pitch, pitch)]
        symbol, node = given[t], 1
        for depth in range(width):
            chosen = [(base + node) & mask for base in bases]
            likely = sum(stretch[of_columns[base + node & mask] >> 16] for base in around) + 4 * LARGEST
            itself = stretch[of_columns[chosen[2]] >> 16] + LARGEST
            chosen[5] = (((likely >> 9) * 32 + (itself >> 8)) * nodes + node) & mask
            mixed = weights[depth]
            logits = [stretch[table[slot] >> 16] for table, slot in zip(slots, chosen, strict=True)]
            dot = sum(map(mul, logits, mixed)) >> 16
            probability = squash[max(min(dot, LARGEST), -LARGEST) + LARGEST]
            bit = code(symbol >> width - 1 - depth & 1, probability)
            error = 3 * ((bit << 16) - probability)
            weights[depth] = [weight + (logit * error >> 18) for weight, logit in zip(mixed, logits, strict=True)]
            goal = bit * 0x3FFFFF
            for table, slot in zip(slots, chosen, strict=True):
                value = table[slot]
                visits, chance = value & LIMIT, value >> 10
                chance += (goal - chance) * rate[visits] >> 16
                table[slot] = chance << 10 | (visits + 1 if visits < LIMIT else LIMIT)
            node = node * 2 + bit
        symbol = node & last
        symbols[part[0] + t] = symbol
        before = (before << width | symbol) & 0xFFFF
        history[at] = (own << width | symbol) & 0xFFFF
