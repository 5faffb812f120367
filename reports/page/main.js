// One view of the sweep: what the reader asks, and everything that follows from it.

// So much of a cost, in words.
function amount(row, cost) {
  const value = row[cost.key];
  return `${cost.digits ? value.toFixed(cost.digits) : count(value)} ${cost.noun}`;
}

const BOUND = "by the 95\u00a0% bound of every seed";

function makeCard({ data }) {
  const card = document.getElementById("choice");
  const costOf = (by) => data.costs.find((cost) => cost.key === by);
  const put = (name, words) => {
    card.querySelector(`[data-part="${name}"]`).textContent = words;
  };

  function badge(choice, { target, by }) {
    if (target.kind === "knee") return "\u2713 At the knee of the front";
    if (!choice.feasible) return "\u2717 No model meets the target: the nearest miss";
    return `\u2713 ${costOf(by).best} among the models that meet the target`;
  }

  function why(choice, by) {
    const words = [];
    const smaller = choice.nextSmaller;
    if (smaller) {
      const margin = choice.margins.get(smaller);
      const missed = margin >= 0 ? "has too few seeds yet" : `misses the target by ${points(-margin)}`;
      words.push(`The next below it, ${smaller.name}, ${amount(smaller, costOf(by))}, ${missed}.`);
    }
    if (choice.runnerUp) words.push(`Next best: ${choice.runnerUp.name}, ${amount(choice.runnerUp, costOf(by))}.`);
    if (choice.unconfirmed) words.push(`${choice.unconfirmed.name} meets it so far, with too few seeds.`);
    return words.join(" ");
  }

  const interval = (low, high, n) => `95\u00a0% interval ${percentRange(low, high)}, n\u00a0=\u00a0${count(n)}`;

  function facts(choice, { target, confident }) {
    const row = choice.row;
    const test = data.tests[row.ids[row.best]];
    const several = row.seeds.length > 1;
    const range = percentRange(Math.min(...row.accuracies), Math.max(...row.accuracies));
    const bent = target.kind === "knee";
    const words = bent ? "" : targetWords(target, choice.threshold, data.reference.accuracy);
    const asked = bent ? "no target" : `${words}, ${data.rule.words}${confident ? `, ${BOUND}` : ""}`;
    const short = Number.isFinite(choice.margin) ? `short by ${points(-choice.margin)}` : "not known yet";
    return {
      name: row.name,
      bytes: `${count(row.bytes)} bytes`,
      macs: `${count(row.macs)} MACs${row.speed}`,
      ratio: ratio(row.ratio),
      accuracy: percent(row.accuracies[row.best]),
      interval: interval(row.low, row.high, row.n),
      seeds: several ? `seed ${row.seeds[row.best]} is exported; ${row.seeds.length} seeds: ${range}` : "",
      verdict: bent ? "knee" : choice.feasible ? "met" : "missed",
      asked: choice.feasible ? asked : `${short}; asked: ${asked}`,
      test: test ? percent(test[0]) : "",
      "test-interval": test ? interval(test[1], test[2], test[3]) : "",
    };
  }

  function optionsOf({ target, by, confident }) {
    const smallest = by === "bytes" ? "" : ` --by ${by}`;
    if (target === null) return `--max-drop 0.01${smallest}`;
    if (target.kind === "knee") return `--knee${smallest}`;
    return `--${target.kind.replace("_", "-")} ${target.value}${smallest}${confident ? " --confident" : ""}`;
  }

  return function show(choice, asked) {
    const { target, by } = asked;
    const picked = choice?.row ?? null;
    put("pick-command", `${data.commands.pick} ${optionsOf(asked)}`);
    card.className = `card choice ${picked === null ? "" : choice.feasible ? "meets" : "misses"}`;
    for (const part of ["facts", "chosen", "export-command"]) {
      card.querySelector(`[data-part="${part}"]`).hidden = picked === null;
    }
    card.querySelector('[data-part="no-target"]').hidden = target !== null;
    const none = target === null ? "No target" : "\u2717 No model has enough seeds to tell";
    put("badge", picked === null ? none : badge(choice, asked));
    if (picked === null) return put("name", "");
    for (const [name, words] of Object.entries(facts(choice, asked))) put(name, words);
    card.querySelector('[data-part="tested"]').hidden = !data.tests[picked.ids[picked.best]];
    put("why", why(choice, by));
    put("export-command", `${data.commands.export} --trial ${picked.ids[picked.best]} ${data.commands.out}`);
  };
}

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
    command.after(button);
  }
}

function start(data) {
  const rows = readRows(data);
  const costOf = (by) => data.costs.find((cost) => cost.key === by);
  const orders = Object.fromEntries(data.costs.map((cost) => [cost.key, cheapestFirst(rows, cost.key)]));
  const state = { by: data.by, target: data.target, confident: false, sort: { key: data.by, down: false }, filter: "", only: "all" };
  let choice = null;
  let pending = 0;
  const trial = makeTrial({ data });
  const open = (row) => trial(row, choice?.threshold ?? null);
  const hidden = makeFamilies({ data, rows, change: redraw });
  const figure = makeFigure({ data, rows, open });
  const showCard = makeCard({ data });
  const fillTable = makeTable({
    data,
    rows,
    open,
    change: (turned) => {
      state.sort = turned(state.sort);
      list();
    },
  });

  function list() {
    const meets = (row) => choice !== null && choice.meeting.has(row);
    const picked = choice?.row ?? null;
    fillTable({ ...state, hidden, meets, picked, feasible: choice?.feasible, threshold: choice?.threshold ?? null });
  }

  function redraw() {
    figure.layOut({ cost: costOf(state.by), hidden });
    figure.mark(choice);
    for (const note of document.querySelectorAll("[data-cost]")) note.hidden = note.dataset.cost !== state.by;
    list();
  }

  function decide() {
    const { target, by, confident } = state;
    const order = orders[by];
    const asked = { rows, target, by, confident, rule: data.rule, referenceAccuracy: data.reference.accuracy };
    if (target === null) choice = null;
    else if (target.kind === "knee") choice = kneeChoice(rows[costOf(by).knee]);
    else choice = choose(order, asked);
    showCard(choice, { target, by, confident });
    const row = choice?.row;
    const verdict = choice?.feasible ? "The pick" : "The nearest miss";
    document.getElementById("told").textContent = row ? `${verdict}: ${row.name}, ${amount(row, costOf(by))}` : "";
  }

  makeTarget({
    data,
    change: (target) => {
      state.target = target;
      decide();
      figure.mark(choice);
      // The table follows once a frame, however fast the slider moves.
      cancelAnimationFrame(pending);
      pending = requestAnimationFrame(list);
    },
  });
  // A browser that comes back to a page may have kept what stood in its fields.
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

const island = document.getElementById("data");
if (island !== null) start(JSON.parse(island.textContent));
