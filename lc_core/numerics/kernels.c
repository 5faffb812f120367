/* Inner loops of one-dimensional k-means. kernels.py documents their arguments and results. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Functions marked WIDER are also built for AVX2 where the loader can choose between both. The results have the same
   bits. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define WIDER __attribute__((target_clones("avx2", "default")))
#else
#define WIDER
#endif

/* The compiler vectorises loops over a CHUNK of numbers. CELLS has the same value in kernels.py. */
enum { CHUNK = 512, CELLS = 4096 };

static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* Writes the bin of each x. Bins have equal widths and start at `low`. Values below the grid go into the first bin,
   values above it into the last, NaN into the first. Rounding never puts a larger x into a lower bin. */
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

/* Writes the x whose bins are open into `found`. The loop writes before it tests, so `found` must hold one value more.
   */
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

/* Writes ascending entries and returns their number. A closed bin with values is one entry. An open bin has one entry
   for each of its values, which are in `members` in ascending order. `entries` gets four rows of `length` numbers: the
   mean of each entry; then the counts, the sums and the squares of the values before each entry and, last, of all
   values. The squares assume that the values of a closed bin have the mean square distance `spread` from its mean. */
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

/* The first border that is in this cell or a later one, and the number of borders before it. */
struct cell { float border; int32_t before; };

/* Writes how many of the k ascending borders lie below each x. k + 1 infinite borders must follow them in memory. */
WIDER void borders_passed(const float *restrict x, ptrdiff_t n, const float *restrict borders, int k, float low,
                          float scale, int32_t *restrict passed)
{
    struct cell cells[CELLS];
    int32_t places[CHUNK];
    int most = 1; /* a power of two; the steps most, most / 2, ..., 1 together pass all borders of any cell */
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
        for (ptrdiff_t i = 0; i < count; i++) { /* borders of later cells are not below x */
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

/* Finds the runs of least total distortion by dynamic programming. `places` is (layers + 1, a). The run of a layer
   starts at one of the a places of its row and ends at one of the places of the next row, not before its start. Writes
   to came[layer, end] the best start of the run that ends there; of equal ones, the first. `best` holds 2 a numbers. */
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

/* Moves the run at `place` of the heap down, below all runs with a larger reach. */
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

/* Removes the `left_out` values that are farthest from their centres from the k runs of entries [first, end), one run
   for each centre. These values are always at the ends of runs. Entries have ascending means; `counts` holds the number
   of values before each. On return, `firsts` and `ends` count values, not entries: a part of the last entry may stay.
   */
void outermost_gone(const double *means, const double *counts, const double *centres, int k, double left_out,
                    int64_t *firsts, int64_t *ends, double *reach, int32_t *heap)
{
    double some = 0.0; /* how many values of the last entry go */
    int64_t *place = firsts; /* the end of the run from which they go */
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

/* For each end in [from, to], finds the largest sum of sum^2 / count over runs up to it, where the last run starts in
   [low, high]. The best start never falls as the end grows. So the best start of the middle end bounds the starts of
   both halves. */
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

/* Finds the `size` runs of bins of least distortion, which is the largest sum of sum^2 / count. `counts` and `sums` are
   of the values before each bin and, last, of all. Writes the start of each run but the first: came[0, end] is that of
   the second run. `explained` holds two rows of bins + 1 numbers. */
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
