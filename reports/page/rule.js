// The states and the choice, by the rule of sweep/criteria.py and sweep/pick/choice.py, on the same doubles, so that the
// page picks what `lcsweep pick` picks. tests/integration/test_page_rule.py compares the two.

const STATES = ["confirmed", "unconfirmed", "missed"];

// The exact sum, rounded once, half to even, as Python's math.fsum: by partial sums that do not overlap (Shewchuk 1997).
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

// The least score that meets the target: Target.threshold.
function thresholdOf(target, { metric, referenceScore }) {
  if (target.kind === "max_drop") return referenceScore - target.value - 1e-12 * Math.max(1, Math.abs(referenceScore));
  return metric.higher ? target.value : -target.value;
}

// The standard deviation of one result about its candidate's mean, pooled over the trained candidates; null where no
// candidate has two results: sweep.intervals.pooled.
function pooledNoise(rows, threshold, { untrained }) {
  const squares = [];
  let dof = 0;
  for (const row of rows) {
    const n = row.scores.length;
    if (untrained.includes(row.method) || n < 2) continue;
    const margins = row.scores.map((score) => score - threshold);
    const mean = fsum(margins) / n;
    for (const margin of margins) squares.push((margin - mean) * (margin - mean));
    dof += n - 1;
  }
  return dof ? Math.sqrt(fsum(squares) / dof) : null;
}

// The lower 95 % bound of an accuracy: sweep.intervals.wilson.
function lowOf(accuracy, n, { z, square }) {
  const centre = accuracy + square / (2 * n);
  const half = z * Math.sqrt((accuracy * (1 - accuracy)) / n + square / (4 * n * n));
  return Math.max((centre - half) / (1 + square / n), 0);
}

// The upper 95 % bound of a drop, from the answers that a model lost and won: sweep.intervals.paired_drop.
function dropOf(lost, less, n, { z }) {
  const total = n + 2;
  const [away, back] = [lost + 0.5, lost - less + 0.5];
  const spread = Math.max(away + back - ((away - back) * (away - back)) / total, 0);
  return (away - back) / total + (z * Math.sqrt(spread)) / total;
}

// The margin of each seed's 95 % bound; none unless they are asked for. Where the score is a share of right answers, the
// bounds follow from counts; else the data have them.
function marginsOfBounds(row, criteria) {
  if (!criteria.confident) return [];
  if (criteria.target.kind !== "max_drop") {
    const lows = row.lows ?? row.scores.map((share) => lowOf(share, row.n, criteria));
    return lows.map((low) => low - criteria.threshold);
  }
  if (row.drops) return row.drops.map((drop) => (drop === null ? -Infinity : criteria.target.value - drop));
  const right = Math.round(criteria.referenceScore * row.n);
  return row.scores.map((share, place) => {
    const lost = row.lost[place];
    if (lost === null) return -Infinity;
    const less = right - Math.round(share * row.n);
    return criteria.target.value - (Number.isInteger(lost) ? dropOf(lost, less, row.n, criteria) : lost);
  });
}

// The margin of a row: Criteria.margin_of.
function marginOf(row, criteria) {
  const scores = fresh(row.scores);
  const rounding = scores.length > 1 ? 1e-12 * Math.max(1, Math.abs(criteria.threshold)) : 0;
  return Math.min(fsum(scores) / scores.length - criteria.threshold + rounding, ...marginsOfBounds(row, criteria));
}

// "confirmed", "unconfirmed" or "missed": Criteria.state_of.
function stateOf(row, criteria) {
  if (!(marginOf(row, criteria) >= 0)) return "missed";
  if (criteria.untrained.includes(row.method)) return "confirmed";
  const margins = row.scores.map((score) => score - criteria.threshold).slice(1);
  if (margins.length < criteria.confirm || criteria.noise === null) return "unconfirmed";
  const least = fsum(margins) / margins.length - (criteria.student * criteria.noise) / Math.sqrt(margins.length);
  return least >= 0 ? "confirmed" : "unconfirmed";
}

// How many seeds in all would confirm a row; null where no number is expected to: Criteria.seeds_to_confirm.
function seedsToConfirm(row, criteria) {
  const known = row.scores.length - 1;
  const margin = marginOf(row, { ...criteria, confident: false });
  const wide = criteria.noise === null ? 0 : criteria.student * criteria.noise;
  const needed = wide === 0 ? 0 : margin > 0 ? Math.ceil((wide / margin) * (wide / margin)) : Infinity;
  if (needed > Math.max(criteria.most * criteria.confirm, 2 * known)) return null;
  return 1 + Math.max(needed, criteria.confirm, known + 1);
}

// What further seeds would be spent on, and how many seeds from the first one on, null where none are expected to do:
// Choice.to_confirm and sweep.pick.confirming; null where there is nothing to confirm.
function toConfirm({ row, state, better, criteria }) {
  const found = better ?? (state === "unconfirmed" ? row : null);
  if (found === null) return null;
  const known = new Set(found.seeds);
  const needed = seedsToConfirm(found, criteria);
  if (needed === null) return { row: found, repeats: null };
  let repeats = 1;
  while (known.size < needed) known.add(found.seeds[0] + repeats++);
  return { row: found, repeats };
}

// The scores at which the state of a row changes: up to one it meets the target so far, up to a lesser one it is confirmed.
function scoresMet(rows, { rule, metric, reference }) {
  const threshold = metric.score(reference.value);
  const noise = pooledNoise(rows, threshold, rule);
  const criteria = { ...rule, threshold, noise, confident: false };
  const found = rows.flatMap((row) => {
    const mean = threshold + marginOf(row, criteria);
    return [mean, mean - (rule.student * noise) / Math.sqrt(Math.max(row.scores.length - 1, 1))];
  });
  return found.filter(Number.isFinite);
}

// Whether `one` goes before `other`, two misses with the same margin: the cheaper one does, then the lesser id.
function missesFirst(one, other, by) {
  if (one[by] !== other[by]) return one[by] < other[by];
  return one.ids[one.best] < other.ids[other.best];
}

// The choice without a target: the row at the knee of the front.
function kneeChoice(row) {
  const nothing = { runnerUp: null, better: null, nextSmaller: null };
  return { threshold: null, margins: new Map(), states: new Map(), feasible: true, row, state: null, margin: 0, ...nothing };
}

// The cheapest row that is confirmed, else the cheapest that is unconfirmed, else the nearest miss. `order` holds those of
// `rows` that can be chosen, the cheapest first.
function choose(order, { rows, target, by, rule, metric, referenceScore, confident }) {
  const threshold = thresholdOf(target, { metric, referenceScore });
  const criteria = { ...rule, threshold, noise: pooledNoise(rows, threshold, rule), target, referenceScore, confident };
  const margins = new Map(rows.map((row) => [row, marginOf(row, criteria)]));
  const states = new Map(rows.map((row) => [row, stateOf(row, criteria)]));
  const meeting = STATES.slice(0, 2).flatMap((state) => order.filter((row) => states.get(row) === state));
  const found = { threshold, criteria, margins, states, feasible: meeting.length > 0 };
  if (found.feasible) {
    const [row, runnerUp = null] = meeting;
    const cheaper = order.slice(0, order.indexOf(row));
    const below = (other) => other[by] < row[by] && margins.get(other) > -Infinity;
    const nextSmaller = [...cheaper].reverse().find(below) ?? null;
    const better = cheaper.find((other) => states.get(other) === "unconfirmed") ?? null;
    return { ...found, row, state: states.get(row), margin: margins.get(row), runnerUp, better, nextSmaller };
  }
  let nearest = null;
  for (const row of order) {
    const margin = margins.get(row);
    const best = nearest === null ? -Infinity : margins.get(nearest);
    if (nearest === null || margin > best || (margin === best && missesFirst(row, nearest, by))) nearest = row;
  }
  const margin = nearest === null ? 0 : margins.get(nearest);
  return { ...found, row: nearest, state: nearest && "missed", margin, runnerUp: null, better: null, nextSmaller: null };
}
