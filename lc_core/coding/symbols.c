/* The loop of the adaptive arithmetic coder. model.py is the same in Python and says what it does. Negative numbers are
   shifted right as every compiler of today does it: rounded down. */

#include <stddef.h>
#include <stdint.h>

enum { INPUTS = 8, STEPS = 256, LARGEST = 11 * STEPS, LIMIT = 1023 };

/* The tables of tables.py. */
struct tables { const int16_t *stretch; const int32_t *squash, *rate; };

/* A stream: where the coder stands in it (low or code, range, place), and its bytes. */
struct stream { int64_t *state; uint8_t *bytes; int64_t length; };

static void write_bit(const struct stream *to, int bit, int64_t probability)
{
    int64_t *low = to->state, *range = to->state + 1, *place = to->state + 2;
    const int64_t bound = (*range >> 16) * probability;
    *low += bit ? 0 : bound;
    *range = bit ? bound : *range - bound;
    if (*low >> 32) {
        *low &= 0xFFFFFFFF;
        for (int64_t i = *place - 1; ++to->bytes[i] == 0;)
            i--;
    }
    for (; *range < 1 << 24; *range <<= 8) {
        to->bytes[(*place)++] = (uint8_t)(*low >> 24);
        *low = *low << 8 & 0xFFFFFFFF;
    }
}

static int read_bit(const struct stream *from, int64_t probability)
{
    int64_t *code = from->state, *range = from->state + 1, *place = from->state + 2;
    const int64_t bound = (*range >> 16) * probability;
    const int bit = *code < bound;
    *code -= bit ? 0 : bound;
    *range = bit ? bound : *range - bound;
    for (; *range < 1 << 24; *range <<= 8) {
        *code = *code << 8 | (*place < from->length ? from->bytes[*place] : 0);
        (*place)++;
    }
    return bit;
}

/* Writes or reads one bit of a symbol: mixes the predictions of the slots, codes the bit, and lets both learn. */
static int code_bit(const struct stream *stream, int writing, int bit, const struct tables *tables, uint32_t **slots,
                    int64_t *weights)
{
    int64_t logits[INPUTS], dot = 0;
    for (int i = 0; i < INPUTS; i++) {
        logits[i] = tables->stretch[*slots[i] >> 16];
        dot += logits[i] * weights[i];
    }
    dot >>= 16;
    dot = dot > LARGEST ? LARGEST : dot < -LARGEST ? -LARGEST : dot;
    const int64_t probability = tables->squash[dot + LARGEST];
    if (writing)
        write_bit(stream, bit, probability);
    else
        bit = read_bit(stream, probability);
    const int64_t error = ((int64_t)bit << 16) - probability;
    for (int i = 0; i < INPUTS; i++) {
        const int64_t visits = *slots[i] & LIMIT, before = *slots[i] >> 10;
        const int64_t after = before + (((int64_t)bit * 0x3FFFFF - before) * tables->rate[visits] >> 16);
        weights[i] += logits[i] * error * 3 >> 18;
        *slots[i] = (uint32_t)(after << 10 | (visits < LIMIT ? visits + 1 : LIMIT));
    }
    return bit;
}

/* Writes or reads `count` symbols. `slots` is (INPUTS, size), `weights` (width, INPUTS); `history` has pitch + 1
   numbers on each side of its columns. Without `places`, the places start at `first`. */
void code_symbols(int writing, int64_t *state, uint8_t *bytes, int64_t length, uint8_t *symbols, int64_t count,
                  const int64_t *places, int64_t first, int width, int64_t columns, int64_t pitch,
                  const uint8_t *known, const int16_t *stretch, const int32_t *squash, const int32_t *rate,
                  int64_t size, uint32_t *slots, int64_t *weights, uint16_t *history)
{
    const struct tables tables = { stretch, squash, rate };
    const struct stream stream = { state, bytes, length };
    const int nodes = 1 << width, last = nodes - 1, kept = (1 << 8 / width * width) - 1;
    const int coarse = width > 2 ? width - 2 : 0;
    int64_t before = 0;
    for (int64_t t = 0; t < count; t++) {
        const int64_t place = places ? places[t] : first + t, row = place / columns, column = place % columns;
        uint16_t *const at = history + pitch + 1 + column;
        const int64_t above = at[0] & last, left = at[-1] & last, right = at[1] & last, far = at[-pitch] & last;
        int64_t near;
        if (width == 1)
            near = above | left << 1 | right << 2 | far << 3 | (at[0] >> 1 & 1) << 4 | (at[-1] >> 1 & 1) << 5
                 | (at[pitch] & 1) << 6 | (at[1 - pitch] & 1) << 7;
        else
            near = above >> coarse | left >> coarse << 2 | far >> coarse << 4 | right >> coarse << 6;
        const int64_t contexts[INPUTS] = {
            known ? known[column] : 0, before & kept, column, row, near, 0,
            (row * 131 + column / pitch) * 4 + ((before & last) != 0) + 2 * (left != 0),
            (left * 2 + far) * 64 + column % pitch,
        };
        const int symbol = writing ? symbols[t] : 0;
        int node = 1;
        for (int depth = 0; depth < width; depth++) {
            uint32_t *chosen[INPUTS], *const of_columns = slots + 2 * size;
            for (int i = 0; i < INPUTS; i++)
                chosen[i] = slots + i * size + ((contexts[i] * nodes + node) & (size - 1));
            int64_t around = 4 * LARGEST;
            const int64_t distances[4] = { -1, 1, -pitch, pitch };
            for (int i = 0; i < 4; i++)
                around += stretch[of_columns[((column + distances[i]) * nodes + node) & (size - 1)] >> 16];
            const int64_t own = stretch[*chosen[2] >> 16] + LARGEST;
            chosen[5] = slots + 5 * size + ((((around >> 9) * 32 + (own >> 8)) * nodes + node) & (size - 1));
            const int bit = symbol >> (width - 1 - depth) & 1;
            node = node * 2 + code_bit(&stream, writing, bit, &tables, chosen, weights + depth * INPUTS);
        }
        symbols[t] = (uint8_t)(node & last);
        before = (before << width | (node & last)) & 0xFFFF;
        at[0] = (uint16_t)(at[0] << width | (node & last));
    }
}
