// The figure: what it shows now, and how it answers the pointer and the keys.

function makeFigure({ data, rows, open, turned }) {
  const host = document.getElementById("chart");
  const canvas = document.createElement("canvas");
  const drawing = svg("svg", { role: "img", "aria-labelledby": "chart-words" });
  const still = svg("g", {});
  const under = svg("g", {});
  const around = svg("g", {});
  const over = svg("g", {});
  const pointed = svg("circle", { r: 8.5, class: "pointed", visibility: "hidden" });
  drawing.append(under, around, still, over, pointed);
  const tip = document.getElementById("tip");
  host.append(canvas, drawing, tip);
  let view = null;
  let visible = [];
  let current = null;
  let states = null;

  const frameNow = () => (host.clientWidth && host.clientWidth < 620 ? NARROW : WIDE);

  function layOut(next) {
    const frame = frameNow();
    drawing.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
    view = { ...next, data, frame, error: data.error, scales: makeScales(frame, next.cost, data.error) };
    visible = rows.filter((row) => view.shown(row) && row[view.cost.key] !== null);
    still.replaceChildren();
    drawFrame(still, { ...view, whole: Math.max(data.reference[view.cost.key], view.cost.least) });
    drawFront(still, rows, view);
    paint();
    point(null);
  }

  function paint() {
    paintCloud(canvas, visible.filter((row) => !row.fronts.has(view.cost.key)), view);
  }

  // Draws what changes with the target: its line, and the ring around the pick.
  function mark(choice) {
    const threshold = choice === null ? null : choice.threshold;
    states = choice === null ? null : choice.states;
    under.replaceChildren();
    over.replaceChildren();
    drawLevels({ under, over }, { ...view, threshold });
    if (choice === null) return;
    const row = choice.row;
    if (row === null) return;
    const [x, y] = placeOf(row);
    if (!view.shown(row)) over.append(markOf(row, data, { x, y, size: 5 }));
    over.append(svg("circle", { cx: x, cy: y, r: RING, class: "ring" }));
  }

  // Draws a circle around each row that meets the target.
  function encircle(choice) {
    around.replaceChildren();
    if (choice === null) return;
    for (const state of ["confirmed", "unconfirmed"]) {
      const rows = visible.filter((row) => choice.states.get(row) === state && row !== choice.row);
      around.append(svg("path", { d: rows.map((row) => circle(...placeOf(row), 7.5)).join(""), class: `state ${state}` }));
    }
  }

  const placeOf = (row) => [view.scales.x(row[view.cost.key]), view.scales.y(row.mean)];

  function point(row) {
    current = row;
    tip.hidden = row === null;
    pointed.setAttribute("visibility", row === null ? "hidden" : "visible");
    if (row === null) return;
    const [x, y] = placeOf(row);
    pointed.setAttribute("cx", x);
    pointed.setAttribute("cy", y);
    const range = row.seeds.length > 1 ? `, ${seedsOf(row)} seeds` : `, seed ${row.seeds[0]}`;
    const lines = [
      row.name,
      `${count(row.bytes)} bytes, ${smaller(row.ratio)}; ${count(row.macs)} MACs${row.speed}`,
      `validation ${data.metric.noun} ${data.metric.ofRow(row)}${range}, n = ${count(row.n)}`,
    ];
    if (states?.has(row)) lines.push(`target: ${states.get(row)}`);
    if (row.direct !== null) lines.push(`direct compression ${data.metric.ofError(row.direct)}`);
    tip.replaceChildren(...lines.map((words) => Object.assign(document.createElement("div"), { textContent: words })));
    const { width, height } = view.frame;
    const side = x > width / 2 ? "right" : "left";
    const inside = view.frame === NARROW ? 0 : (100 * (side === "left" ? x + 14 : width - x + 14)) / width;
    tip.style.cssText = `${side}:${inside}%;top:${(100 * (y + 16)) / height}%`;
  }

  function nearest(event) {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) * view.frame.width) / box.width;
    const y = ((event.clientY - box.top) * view.frame.height) / box.height;
    let best = null;
    let least = 22 ** 2;
    for (const row of visible) {
      const [px, py] = placeOf(row);
      // Of two rows equally far away, the one on the front.
      const distance = (px - x) ** 2 + (py - y) ** 2 - (row.fronts.has(view.cost.key) ? 4 : 0);
      if (distance < least) [best, least] = [row, distance];
    }
    return best;
  }

  function press(event) {
    const front = cheapestFirst(visible, view.cost.key).filter((row) => row.fronts.has(view.cost.key));
    const at = front.indexOf(current);
    const last = front.length - 1;
    const to = { ArrowRight: at + 1, ArrowLeft: at < 0 ? last : at - 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") point(null);
    else if (event.key === "Enter" && current !== null) open(current);
    else if (to === undefined || front.length === 0) return;
    else point(front[Math.min(Math.max(to, 0), last)]);
    event.preventDefault();
  }

  host.addEventListener("pointermove", (event) => point(nearest(event)));
  host.addEventListener("pointerleave", () => point(null));
  host.addEventListener("click", (event) => {
    const row = nearest(event);
    if (row !== null) open(row);
  });
  host.addEventListener("keydown", press);
  host.addEventListener("blur", () => point(null));
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    window.matchMedia(query).addEventListener("change", () => view !== null && paint());
  }
  window.addEventListener("resize", () => {
    if (view === null) return;
    if (frameNow() === view.frame) paint();
    else turned();
  });
  return { layOut, mark, encircle };
}
