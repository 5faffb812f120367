// Two to four models side by side: what each is, costs and reaches. Boxes in the table put them there.

const MOST_BESIDE = 4;

function makeBeside({ data, rows, stateOf, change }) {
  const panel = document.getElementById("beside");
  const table = panel.querySelector("table");
  const told = panel.querySelector('[data-part="told"]');
  const chosen = [];

  // How much a cost differs from that of the first model.
  function against(value, first) {
    if (value === null || first === null || value === first) return "";
    const change = 100 * (value / first - 1);
    return ` (${change < 0 ? "\u2212" : "+"}${Math.abs(change).toFixed(Math.abs(change) < 10 ? 1 : 0)}\u00a0%)`;
  }

  // Name of a line -> its text for a model, and the value of which the least is the best; null for none.
  function lines() {
    const { metric } = data;
    const first = rows[chosen[0]];
    const found = {
      "Packed file": [(row) => `${count(row.bytes)} bytes${against(row.bytes, first.bytes)}`, (row) => row.bytes],
      Ratio: [(row) => ratio(row.ratio), null],
      MACs: [(row) => `${count(row.macs)}${against(row.macs, first.macs)}${row.speed}`, (row) => row.macs],
      [`Validation ${metric.noun}`]: [(row) => metric.ofRow(row), (row) => row.mean],
      Seeds: [seedsOf, null],
      Target: [(row) => stateOf(row), null],
      "Direct compression": [(row) => (row.direct === null ? NONE : metric.ofError(row.direct)), (row) => row.direct],
      "Gap at the end": [(row) => (row.gap === null ? NONE : percent(row.gap)), null],
      "Work, all seeds": [(row) => (row.seconds === null ? NONE : duration(row.seconds)), null],
    };
    return Object.entries(found);
  }

  function head(index) {
    const row = rows[index];
    const drop = element("button", { type: "button", "aria-label": `Remove ${row.name}` }, "\u00d7");
    drop.addEventListener("click", () => toggle(row));
    return element("th", { scope: "col" }, glyphOf(row, data), row.name, " ", drop);
  }

  function show() {
    panel.hidden = chosen.length === 0;
    if (panel.hidden) return;
    told.textContent = chosen.length === 1 ? "Tick one to three more models in the table." : "";
    table.style.setProperty("--models", chosen.length);
    const models = chosen.map((index) => rows[index]);
    const body = lines().map(([title, [words, value]]) => {
      const values = value === null ? [] : models.map((row) => value(row) ?? Infinity);
      const least = Math.min(...values);
      const best = (row) => values.some((other) => other > least) && value(row) === least;
      const cells = models.map((row) => element("td", best(row) ? { class: "best" } : {}, words(row)));
      return element("tr", {}, element("th", { scope: "row" }, title), ...cells);
    });
    table.tHead.replaceChildren(element("tr", {}, element("td", {}), ...chosen.map(head)));
    table.tBodies[0].replaceChildren(...body);
  }

  function toggle(row) {
    const place = chosen.indexOf(row.index);
    if (place >= 0) chosen.splice(place, 1);
    else if (chosen.length < MOST_BESIDE) chosen.push(row.index);
    show();
    change();
  }

  // The box of a row in the table.
  function boxOf(row) {
    const ticked = chosen.includes(row.index);
    const box = element("input", { type: "checkbox", class: "put-beside", "aria-label": `Side by side: ${row.name}` });
    box.checked = ticked;
    box.disabled = !ticked && chosen.length === MOST_BESIDE;
    box.addEventListener("change", () => toggle(row));
    return box;
  }

  return { boxOf, show };
}
