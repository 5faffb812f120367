// The choice, by the rule of sweep/pick.py and sweep/noise.py on the same doubles: what this picks, `lcsweep pick` picks.

// The sum rounded once, as Python's math.fsum: partial sums that do not overlap (Shewchuk 1997), then half to even.
function fsum(values) {
  const partials = [];
  for (let x of values) {
    let kept = 0;
    for (let y of partials) {
      if (Math.abs(x) < Math.abs(y)) [x, y] = [y, x];
      const high = x + y;
      const low = y - (high - x);
      if (low !== 0) partials[kept++] = low;
      x = high;
    }
    partials.length = kept;
    partials.push(x);
  }
  let high = partials.pop() ?? 0;
  let low = 0;
  while (partials.length && low === 0) {
    const x = high;
    const y = partials.pop();
    high = x + y;
    low = y - (high - x);
  }
  const next = partials.at(-1) ?? 0;
  if ((low < 0 && next < 0) || (low > 0 && next > 0)) {
    const twice = 2 * low;
    if (twice === high + twice - high) high += twice;
  }
  return high;
}

// The least accuracy that meets the target, less what the difference may be rounded by.
function thresholdOf(target, referenceAccuracy) {
  return target.kind === "min_accuracy" ? target.value : referenceAccuracy - target.value - 1e-12;
}

// The standard deviation of one result about its configuration's mean, pooled; null where no configuration has two.
function pooledNoise(rows, threshold) {
  let squares = 0;
  let dof = 0;
  for (const row of rows) {
    const n = row.accuracies.length;
    if (row.method !== "lc" || n < 2) continue;
    const margins = row.accuracies.map((accuracy) => accuracy - threshold);
    const mean = fsum(margins) / n;
    squares += fsum(margins.map((margin) => (margin - mean) ** 2));
    dof += n - 1;
  }
  return dof ? Math.sqrt(squares / dof) : null;
}

function enoughSeeds(row, rule) {
  return row.method === "dc" || row.seeds.length >= (rule.confirm ? 1 + rule.confirm : rule.repeats);
}

// By how much a row clears the threshold: its worst seed does, or where winners are confirmed, its mean at least.
function marginOf(row, terms) {
  const margins = row.accuracies.map((accuracy) => accuracy - terms.threshold);
  if (!terms.confirm || row.method === "dc" || !enoughSeeds(row, terms)) return Math.min(...margins);
  const fresh = margins.slice(1);
  if (terms.noise === null) return -Infinity;
  return fsum(fresh) / fresh.length - (terms.student * terms.noise) / Math.sqrt(fresh.length);
}

// Which of two rows is the better miss at one margin: the one that costs less, then the first by the name of its job.
function missesFirst(one, other, by) {
  if (one[by] !== other[by]) return one[by] < other[by];
  return one.ids[one.shipped] < other.ids[other.shipped];
}

// The row of least `by` that meets the target, else the nearest miss. `order` are the rows, cheapest first.
function choose(order, { target, by, rule, referenceAccuracy }) {
  const threshold = thresholdOf(target, referenceAccuracy);
  const noise = rule.confirm ? pooledNoise(order, threshold) : null;
  const terms = { ...rule, threshold, noise };
  const margins = new Map(order.map((row) => [row, marginOf(row, terms)]));
  const meeting = order.filter((row) => enoughSeeds(row, rule) && margins.get(row) >= 0);
  const found = { threshold, margins, meeting: new Set(meeting), feasible: meeting.length > 0 };
  if (found.feasible) return { ...found, row: meeting[0], runnerUp: meeting[1] ?? null, shortfall: 0 };
  let nearest = null;
  for (const row of order) {
    const margin = margins.get(row);
    if (margin >= 0) continue;
    const best = nearest === null ? -Infinity : margins.get(nearest);
    if (nearest === null || margin > best || (margin === best && missesFirst(row, nearest, by))) nearest = row;
  }
  const unconfirmed = order.find((row) => margins.get(row) >= 0) ?? null;
  return { ...found, row: nearest, unconfirmed, shortfall: nearest === null ? 0 : -margins.get(nearest) };
}
