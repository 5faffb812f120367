// Numbers as the reports write them, as reports/facts/numbers.py does.

const NONE = "\u2013";
const YES = "\u2713";
const count = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 0 });
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const percent = (fraction) => `${(100 * fraction).toFixed(2)}\u00a0%`;
const percentRange = (low, high) => `${(100 * low).toFixed(2)}\u2013${percent(high)}`;

// A number with four figures.
function figures(number) {
  const size = Math.abs(number);
  if (number === 0) return "0";
  if (size >= 9999.5 && size < 1e9) return count(number);
  return size >= 1e9 || size < 1e-4 ? number.toExponential(3).replace("e+", "e") : number.toPrecision(4);
}

// The same without zeros at its end.
function plain(number) {
  const [digits, exponent] = figures(number).split("e");
  const kept = digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
  return exponent === undefined ? kept : `${kept}e${exponent}`;
}

function points(fraction) {
  const shown = 100 * fraction;
  if (shown === 0 || Math.abs(shown) >= 0.01) return `${shown.toFixed(2)}\u00a0points`;
  return `${Number(shown.toPrecision(2))}\u00a0points`;
}

function ratio(value) {
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}\u00d7`;
}

function smaller(value) {
  if (value === 1) return "no smaller";
  return value > 1 ? `${ratio(value)} smaller` : `${ratio(1 / value)} larger`;
}

function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)}\u00a0s`;
  if (seconds < 120) return `${seconds.toFixed(0)}\u00a0s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)}\u00a0min`;
  return `${(seconds / 3600).toFixed(1)}\u00a0h`;
}

// The metric: its scores and errors as sweep/store/metric.py has them, and its values as reports/facts/units.py writes
// them. `score` and `error` are their own inverses.
function makeMetric(metric) {
  const { unit, fraction, higher, best } = metric;
  const withUnit = (words) => (unit ? `${words}\u00a0${unit}` : words);
  const error = (value) => (higher ? best - value : value);
  const shown = (e) => (metric.by_error ? e : error(e));
  const value = fraction ? percent : (v) => withUnit(figures(v));
  const limit = fraction ? percent : (v) => withUnit(plain(v));
  const range = fraction ? percentRange : (low, high) => `${figures(low)}\u2013${value(high)}`;
  const rises = metric.by_error || !higher;
  const made = {
    ...metric,
    score: (v) => (higher ? v : -v),
    error,
    shown,
    value,
    limit,
    range,
    change: fraction ? points : (difference) => withUnit(figures(difference)),
    ofError: (e) => value(shown(e)),
    atMost: (e) => `${rises ? "\u2264" : "\u2265"} ${limit(shown(e))}`,
    ofRow: (row) => {
      const mean = value(shown(row.mean));
      const [low, high] = [shown(row.least), shown(row.most)].sort((one, other) => one - other);
      return row.seeds.length === 1 ? mean : `${mean} (${range(low, high)})`;
    },
  };
  // The same without the unit, where a title has it. Percent keep their sign.
  return { ...made, bare: unit && !fraction ? makeMetric({ ...metric, unit: "" }) : made };
}

// The target in words, as reports/facts/target.py has it.
function targetWords(target, threshold, { metric, reference }) {
  const bound = metric.higher ? "least" : "most";
  const words = `validation ${metric.label} of at ${bound} ${metric.limit(metric.score(threshold))}`;
  if (target.kind !== "max_drop") return words;
  const drop = metric.fraction ? String(Number((100 * target.value).toPrecision(4))) : plain(target.value);
  const unit = metric.fraction ? ` point${drop === "1" ? "" : "s"}` : metric.unit && ` ${metric.unit}`;
  return `${words} (the reference's ${metric.limit(reference.value)} ${metric.higher ? "less" : "plus"} ${drop}${unit})`;
}
