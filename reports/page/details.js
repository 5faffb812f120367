// The details of one candidate: its seeds, its command, and the curves of its LC steps, from a script beside the page.

const CURVES = { step: 0, mu: 1, loss: 2, gap: 3, error: 4 };
const scripts = new Map();
const curves = {};
const layers = {};
window.lcsweepCurves = (jobs) => Object.assign(curves, jobs);
window.lcsweepLayers = (jobs) => Object.assign(layers, jobs);

// The columns of a job's curves, or null where there are none. One script holds all jobs whose ids begin alike.
async function curvesOf(job, there) {
  const start = job.slice(0, 2);
  if (!there.includes(start)) return null;
  if (!scripts.has(start)) {
    const script = element("script", { src: `curves/${start}.js` });
    scripts.set(start, new Promise((resolve) => (script.onload = script.onerror = resolve)));
    document.head.append(script);
  }
  await scripts.get(start);
  return Object.hasOwn(curves, job) ? curves[job] : null;
}

// The range of some numbers, with a margin on either side: on a log scale where they are positive and far apart.
function rangeOf(values) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const log = low > 0 && high / low > 5;
  const margin = log ? (high / low) ** 0.06 : (high - low || Math.abs(high) || 1) * 0.06;
  return log
    ? { low: low / margin, high: high * margin, log, bend: null }
    : { low: low - margin, high: high + margin, log, bend: null };
}

// A small chart of one column over the LC steps, with a line for each seed.
function drawCurve({ title, write, column, of = (value) => value }, jobs, colour) {
  const pairs = (job) => job[CURVES.step].map((step, k) => [step, job[column][k] === null ? null : of(job[column][k])]);
  const points = jobs.map((job) => pairs(job).filter(([, value]) => value !== null));
  const values = points.flat().map(([, value]) => value);
  const node = svg("svg", { viewBox: "0 0 300 170", role: "img", "aria-label": `${title} over the LC steps` });
  const range = values.length ? rangeOf(values) : null;
  node.append(text(4, 14, range?.log ? `${title} (log scale)` : title, { class: "curve-title" }));
  if (range === null) return node;
  const up = placer(range);
  const last = Math.max(...points.flat().map(([step]) => step), 1);
  const x = (step) => 58 + (step / last) * 230;
  const y = (value) => 142 - up(value) * 116;
  node.append(svg("path", { d: "M58 26V142H288", class: "frame" }));
  for (const value of new Set([Math.min(...values), Math.max(...values)])) {
    node.append(text(53, y(value) + 4, write(value), { "text-anchor": "end" }));
  }
  for (const step of [0, last]) node.append(text(x(step), 158, String(step), { "text-anchor": "middle" }));
  node.append(text(173, 158, "LC step", { "text-anchor": "middle", class: "quiet" }));
  for (const line of points) {
    const d = line.map(([step, value], k) => `${k ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    node.append(svg("path", { d, class: "curve", style: `stroke:var(--${colour})` }));
    if (!line.some(([step], k) => k && step > line[k - 1][0] + 1)) continue;
    for (const [step, value] of line) node.append(svg("circle", { cx: x(step), cy: y(value), r: 2, style: `fill:var(--${colour})` }));
  }
  return node;
}

function short(value) {
  const plain = value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5);
  return plain ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}

function makeDetails({ data }) {
  const panel = document.getElementById("details");
  const part = (name) => panel.querySelector(`[data-part="${name}"]`);
  const heads = part("of-seeds").querySelectorAll("th");
  let from = null;
  part("close").addEventListener("click", () => {
    panel.hidden = true;
    from?.focus();
  });

  async function drawCurves(row) {
    const place = part("curves");
    place.replaceChildren();
    part("no-curves").hidden = true;
    part("hurt").hidden = true;
    const found = await Promise.all(row.ids.map((job) => curvesOf(job, data.curves)));
    if (panel.dataset.row !== String(row.index)) return;
    const jobs = found.filter((job) => job !== null);
    part("no-curves").hidden = jobs.length > 0;
    drawLayers(row);
    if (jobs.length === 0) return;
    const colour = data.series[row.series].colour;
    const { noun, unit, fraction, shown } = data.metric;
    const write = fraction ? (v) => (100 * v).toFixed(2) : short;
    const measured = { title: `validation ${noun}${unit && `, ${unit}`}`, write, column: CURVES.error, of: shown };
    const gap = "gap: \u2016w \u2212 \u0394(\u0398)\u2016 / \u2016\u0394(\u0398)\u2016";
    const others = { loss: "training loss of the L step", gap, mu: "\u03bc" };
    const panels = Object.entries(others).map(([name, title]) => ({ title, write: short, column: CURVES[name] }));
    place.append(...[measured, ...panels].map((panel) => drawCurve(panel, jobs, colour)));
  }

  // Which layers hurt: the error when only that layer is compressed, without training, and a bar for its rise.
  function drawLayers(row) {
    const found = (Object.hasOwn(layers, row.ids[row.best]) ? layers[row.ids[row.best]] : []).filter((one) => one[4] !== null);
    part("hurt").hidden = found.length === 0;
    if (found.length === 0) return;
    const { metric } = data;
    const [, , , , , whole, n] = found[0];
    part("alone").textContent = `The reference has ${metric.ofError(whole)} on the same ${count(n)} examples.`;
    const most = Math.max(...found.map((one) => one[4] - whole), 0);
    const heads = [...panel.querySelectorAll('[data-part="hurt"] th')].map((head) => head.textContent);
    const lines = found.map(([name, shape, kept, bits, error]) => {
      const bar = element("span", { class: "bar" });
      const width = most > 0 ? (60 * Math.max(error - whole, 0)) / most : 0;
      bar.style.width = `${width}px`;
      bar.style.marginRight = `${60 - width}px`; // the numbers are below one another
      const cells = [name, shape, percent(kept), short(bits), metric.bare.ofError(error)];
      const line = cells.map((words, k) => element("td", { class: k > 1 ? "n" : "", "data-label": heads[k] }, words));
      line.at(-1).append(bar);
      return element("tr", {}, ...line);
    });
    part("layers").replaceChildren(...lines);
  }

  function seedLine(row, place, threshold) {
    const meets = threshold === null ? "" : row.scores[place] - threshold >= 0 ? YES : "";
    const exported = place === row.best ? YES : "";
    const cells = [String(row.seeds[place]), data.metric.value(row.values[place]), meets, exported, row.ids[place]];
    const looks = ["n", "n", "c", "c", "code"];
    const label = (k) => heads[k].textContent;
    return element("tr", {}, ...cells.map((words, k) => element("td", { class: looks[k], "data-label": label(k) }, words)));
  }

  return function open(row, threshold) {
    from = document.activeElement;
    panel.hidden = false;
    panel.dataset.row = row.index;
    part("name").replaceChildren(glyphOf(row, data), row.name);
    const facts = [
      `${count(row.bytes)} bytes, ${smaller(row.ratio)} than the reference's ${count(data.reference.bytes)}`,
      `${count(row.macs)} MACs${row.speed}`,
      `validation ${data.metric.noun} ${data.metric.ofRow(row)}, n = ${count(row.n)}`,
    ];
    if (row.direct !== null) facts.push(`direct compression, before any training: ${data.metric.ofError(row.direct)}`);
    if (row.gap !== null) facts.push(`gap at the end ${percent(row.gap)}`);
    if (row.seconds !== null) facts.push(`${duration(row.seconds)} of work`);
    part("facts").textContent = `${facts.join("; ")}.`;
    part("seeds").replaceChildren(...row.seeds.map((_, place) => seedLine(row, place, threshold)));
    part("command").textContent = `${data.commands.export} --job ${row.ids[row.best]} ${data.commands.out}`;
    drawCurves(row);
    part("name").focus();
  };
}
