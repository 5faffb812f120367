// What the figure consists of: dominated points on a canvas, for speed, and all else as SVG above it.

// The figure's size and where its plot lies, in its own units: for wide pages, and for narrow ones as on a phone.
const WIDE = { width: 1040, height: 560, left: 66, right: 944, top: 60, bottom: 500 };
const NARROW = { width: 430, height: 500, left: 50, right: 350, top: 58, bottom: 440 };
// Matplotlib's letter of a marker -> its outline, with a radius of about 1.
const SHAPES = {
  o: "M-1 0A1 1 0 1 0 1 0A1 1 0 1 0-1 0Z",
  s: "M-.9-.9H.9V.9H-.9Z",
  "^": "M0-1.15L1.08.95H-1.08Z",
  v: "M0 1.15L1.08-.95H-1.08Z",
  D: "M0-1.2L1.2 0L0 1.2L-1.2 0Z",
  P: "M-.4-1.08H.4V-.4H1.08V.4H.4V1.08H-.4V.4H-1.08V-.4H-.4Z",
  X: "M0-.5L.6-1.1L1.1-.6L.5 0L1.1.6L.6 1.1L0 .5L-.6 1.1L-1.1.6L-.5 0L-1.1-.6L-.6-1.1Z",
  p: "M0-1.15L1.09-.36L.68.93H-.68L-1.09-.36Z",
  "<": "M-1.15 0L.95-1.08V1.08Z",
  ">": "M1.15 0L-.95-1.08V1.08Z",
  h: "M0-1.15L1-.58V.58L0 1.15L-1 .58V-.58Z",
};
const RING = 12; // the radius of the ring around the pick
const STAR = "M0-9L2.1-2.9L8.6-2.8L3.4 1.1L5.3 7.3L0 3.6L-5.3 7.3L-3.4 1.1L-8.6-2.8L-2.1-2.9Z";

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// A function from a value to its place on an axis, from 0 to 1, as reports/figures/scales.py has it.
function placer(axis) {
  const straight = (v) => (axis.log ? Math.log10(Math.max(v, 1e-6 * axis.low)) : v);
  const bend = axis.bend === null ? Infinity : straight(axis.bend);
  const bent = (v) => (v > bend ? bend + axis.slope * (v - bend) : v);
  const low = bent(straight(axis.low));
  const span = bent(straight(axis.high)) - low;
  return (v) => (bent(straight(v)) - low) / span;
}

function makeScales({ left, right, top, bottom }, cost, error) {
  const across = placer(cost);
  const up = placer(error);
  return {
    x: (v) => left + across(Math.max(v, cost.least)) * (right - left),
    y: (v) => bottom - up(v) * (bottom - top),
  };
}

// Those of the labels [place, words] that have space beside the one before, from left to right.
function spaced(labels) {
  let free = -Infinity;
  return labels.toSorted(([one], [other]) => one - other).filter(([place, words]) => {
    const half = 4 * words.length + 3;
    const fits = place - half > free;
    if (fits) free = place + half;
    return fits;
  });
}

// The path of a circle.
function circle(x, y, radius) {
  return `M${(x - radius).toFixed(1)} ${y.toFixed(1)}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0`;
}

function text(x, y, words, attributes = {}) {
  return svg("text", { x, y, ...attributes }, words);
}

// Ticks, titles and the frame, which do not change with the target.
function drawFrame(layer, { cost, error, scales, whole, frame }) {
  const { left, right, top, bottom, height: tall } = frame;
  for (const [x, words] of spaced(cost.ticks.map(([value, words]) => [scales.x(value), words]))) {
    layer.append(text(x, bottom + 20, words, { "text-anchor": "middle" }));
    layer.append(svg("path", { d: `M${x} ${bottom}v5`, class: "frame" }));
  }
  for (const [x, words] of spaced(cost.ratios.map(([value, words]) => [scales.x(whole / value), words]))) {
    layer.append(text(x, top - 10, words, { "text-anchor": "middle" }));
    layer.append(svg("path", { d: `M${x} ${top}v-5`, class: "frame" }));
  }
  for (const [value, words] of error.ticks) {
    layer.append(text(left - 9, scales.y(value) + 4.5, words, { "text-anchor": "end" }));
    layer.append(svg("path", { d: `M${left} ${scales.y(value)}h-5`, class: "frame" }));
  }
  const middle = (left + right) / 2;
  // What stands in brackets has no space in a narrow figure.
  const title = (words) => (frame === NARROW ? words.split(" (")[0] : words);
  layer.append(text(middle, tall - 14, title(cost.title), { "text-anchor": "middle" }));
  layer.append(text(middle, 20, title(cost.ratio), { "text-anchor": "middle" }));
  const turned = `rotate(-90 14 ${(top + bottom) / 2})`;
  layer.append(text(14, (top + bottom) / 2, error.title, { "text-anchor": "middle", transform: turned }));
  layer.append(svg("path", { d: `M${left} ${top}V${bottom}H${right}M${left} ${top}H${right}`, class: "frame" }));
  if (error.bend !== null) {
    const height = scales.y(error.bend);
    layer.append(svg("rect", { x: left, y: top, width: right - left, height: height - top, class: "bent" }));
    layer.append(svg("path", { d: `M${left} ${height}H${right}`, class: "bend" }));
    const centre = (top + height) / 2;
    layer.append(text(right + 7, centre - 4, "compressed", { class: "quiet" }));
    layer.append(text(right + 7, centre + 11, error.beyond, { class: "quiet" }));
  }
}

function markOf(row, data, { x, y, size }) {
  const series = data.series[row.series];
  return svg("path", {
    d: SHAPES[series.shape],
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${size})`,
    style: `fill:var(--${series.colour})`,
    class: "mark",
  });
}

// The front, the ranges of its seeds, and an arrow to each model from its direct compression.
// An arrow ends above the range of the seeds, so that the two do not lie over each other.
function drawFront(layer, rows, { data, cost, scales, shown }) {
  const front = rows.filter((row) => row.fronts.has(cost.key));
  const placed = (row) => [scales.x(row[cost.key]).toFixed(1), scales.y(row.mean).toFixed(1)];
  const steps = cheapestFirst(front, cost.key).map(placed);
  const stairs = steps.map(([x, y], place) => (place ? `H${x}V${y}` : `M${x} ${y}`));
  if (steps.length) layer.append(svg("path", { d: stairs.join(""), class: "stairs" }));
  for (const row of front) {
    if (!shown(row)) continue;
    const x = scales.x(row[cost.key]);
    const y = scales.y(row.mean);
    const colour = `stroke:var(--${data.series[row.series].colour})`;
    if (row.direct !== null) {
      const from = scales.y(row.direct);
      const down = Math.sign(y - from);
      const ends = [y, scales.y(row.least), scales.y(row.most)].map((end) => end * down);
      const tip = (Math.min(...ends, (y - RING * down) * down) - 3) * down;
      if ((tip - from) * down > 8) {
        const head = `M${x - 2.6} ${tip - 6 * down}L${x} ${tip}L${x + 2.6} ${tip - 6 * down}`;
        layer.append(svg("path", { d: `M${x} ${from}V${tip}${head}`, class: "arrow", style: colour }));
      }
      const direct = markOf(row, data, { x, y: from, size: 3 });
      direct.setAttribute("class", "direct");
      direct.setAttribute("style", colour);
      layer.append(direct);
    }
    if (row.seeds.length > 1) {
      const range = `M${x} ${scales.y(row.least)}V${scales.y(row.most)}`;
      layer.append(svg("path", { d: range, class: "range", style: colour }));
    }
    layer.append(markOf(row, data, { x, y, size: 5 }));
  }
}

// The target, the side that meets it, and the reference's error. Their names stand right of the plot and do not overlap.
function drawLevels({ under, over }, { threshold, data, scales, cost, frame }) {
  const { reference, metric } = data;
  const { ofError, atMost } = metric.bare;
  const { left, right, top, bottom } = frame;
  const level = scales.y(metric.error(reference.value));
  const names = [[level, "reference", ofError(metric.error(reference.value)), "ink"]];
  if (threshold !== null) {
    const limit = metric.error(metric.score(threshold));
    const asked = Math.min(Math.max(scales.y(limit), top), bottom);
    under.append(svg("rect", { x: left, y: asked, width: right - left, height: bottom - asked, class: "feasible" }));
    under.append(svg("path", { d: `M${left} ${asked}H${right}`, class: "target" }));
    names.push([asked, "target", atMost(limit), "feasible-text"]);
  }
  under.append(svg("path", { d: `M${left} ${level}H${right}`, class: "reference" }));
  over.append(svg("path", { d: STAR, transform: `translate(${scales.x(reference[cost.key])} ${level})`, class: "star" }));
  let highest = Infinity;
  for (const [height, first, second, colour] of names.sort((a, b) => b[0] - a[0])) {
    const base = Math.min(height + 11, highest, bottom + 11);
    over.append(text(right + 7, base - 14, first, { class: colour }), text(right + 7, base, second, { class: colour }));
    highest = base - 33;
  }
}

// The grid, and pale the dominated candidates with the ranges of their seeds.
function paintCloud(canvas, rows, { data, cost, error, scales, frame }) {
  const { left, right, top, bottom } = frame;
  const scale = Math.max(1.5, window.devicePixelRatio) * Math.max(1, canvas.clientWidth / frame.width);
  canvas.width = frame.width * scale;
  canvas.height = frame.height * scale;
  const style = getComputedStyle(document.documentElement);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.strokeStyle = style.getPropertyValue("--grid");
  pen.lineWidth = 0.8;
  pen.beginPath();
  for (const [value] of cost.ticks) pen.rect(scales.x(value), top, 0, bottom - top);
  for (const [value] of error.ticks) pen.rect(left, scales.y(value), right - left, 0);
  pen.stroke();
  const colours = data.series.map((series) => style.getPropertyValue(`--${series.colour}`));
  const outlines = data.series.map((series) => new Path2D(SHAPES[series.shape]));
  for (const row of rows) {
    const x = scales.x(row[cost.key]);
    pen.fillStyle = pen.strokeStyle = colours[row.series];
    if (row.seeds.length > 1) {
      pen.globalAlpha = 0.3;
      pen.lineWidth = 1.2;
      pen.strokeRect(x, scales.y(row.most), 0, scales.y(row.least) - scales.y(row.most));
    }
    pen.globalAlpha = 0.42;
    pen.setTransform(4.2 * scale, 0, 0, 4.2 * scale, x * scale, scales.y(row.mean) * scale);
    pen.fill(outlines[row.series]);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
  }
}
