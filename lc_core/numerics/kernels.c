/* Inner loops of one-dimensional k-means. kernels.py documents their arguments and results. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Also built for wider vectors, where the loader can choose. The results have the same bits. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define WIDER __attribute__((target_clones("avx2", "default")))
#else
#define WIDER
#endif

/* Loops over a CHUNK of numbers are vectorised by the compiler. CELLS is as in kernels.py. */
enum { CHUNK = 512, CELLS = 4096 };

static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* The bin of each x. Bins have equal widths from `low` on; values outside are in the first or the last bin. The bin never
   falls as x grows, in spite of rounding. NaN is in the first. */
static inline void place(const float *x, ptrdiff_t n, float low, float scale, int bins, int32_t *places)
{
    const float last = (float)(bins - 1);
    for (ptrdiff_t i = 0; i < n; i++) {
        float t = (x[i] - low) * scale;
        t = t > 0.0f ? t : 0.0f;
        t = t < last ? t : last;
        places[i] = (int32_t)t;
    }
}

WIDER void bin_places(const float *x, ptrdiff_t n, float low, float scale, int bins, int32_t *places)
{
    place(x, n, low, scale, bins, places);
}

WIDER void bin_sums(const float *restrict x, ptrdiff_t n, float low, float scale, int bins, double shift,
                    int32_t *restrict counts, double *restrict sums)
{
    int32_t places[CHUNK];
    for (; n > 0; x += CHUNK, n -= CHUNK) {
        const ptrdiff_t count = least(n, CHUNK);
        place(x, count, low, scale, bins, places);
        for (ptrdiff_t i = 0; i < count; i++) {
            const double v = (double)x[i] - shift;
            counts[places[i]]++;
            sums[places[i]] += v;
        }
    }
}

/* Writes those x whose bins are open into `found`, which has room for one more: it writes before it tests. */
WIDER void bin_members(const float *x, ptrdiff_t n, float low, float scale, int bins, const uint8_t *open, float *found)
{
    int32_t places[CHUNK];
    for (; n > 0; x += CHUNK, n -= CHUNK) {
        const ptrdiff_t count = least(n, CHUNK);
        place(x, count, low, scale, bins, places);
        for (ptrdiff_t i = 0; i < count; i++) {
            *found = x[i];
            found += open[places[i]];
        }
    }
}

/* Entries in ascending order, how many: a bin that holds a value is one, an open bin one for each of its `members`,
   which ascend. In `entries`, four rows of `length` numbers: their means, and the counts, sums and squares of all before
   each and, at the end, of all; squares as if the values of a bin had the mean square distance `spread` from its mean. */
ptrdiff_t bin_entries(const int32_t *counts, const double *sums, int bins, const uint8_t *open, const float *members,
                      double shift, double spread, double *entries, ptrdiff_t length)
{
    double *means = entries, *before = means + length, *sum_before = before + length, *squares = sum_before + length;
    ptrdiff_t m = 0;
    before[0] = sum_before[0] = squares[0] = 0.0;
    for (int bin = 0; bin < bins; bin++) {
        const int32_t count = open[bin] ? 1 : counts[bin];
        for (int32_t left = counts[bin]; left > 0; left -= count, m++) {
            const double sum = open[bin] ? (double)*members++ - shift : sums[bin];
            means[m] = sum / count;
            before[m + 1] = before[m] + count;
            sum_before[m + 1] = sum_before[m] + sum;
            squares[m + 1] = squares[m] + sum * means[m] + (count > 1 ? count * spread : 0.0);
        }
    }
    return m;
}

/* The first border in a cell or after it, and the number of borders before that one. */
struct cell { float border; int32_t before; };

/* How many of the k ascending borders lie below each x; as many infinite ones follow them, and one more. */
WIDER void borders_passed(const float *restrict x, ptrdiff_t n, const float *restrict borders, int k, float low,
                          float scale, int32_t *restrict passed)
{
    struct cell cells[CELLS];
    int32_t places[CHUNK];
    int most = 1; /* borders that this and its halves step over are at least as many as any cell has */
    for (int cell = 0, b = 0; cell < CELLS; cell++) {
        const int first = b;
        for (; b < k; b++) {
            place(borders + b, 1, low, scale, CELLS, places);
            if (*places != cell)
                break;
        }
        while (2 * most - 1 < b - first)
            most *= 2;
        cells[cell].border = borders[first];
        cells[cell].before = first;
    }
    for (; n > 0; x += CHUNK, passed += CHUNK, n -= CHUNK) {
        const ptrdiff_t count = least(n, CHUNK);
        place(x, count, low, scale, CELLS, places);
        for (ptrdiff_t i = 0; i < count; i++) { /* no border of a later cell is below x */
            const struct cell in = cells[places[i]];
            passed[i] = in.before + (x[i] > in.border);
        }
        for (ptrdiff_t i = 0; i < (most > 1 ? count : 0); i++) {
            int32_t from = cells[places[i]].before;
            for (int step = most; step > 0; step /= 2)
                from += x[i] > borders[from + step - 1] ? step : 0;
            passed[i] = from;
        }
    }
}

/* The way of least cost through `layers` of runs, from place 0 before the first to place 0 behind the last. A layer's
   run goes from any of the a places of one row of (layers + 1, a) to any of the next row's and costs its distortion:
   nothing goes backwards. came[layer, end] is the first start of least cost; `best` holds 2 a numbers. */
void least_way(const int64_t *places, const double *sums, const double *squares, ptrdiff_t layers, ptrdiff_t a,
               double *best, int64_t *came)
{
    double *next = best + a;
    for (ptrdiff_t i = 0; i < a; i++)
        best[i] = 0.0;
    for (ptrdiff_t row = 0; row < layers; row++, places += a, sums += a, squares += a) {
        for (ptrdiff_t end = a; end < 2 * a; end++) {
            double lowest = INFINITY;
            int64_t chosen = 0;
            for (ptrdiff_t start = 0; start < a; start++) {
                const int64_t count = places[end] - places[start];
                const double sum = sums[end] - sums[start];
                const double cost = squares[end] - squares[start] - sum * sum / (count > 1 ? (double)count : 1.0);
                if (count >= 0 && cost + best[start] < lowest) {
                    lowest = cost + best[start];
                    chosen = start;
                }
            }
            next[end - a] = lowest;
            *came++ = chosen;
        }
        for (ptrdiff_t i = 0; i < a; i++)
            best[i] = next[i];
    }
}

static double reach_of(const double *means, double centre, int64_t first, int64_t end)
{
    return first < end ? fmax(fabs(means[first] - centre), fabs(means[end - 1] - centre)) : -1.0;
}

/* Sinks the run at `place` of the heap below all that reach farther. */
static void sink(const double *reach, int32_t *heap, int k, int place)
{
    for (int child = 2 * place + 1; child < k; place = child, child = 2 * place + 1) {
        const int32_t run = heap[place];
        child += child + 1 < k && reach[heap[child + 1]] > reach[heap[child]];
        if (!(reach[heap[child]] > reach[run]))
            return;
        heap[place] = heap[child];
        heap[child] = run;
    }
}

/* Narrows the k runs of entries [first, end), one about each centre, by the `left_out` values that are farthest from
   theirs: always the outermost, of which there are as many. Entries have ascending means, and before each lie so many
   values. The runs are then of values: of the last entry to go, some may stay. */
void outermost_gone(const double *means, const double *counts, const double *centres, int k, double left_out,
                    int64_t *firsts, int64_t *ends, double *reach, int32_t *heap)
{
    double some = 0.0; /* that go of the last entry, */
    int64_t *place = firsts; /* from this side */
    for (int run = 0; run < k; run++) {
        heap[run] = run;
        reach[run] = reach_of(means, centres[run], firsts[run], ends[run]);
    }
    for (int middle = k / 2; middle-- > 0;)
        sink(reach, heap, k, middle);
    while (left_out > 0.0) {
        const int32_t run = heap[0];
        const int above = fabs(means[firsts[run]] - centres[run]) < reach[run];
        const int64_t entry = above ? ends[run] - 1 : firsts[run];
        const double count = counts[entry + 1] - counts[entry];
        if (count > left_out) {
            place = above ? ends + run : firsts + run;
            some = above ? -left_out : left_out;
            break;
        }
        left_out -= count;
        ends[run] -= above;
        firsts[run] += !above;
        reach[run] = reach_of(means, centres[run], firsts[run], ends[run]);
        sink(reach, heap, k, 0);
    }
    for (int run = 0; run < k; run++) {
        firsts[run] = (int64_t)counts[firsts[run]];
        ends[run] = (int64_t)counts[ends[run]];
    }
    *place += (int64_t)some;
}

/* For each end in [from, to] the most that runs up to it explain, the last of them from a start in [low, high]: the best
   start never falls as the end grows, so that the middle end's parts the starts between the halves. */
static void one_more(const double *counts, const double *sums, const double *before, double *explained, int32_t *came,
                     int32_t from, int32_t to, int32_t low, int32_t high)
{
    while (from <= to) {
        const int32_t end = from + (to - from) / 2;
        explained[end] = -1.0;
        for (int32_t start = low; start <= high && start < end; start++) {
            const double sum = sums[end] - sums[start];
            const double all = before[start] + sum * sum / (counts[end] - counts[start]);
            if (all > explained[end]) {
                explained[end] = all;
                came[end] = start;
            }
        }
        one_more(counts, sums, before, explained, came, from, end - 1, low, came[end]);
        from = end + 1;
        low = came[end];
    }
}

/* The `size` runs of least distortion, that is of most sum^2 / count, of so many bins, from the counts and the sums
   before each and at the end. came[run, end], where run 0 is the second: its start. `explained` holds both of two rows
   of bins + 1 numbers. */
void best_parts(const double *counts, const double *sums, int bins, int size, double *explained, int32_t *came)
{
    double *before = explained + bins + 1;
    for (int end = 1; end <= bins; end++)
        explained[end] = sums[end] * sums[end] / counts[end];
    for (int run = 1; run < size; run++, came += bins + 1) {
        double *const found = before;
        before = explained;
        explained = found;
        one_more(counts, sums, before, explained, came, run + 1, bins, run, bins);
    }
}
