// Parallel coordinates: an axis for each knob, for each cost and for the error, and a line for each candidate. Axes stand
// upright side by side; on a phone they lie one below the other. A brush on an axis keeps the candidates within it.

const UPRIGHT = { width: 1040, height: 330, first: 60, last: 980, low: 274, high: 50, none: 300 };
const LYING = { width: 430, step: 58, first: 44, low: 48, high: 405, none: 16 };
const MOST_TICKS = 8;

// The axis of a knob: where its levels stand, on a scale if all are numbers, else one after the other.
function knobAxis(name, rows) {
  const of = (row) => row.levels[row.knobs.indexOf(name)] ?? null;
  const levels = [...new Set(rows.map(of).filter((level) => level !== null))];
  const numbers = levels.map(Number);
  const scaled = numbers.every(Number.isFinite) && levels.every((level) => level !== "");
  const up = scaled ? placer(rangeOf(numbers)) : (place) => (place + 0.5) / levels.length;
  const place = new Map(levels.map((level, k) => [level, up(scaled ? numbers[k] : k)]));
  const ticks = levels.map((level) => [place.get(level), String(level)]).sort(([one], [other]) => one - other);
  return { key: `knob ${name}`, title: name, place: (row) => place.get(of(row)) ?? null, ticks };
}

function costAxis(cost) {
  const up = placer(cost);
  const place = (row) => (row[cost.key] === null ? null : up(Math.max(row[cost.key], cost.least)));
  return { key: cost.key, title: cost.name, place, ticks: cost.ticks.map(([value, words]) => [up(value), words]) };
}

function axesOf(rows, { costs, error, metric }) {
  const knobs = [...new Set(rows.flatMap((row) => row.knobs))];
  const up = placer(error);
  const ticks = error.ticks.map(([value, words]) => [up(value), words]);
  const measured = { key: "error", title: `${metric.noun}${metric.unit && `, ${metric.unit}`}`, place: (row) => up(row.mean), ticks };
  return [...knobs.map((name) => knobAxis(name, rows)), ...costs.map(costAxis), measured];
}

// The labels of an axis, fewer where there are many.
function fewer(ticks) {
  const every = Math.ceil(ticks.length / MOST_TICKS);
  return ticks.filter((_, k) => k % every === 0);
}

function makeParallel({ data, rows, change }) {
  const host = document.getElementById("parallel");
  const told = document.getElementById("brushed");
  const clear = document.getElementById("clear-brushes");
  const canvas = document.createElement("canvas");
  const drawing = svg("svg", {});
  host.append(canvas, drawing);
  const brushes = new Map(); // key of an axis -> its range of places, from 0 to 1
  let axes = [];
  let frame = UPRIGHT;
  let shown = [];
  let picked = null;

  const within = ([from, to], place) => place !== null && place >= from && place <= to;
  const kept = (row) => axes.every((axis) => !brushes.has(axis.key) || within(brushes.get(axis.key), axis.place(row)));

  // Where a place of the axis of this number is, [x, y]; below its low end for candidates that have no such knob.
  function at(number, place) {
    const along = place === null ? frame.none : frame.low + place * (frame.high - frame.low);
    if (frame !== UPRIGHT) return [along, frame.first + number * frame.step];
    return [frame.first + (number * (frame.last - frame.first)) / Math.max(axes.length - 1, 1), along];
  }

  const pathOf = (row) => axes.map((axis, number) => at(number, axis.place(row)));
  const lineOf = (row) => `M${pathOf(row).map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;

  function paint() {
    const [width, height] = [frame.width, frame.height ?? 2 * frame.first + (axes.length - 1) * frame.step];
    const scale = Math.max(1.5, window.devicePixelRatio) * Math.max(1, host.clientWidth / width);
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    canvas.width = width * scale;
    canvas.height = height * scale;
    const style = getComputedStyle(document.documentElement);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const colours = data.series.map((series) => style.getPropertyValue(`--${series.colour}`));
    const faint = style.getPropertyValue("--line");
    const inside = shown.filter(kept);
    for (const [group, alpha] of [[shown.filter((row) => !kept(row)), 0.35], [inside, inside.length > 300 ? 0.3 : 0.65]]) {
      pen.globalAlpha = alpha;
      for (const row of group) {
        pen.strokeStyle = group === inside ? colours[row.series] : faint;
        pen.beginPath();
        for (const [x, y] of pathOf(row)) pen.lineTo(x, y);
        pen.stroke();
      }
    }
    clear.hidden = brushes.size === 0;
    const words = `${count(inside.length)} of ${counted(shown.length, "candidate")} within the brushes`;
    told.textContent = brushes.size ? words : "";
  }

  function drawAxes() {
    drawing.replaceChildren();
    if (picked !== null && axes.length > 0) drawing.append(svg("path", { d: lineOf(picked), class: "picked-line" }));
    axes.forEach((axis, number) => {
      const [[x, y], [right, top]] = [at(number, 0), at(number, 1)];
      const upright = frame === UPRIGHT;
      drawing.append(svg("path", { d: `M${x} ${y}L${right} ${top}`, class: "frame" }));
      const title = { class: "axis-title", ...(upright && { "text-anchor": "middle" }) };
      drawing.append(text(upright ? x : frame.low, upright ? top - 22 : y - 14, axis.title, title));
      const labels = fewer(axis.ticks);
      const apart = upright ? labels : spaced(labels.map(([place, words]) => [at(number, place)[0], words, place]));
      for (const [place, words, same = place] of apart) {
        const [tx, ty] = at(number, same);
        const where = upright ? [tx - 6, ty + 4, "end"] : [tx, ty + 15, "middle"];
        drawing.append(text(where[0], where[1], words, { "text-anchor": where[2], class: "tick" }));
        drawing.append(svg("path", { d: upright ? `M${tx - 3} ${ty}h6` : `M${tx} ${ty - 3}v6`, class: "frame" }));
      }
      if (shown.some((row) => axis.place(row) === null)) {
        const [nx, ny] = at(number, null);
        drawing.append(text(nx, ny + 15, "none", { "text-anchor": "middle", class: "tick" }));
      }
      drawing.append(...brushOf(axis, number));
    });
  }

  const along = ([x, y]) => (frame === UPRIGHT ? y : x);
  const box = (number, [from, to], wide) => {
    const [x, y] = at(number, to);
    const [left, low] = at(number, from);
    return frame === UPRIGHT
      ? { x: x - wide / 2, y, width: wide, height: low - y }
      : { x: left, y: y - wide / 2, width: x - left, height: wide };
  };

  // The part of an axis that is brushed, and the area around the axis that takes the pointer and the keys.
  function brushOf(axis, number) {
    const range = brushes.get(axis.key);
    const mark = svg("rect", { ...box(number, range ?? [0, 0], 16), class: "brush" });
    const said = `${axis.title}: ${range ? `brushed, ${range.map(percent).join(" to ")} of the axis` : "all"}`;
    const asked = `${said}. Drag along the axis, or use the arrow keys, with Shift for the lower end; Escape clears.`;
    const area = svg("rect", { ...box(number, [-0.04, 1.04], 36), class: "area", tabindex: 0, role: "group" });
    area.setAttribute("aria-label", asked);
    area.dataset.axis = axis.key;
    area.addEventListener("pointerdown", (event) => drag(event, axis, number));
    area.addEventListener("keydown", (event) => press(event, axis));
    return [mark, area];
  }

  function brush(axis, range) {
    if (range === null) brushes.delete(axis.key);
    else brushes.set(axis.key, range);
    drawAxes();
    paint();
    change();
  }

  function placeOf(event, number) {
    const bounds = drawing.getBoundingClientRect();
    const point = [((event.clientX - bounds.left) * frame.width) / bounds.width, ((event.clientY - bounds.top) * frame.width) / bounds.width];
    const [low, high] = [along(at(number, 0)), along(at(number, 1))];
    return Math.min(Math.max((along(point) - low) / (high - low), 0), 1);
  }

  function drag(event, axis, number) {
    event.preventDefault();
    const from = placeOf(event, number);
    const move = (next) => {
      const to = placeOf(next, number);
      brush(axis, Math.abs(to - from) < 0.01 ? null : [Math.min(from, to), Math.max(from, to)]);
    };
    const end = () => {
      for (const name of ["pointerup", "pointercancel"]) window.removeEventListener(name, end);
      window.removeEventListener("pointermove", move);
    };
    window.addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, end);
    if (brushes.has(axis.key)) brush(axis, null);
  }

  function press(event, axis) {
    const by = { ArrowUp: 0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowLeft: -0.02 }[event.key];
    if (event.key !== "Escape" && by === undefined) return;
    event.preventDefault();
    let [from, to] = brushes.get(axis.key) ?? [0, 1];
    if (event.shiftKey) from = Math.min(Math.max(from + by, 0), to);
    else to = Math.min(Math.max(to + by, from), 1);
    brush(axis, event.key === "Escape" || (from === 0 && to === 1) ? null : [from, to]);
    host.querySelector(`[data-axis="${CSS.escape(axis.key)}"]`).focus();
  }

  clear.addEventListener("click", () => {
    brushes.clear();
    drawAxes();
    paint();
    change();
  });

  // Draws the candidates of the families that are shown, and the choice in ink.
  function layOut(hidden) {
    frame = host.clientWidth && host.clientWidth < 620 ? LYING : UPRIGHT;
    shown = rows.filter((row) => !hidden.has(row.series));
    axes = axesOf(shown, data);
    for (const key of brushes.keys()) if (!axes.some((axis) => axis.key === key)) brushes.delete(key);
    drawAxes();
    paint();
  }

  function mark(choice) {
    picked = choice?.row ?? null;
    drawAxes();
  }

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  window.matchMedia("print").addEventListener("change", paint);
  return { layOut, mark, kept };
}
