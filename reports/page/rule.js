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

// The lower 95 % bound of an accuracy: sweep.intervals.wilson.
function lowOf(accuracy, n, { z, square }) {
  const centre = accuracy + square / (2 * n);
  const half = z * Math.sqrt((accuracy * (1 - accuracy)) / n + square / (4 * n * n));
  return Math.max((centre - half) / (1 + square / n), 0);
}

// The upper 95 % bound of a drop, of the answers that a model lost and won: sweep.intervals.paired_drop.
function dropOf(lost, less, n, { z }) {
  const total = n + 2;
  const [away, back] = [lost + 0.5, lost - less + 0.5];
  const spread = Math.max(away + back - ((away - back) * (away - back)) / total, 0);
  return (away - back) / total + (z * Math.sqrt(spread)) / total;
}

// By how much the 95 % bound of each seed clears what is asked of it.
function boundsOf(row, terms) {
  if (!terms.confident) return [];
  if (terms.target.kind === "min_accuracy") {
    return row.accuracies.map((accuracy) => lowOf(accuracy, row.n, terms) - terms.threshold);
  }
  const right = Math.round(terms.referenceAccuracy * row.n);
  return row.accuracies.map((accuracy, place) => {
    const lost = row.lost[place];
    if (lost === null) return -Infinity;
    const less = right - Math.round(accuracy * row.n);
    return terms.target.value - (Number.isInteger(lost) ? dropOf(lost, less, row.n, terms) : lost);
  });
}

// By how much a row clears the threshold: its worst seed does, or where winners are confirmed, its mean at least.
function marginOf(row, terms) {
  const margins = row.accuracies.map((accuracy) => accuracy - terms.threshold);
  const bounds = boundsOf(row, terms);
  if (!terms.confirm || row.method === "dc" || !enoughSeeds(row, terms)) return Math.min(...margins, ...bounds);
  const fresh = margins.slice(1);
  if (terms.noise === null) return -Infinity;
  const mean = fsum(fresh) / fresh.length - (terms.student * terms.noise) / Math.sqrt(fresh.length);
  return Math.min(mean, ...bounds);
}

// Which of two rows is the better miss at one margin: the one that costs less, then the first by the name of its job.
function missesFirst(one, other, by) {
  if (one[by] !== other[by]) return one[by] < other[by];
  return one.ids[one.best] < other.ids[other.best];
}

// Without a target: the row at the knee of the front.
function bendOf(row) {
  return { threshold: null, margins: new Map(), meeting: new Set(), feasible: true, row, runnerUp: null, shortfall: 0 };
}

// The row of least `by` that meets the target, else the nearest miss. `order` are those of `rows` that can be chosen,
// cheapest first.
function choose(order, { rows, target, by, rule, referenceAccuracy, confident }) {
  const threshold = thresholdOf(target, referenceAccuracy);
  const noise = rule.confirm ? pooledNoise(rows, threshold) : null;
  const terms = { ...rule, threshold, noise, target, referenceAccuracy, confident };
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
