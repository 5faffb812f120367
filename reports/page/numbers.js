// Numbers as the reports write them, as reports/facts/numbers.py does.

const NONE = "\u2013";
const YES = "\u2713";
const count = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 0 });
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const percent = (fraction) => `${(100 * fraction).toFixed(2)}\u00a0%`;
const percentRange = (low, high) => `${(100 * low).toFixed(2)}\u2013${percent(high)}`;

function points(fraction) {
  const shown = 100 * fraction;
  if (shown === 0 || Math.abs(shown) >= 0.01) return `${shown.toFixed(2)}\u00a0points`;
  return `${Number(shown.toPrecision(2))}\u00a0points`;
}

function ratio(value) {
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}\u00d7`;
}

function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)}\u00a0s`;
  if (seconds < 120) return `${seconds.toFixed(0)}\u00a0s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)}\u00a0min`;
  return `${(seconds / 3600).toFixed(1)}\u00a0h`;
}

function errorWords(row) {
  return row.seeds.length === 1 ? percent(row.mean) : `${percent(row.mean)} (${percentRange(row.least, row.most)})`;
}

// The target in words, as reports/facts/target.py has it.
function targetWords(target, threshold, referenceAccuracy) {
  const words = `validation accuracy of at least ${percent(threshold)}`;
  if (target.kind === "min_accuracy") return words;
  const drop = String(Number((100 * target.value).toPrecision(4)));
  return `${words} (the reference's ${percent(referenceAccuracy)} less ${drop} point${drop === "1" ? "" : "s"})`;
}
