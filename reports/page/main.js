// The page's state: what the reader asks for, and everything that is drawn again when it changes.

function makeFamilies({ data, rows, change }) {
  const place = document.getElementById("families");
  const hidden = new Set();
  data.series.forEach((series, index) => {
    const box = element("input", { type: "checkbox", checked: "" });
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(index);
      else hidden.add(index);
      change();
    });
    const mark = svg("svg", { viewBox: "-1.4 -1.4 2.8 2.8", class: "sample", "aria-hidden": "true" });
    mark.append(svg("path", { d: SHAPES[series.shape], style: `fill:var(--${series.colour})` }));
    const size = rows.filter((row) => row.series === index).length;
    place.append(element("label", { class: "family" }, box, mark, `${series.name} (${count(size)})`));
  });
  return hidden;
}

function copyButtons() {
  for (const command of document.querySelectorAll("pre.copy")) {
    const button = element("button", { type: "button", class: "copy-button", "aria-label": "Copy the command" }, "Copy");
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(command);
      await navigator.clipboard?.writeText(command.textContent).catch(() => {});
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    const place = element("div", { class: "command" });
    command.replaceWith(place);
    place.append(command, button);
  }
}

function start(content) {
  const data = { ...content, metric: makeMetric(content.metric) };
  const rows = readRows(data);
  const costOf = (by) => data.costs.find((cost) => cost.key === by);
  const orders = Object.fromEntries(data.costs.map((cost) => [cost.key, cheapestFirst(rows, cost.key)]));
  const state = { by: data.by, target: data.target, confident: false, sort: { key: data.by, down: false }, filter: "", only: "all" };
  let choice = null;
  let pending = 0;
  const details = makeDetails({ data });
  const open = (row) => details(row, choice?.threshold ?? null);
  const hidden = makeFamilies({ data, rows, change: redraw });
  const figure = makeFigure({ data, rows, open, turned: redraw });
  const showCard = makeCard({ data });
  const parallel = makeParallel({ data, rows, change: brushed });
  const shown = (row) => !hidden.has(row.series) && parallel.kept(row);
  const beside = makeBeside({ data, rows, stateOf: (row) => choice?.states.get(row) ?? NONE, change: list });
  const fillTable = makeTable({
    data,
    rows,
    open,
    boxOf: beside.boxOf,
    change: (turned) => {
      state.sort = turned(state.sort);
      list();
    },
  });

  function list() {
    const stateOf = (row) => choice?.states.get(row) ?? null;
    const picked = choice?.row ?? null;
    fillTable({ ...state, shown, stateOf, picked, feasible: choice?.feasible, threshold: choice?.threshold ?? null });
  }

  // A brush hides candidates from the figure and the table, as a family that is not ticked does.
  function brushed() {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => {
      figure.layOut({ cost: costOf(state.by), shown });
      figure.mark(choice);
      figure.encircle(choice);
      list();
    });
  }

  function redraw() {
    parallel.layOut(hidden);
    figure.layOut({ cost: costOf(state.by), shown });
    figure.mark(choice);
    figure.encircle(choice);
    for (const note of document.querySelectorAll("[data-cost]")) note.hidden = note.dataset.cost !== state.by;
    list();
  }

  function decide() {
    const { target, by, confident } = state;
    const order = orders[by];
    const { rule, metric, reference } = data;
    const asked = { rows, target, by, confident, rule, metric, referenceScore: metric.score(reference.value) };
    if (target === null) choice = null;
    else if (target.kind === "knee") choice = kneeChoice(rows[costOf(by).knee]);
    else choice = choose(order, asked);
    showCard(choice, { target, by, confident });
    parallel.mark(choice);
    beside.show();
    const row = choice?.row;
    const verdict = choice?.feasible ? "The pick" : "The nearest miss";
    document.getElementById("told").textContent = row ? `${verdict}: ${row.name}, ${amount(row, costOf(by))}` : "";
  }

  makeTarget({
    data,
    needed: scoresMet(rows, data),
    change: (target) => {
      state.target = target;
      decide();
      figure.mark(choice);
      // The circles are drawn and the table is filled once a frame at most, however fast the slider moves.
      cancelAnimationFrame(pending);
      pending = requestAnimationFrame(() => {
        figure.encircle(choice);
        list();
      });
    },
  });
  // A browser that comes back to a page may have kept the values of its fields.
  const by = document.getElementById("by");
  by.value = state.by;
  document.getElementById("filter").value = "";
  document.getElementById("only").value = "all";
  by.addEventListener("change", () => {
    state.by = by.value;
    state.sort = { key: state.by, down: false };
    decide();
    redraw();
  });
  const confident = document.getElementById("confident");
  confident.checked = false;
  confident.addEventListener("change", () => {
    state.confident = confident.checked;
    decide();
    figure.mark(choice);
    figure.encircle(choice);
    list();
  });
  document.getElementById("filter").addEventListener("input", (event) => {
    state.filter = event.target.value;
    list();
  });
  document.getElementById("only").addEventListener("change", (event) => {
    state.only = event.target.value;
    list();
  });
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  document.documentElement.classList.add("js");
  copyButtons();
  decide();
  redraw();
}

const content = document.getElementById("data");
if (content !== null) start(JSON.parse(content.textContent));
