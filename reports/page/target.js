// The target that the reader sets by a kind, a number and a slider. The command holds exactly its value.

// The slider's steps: whole numbers of a power of ten, a hundredth of a point of a fraction, else a thousandth of the
// figure's range or so. A whole number over a power of ten is the same double as its decimals read by the command line.
function makeSteps({ metric, error, edge }) {
  const digits = metric.fraction ? 4 : 3 - Math.floor(Math.log10(edge - Math.min(error.low, 0)));
  return {
    of: (value) => (digits < 0 ? value / 10 ** -digits : value * 10 ** digits),
    value: (steps) => (digits < 0 ? steps * 10 ** -digits : steps / 10 ** digits),
  };
}

// The slider's range, in steps. `edge` is the error above which the figure's scale is compressed.
function sliderRange(kind, { data, steps, edge }) {
  const { metric, error, reference } = data;
  if (kind === "max_drop") {
    const most = Math.max(Math.ceil(steps.of(edge - metric.error(reference.value)) / 50) * 50, 100);
    return [0, metric.fraction ? Math.min(most, steps.of(1)) : most];
  }
  const ends = [edge, Math.min(error.low, 0)].map((e) => steps.of(metric.error(e)));
  return [Math.floor(Math.min(...ends)), Math.ceil(Math.max(...ends))];
}

// The values at which the slider stops, in steps: about a hundred round ones, and for each model the first that it meets.
// So the slider is fine where the models are. `needed` holds the scores that targets may ask for at most to be met.
function sliderStops(kind, { data, steps, edge, needed }) {
  const [least, most] = sliderRange(kind, { data, steps, edge });
  const rough = Math.max((most - least) / 100, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const round = Math.round([1, 2, 5, 10].find((factor) => factor * power >= rough) * power);
  const stops = new Set([least, most]);
  for (let stop = Math.ceil(least / round) * round; stop < most; stop += round) stops.add(stop);
  const { metric, reference } = data;
  for (const score of needed) {
    const drops = kind === "max_drop";
    const value = steps.of(drops ? metric.score(reference.value) - score : metric.score(score));
    stops.add(drops || !metric.higher ? Math.ceil(value - 1e-9) : Math.floor(value + 1e-9));
  }
  return [...stops].filter((stop) => stop >= least && stop <= most).sort((one, other) => one - other);
}

// The value that a text holds; NaN where it is none. Percent are divided by moving the decimal point in the text, so that
// 1.23 points are exactly the double 0.0123.
function readValue(words, kind, { fraction }) {
  const number = fraction ? /^(\d*\.?\d+|\d+\.)$/ : /^-?(\d*\.?\d+|\d+\.)(e[-+]?\d+)?$/i;
  const value = number.test(words) ? Number(fraction ? `${words}e-2` : words) : NaN;
  const fits = fraction ? value >= 0 && value <= 1 : Number.isFinite(value) && (kind !== "max_drop" || value >= 0);
  return fits ? value : NaN;
}

function makeTarget({ data, needed, change }) {
  const [kind, number, slider, unit] = ["kind", "number", "slider", "unit"].map((id) => document.getElementById(id));
  const bound = document.getElementById("bound");
  const { metric } = data;
  const referenceScore = metric.score(data.reference.value);
  const high = data.error.bend ?? data.error.high;
  const edge = metric.fraction ? Math.min(high, 1) : high;
  const steps = makeSteps({ metric, error: data.error, edge });
  const known = {}; // kind -> the slider's stops
  const stopsOf = (kind) => (known[kind] ??= sliderStops(kind, { data, steps, edge, needed }));
  let target = data.target;

  function show() {
    kind.value = target?.kind ?? "none";
    const asked = target !== null && target.kind !== "knee";
    for (const node of [number, slider, unit, bound]) node.hidden = !asked;
    if (!asked) return;
    const stops = stopsOf(target.kind);
    const place = stops.findIndex((stop) => stop >= steps.of(target.value) - 1e-9);
    slider.min = 0;
    slider.max = stops.length - 1;
    slider.value = place < 0 ? stops.length - 1 : place;
    slider.setAttribute("aria-valuetext", `${number.value} ${unit.textContent}`);
    unit.textContent = metric.fraction && target.kind === "max_drop" ? "points" : metric.unit;
  }

  function write() {
    if (target === null || target.kind === "knee") return;
    number.value = String(Number(((metric.fraction ? 100 : 1) * target.value).toPrecision(12)));
  }

  function set(next) {
    target = next;
    show();
    change(target);
  }

  kind.addEventListener("change", () => {
    const known = target !== null && target.kind !== "knee";
    const usual = metric.fraction ? 0.01 : 0.01 * Math.abs(referenceScore);
    const score = known ? thresholdOf(target, { metric, referenceScore }) : referenceScore - usual;
    const near = (value) => steps.value(Math.round(steps.of(metric.fraction ? Math.min(Math.max(value, 0), 1) : value)));
    const values = { max_drop: near(Math.max(referenceScore - score, 0)), [metric.kind]: near(metric.score(score)) };
    set(kind.value === "none" ? null : { kind: kind.value, value: values[kind.value] ?? null });
    write();
  });
  slider.addEventListener("input", () => {
    target = { kind: target.kind, value: steps.value(stopsOf(target.kind)[Number(slider.value)]) };
    write();
    set(target);
  });
  number.addEventListener("input", () => {
    const value = readValue(number.value, target.kind, metric);
    const asked = metric.fraction ? " from 0 to 100" : target.kind === "max_drop" ? " of 0 or more" : "";
    number.setCustomValidity(Number.isNaN(value) ? `expected a number${asked}` : "");
    number.reportValidity();
    if (!Number.isNaN(value)) set({ kind: target.kind, value });
  });
  write();
  show();
  return target;
}
