// The table of candidates, sorted and filtered, 100 rows at first; and the same rows as a CSV file.

const PAGE = 100;

// Key of a column -> the value by which it sorts, and its text. The page has the titles.
const columnsOf = (metric) => ({
  family: [(row) => row.family, (row) => row.family],
  configuration: [(row) => row.label, (row) => row.label],
  seeds: [(row) => row.seeds.length, seedsOf],
  error: [(row) => row.mean, metric.ofRow],
  direct: [(row) => row.direct, (row) => metric.ofError(row.direct)],
  nominal: [(row) => row.nominal, (row) => count(row.nominal)],
  bytes: [(row) => row.bytes, (row) => count(row.bytes)],
  ratio: [(row) => row.ratio, (row) => ratio(row.ratio)],
  macs: [(row) => row.macs, (row) => count(row.macs)],
  latency: [(row) => row.latency, (row) => row.latency.toFixed(2)],
  gap: [(row) => row.gap, (row) => percent(row.gap)],
  time: [(row) => row.seconds, (row) => duration(row.seconds)],
  front: [(row, view) => Number(row.fronts.has(view.by)), (row, view) => (row.fronts.has(view.by) ? YES : "")],
  target: [(row, view) => view.stateOf(row) && STATES.indexOf(view.stateOf(row)), (row, view) => view.stateOf(row) ?? ""],
});

function compare(one, other) {
  if (typeof one === "string") return one.localeCompare(other, "en", { numeric: true });
  return one - other;
}

// The rows that a view shows, in its order. Rows without a value come last; ties stay in the order of `rows`.
function rowsShown(rows, view, columns) {
  const wanted = view.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = rows.filter((row) => {
    if (!view.shown(row)) return false;
    if (view.only === "front" && !row.fronts.has(view.by)) return false;
    if (view.only === "target" && (view.stateOf(row) ?? "missed") === "missed") return false;
    const words = row.name.toLowerCase();
    return wanted.every((word) => words.includes(word));
  });
  const value = columns[view.sort.key][0];
  const turn = view.sort.down ? -1 : 1;
  const keyed = kept.map((row) => [value(row, view), row]);
  keyed.sort(([one], [other]) => {
    if (one === null || other === null) return (one === null) - (other === null);
    return turn * compare(one, other);
  });
  return keyed.map(([, row]) => row);
}

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function glyphOf(row, data) {
  const { colour, glyph } = data.series[row.series];
  return element("span", { class: "glyph", style: `color:var(--${colour})`, "aria-hidden": "true" }, glyph);
}

function makeTable({ data, rows, open, boxOf, change }) {
  const heads = [...document.querySelectorAll("#candidates th[data-key]")];
  const body = document.querySelector("#candidates tbody");
  const told = document.getElementById("shown");
  const columns = columnsOf(data.metric.bare);
  let limit = PAGE;
  let shown = [];

  for (const head of heads) {
    head.dataset.title = head.textContent;
    const button = element("button", { type: "button", class: "head" }, ...head.childNodes);
    button.addEventListener("click", () => {
      limit = PAGE;
      change((sort) => ({ key: head.dataset.key, down: sort.key === head.dataset.key && !sort.down }));
    });
    head.append(button);
  }
  document.getElementById("more").addEventListener("click", () => fill({ ...fill.view }, (limit += PAGE)));
  document.getElementById("all").addEventListener("click", () => fill({ ...fill.view }, (limit = Infinity)));
  document.getElementById("csv").addEventListener("click", () => download(csvOf(shown, fill.view, data.metric)));

  function line(row, view) {
    const kind = row.fronts.has(view.by) ? "front" : "dominated";
    const node = element("tr", { class: row === view.picked ? `${kind} ${view.feasible ? "picked" : "missed"}` : kind });
    node.addEventListener("click", ({ target }) => {
      if (!target.closest("input, button") && getSelection().isCollapsed) open(row);
    });
    for (const head of heads) {
      const [value, words] = columns[head.dataset.key];
      const written = value(row, view) === null ? NONE : words(row, view);
      const cell = element("td", { ...(head.className && { class: head.className }), "data-label": head.dataset.title });
      if (head.dataset.key === "family") cell.append(boxOf(row), glyphOf(row, data), written);
      else if (head.dataset.key === "configuration") {
        cell.className = "long";
        const button = element("button", { type: "button", class: "open", title: `${row.name}: details` }, written);
        button.addEventListener("click", () => open(row));
        cell.append(button);
      } else cell.append(written);
      node.append(cell);
    }
    return node;
  }

  function fill(view) {
    fill.view = view;
    shown = rowsShown(rows, view, columns);
    for (const head of heads) {
      const sorted = head.dataset.key === view.sort.key;
      if (sorted) head.setAttribute("aria-sort", view.sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const lines = shown.slice(0, limit).map((row) => line(row, view));
    body.replaceChildren(...lines);
    told.textContent = `${count(lines.length)} of ${counted(rows.length, "candidate")}` +
      (lines.length < shown.length ? `; ${count(shown.length)} fit the filter` : "");
    for (const id of ["more", "all"]) document.getElementById(id).hidden = lines.length === shown.length;
  }

  return fill;
}

// What was measured, under the metric's name: of the accuracy the mean error, else the mean value.
function measuredColumns({ by_error, name, shown }) {
  const mean = by_error ? "val_error_mean" : `val_${name}_mean`;
  const values = (row) => row.values.join(" ");
  return { [by_error ? "val_accuracies" : `val_${name}`]: values, [mean]: (row) => shown(row.mean) };
}

// Every row that fits the filter, in the order of the table, with numbers in full.
function csvOf(rows, view, metric) {
  const direct = metric.by_error ? "direct_error" : `direct_${metric.name}`;
  const columns = {
    job: (row) => row.ids[row.best],
    family: (row) => row.family,
    configuration: (row) => row.label,
    seeds: (row) => row.seeds.join(" "),
    ...measuredColumns(metric),
    n_val: (row) => row.n,
    [direct]: (row) => (row.direct === null ? null : metric.shown(row.direct)),
    nominal_bytes: (row) => row.nominal,
    artifact_bytes: (row) => row.bytes,
    compression_ratio: (row) => row.ratio,
    macs: (row) => row.macs,
    latency: (row) => row.latency,
    faster: (row) => (row.faster === null ? null : Number(row.faster)),
    gap: (row) => row.gap,
    seconds: (row) => row.seconds,
    [`front_by_${view.by}`]: (row) => Number(row.fronts.has(view.by)),
    state: (row) => view.stateOf(row),
  };
  const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const written = rows.map((row) => Object.values(columns).map((value) => quoted(String(value(row) ?? ""))));
  return [Object.keys(columns).map(quoted), ...written].map((cells) => `${cells.join(",")}\r\n`).join("");
}

function download(words) {
  const file = URL.createObjectURL(new Blob([words], { type: "text/csv" }));
  const link = element("a", { download: "candidates.csv", href: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(file), 10_000);
}
