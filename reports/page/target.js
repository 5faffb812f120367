// The target that the reader sets by a kind, a number and a slider. The command holds exactly its value.

// The slider's range in hundredths of a point. `edge` is the error above which the figure's scale is compressed.
function sliderRange(kind, { referenceAccuracy, edge }) {
  if (kind === "min_accuracy") return [Math.floor(1e4 * (1 - edge)), 1e4];
  return [0, Math.min(Math.max(Math.ceil(2e2 * (edge - 1 + referenceAccuracy)) * 50, 100), 1e4)];
}

function makeTarget({ data, change }) {
  const [kind, number, slider, unit] = ["kind", "number", "slider", "unit"].map((id) => document.getElementById(id));
  const bound = document.getElementById("bound");
  const referenceAccuracy = data.reference.accuracy;
  const edge = Math.min(data.error.bend ?? data.error.high, 1);
  let target = data.target;

  function show() {
    kind.value = target?.kind ?? "none";
    const asked = target !== null && target.kind !== "knee";
    for (const node of [number, slider, unit]) node.hidden = !asked;
    bound.hidden = !asked || !data.rule.bounds;
    if (!asked) return;
    const [least, most] = sliderRange(target.kind, { referenceAccuracy, edge });
    slider.min = least;
    slider.max = most;
    slider.value = Math.round(1e4 * target.value);
    slider.setAttribute("aria-valuetext", `${number.value} ${unit.textContent}`);
    unit.textContent = target.kind === "min_accuracy" ? "%" : "points";
  }

  function write() {
    if (target !== null && target.kind !== "knee") number.value = String(Number((100 * target.value).toPrecision(12)));
  }

  function set(next) {
    target = next;
    show();
    change(target);
  }

  kind.addEventListener("change", () => {
    const known = target !== null && target.kind !== "knee";
    const accuracy = known ? thresholdOf(target, referenceAccuracy) : referenceAccuracy - 0.01;
    const near = (value) => Math.min(Math.max(Math.round(1e4 * value), 0), 1e4) / 1e4;
    const values = { max_drop: near(referenceAccuracy - accuracy), min_accuracy: near(accuracy) };
    set(kind.value === "none" ? null : { kind: kind.value, value: values[kind.value] ?? null });
    write();
  });
  slider.addEventListener("input", () => {
    // A whole number divided by 10,000 is the same double as its decimals read by the command line.
    target = { kind: target.kind, value: Number(slider.value) / 1e4 };
    write();
    set(target);
  });
  number.addEventListener("input", () => {
    // Moves the decimal point in the text, so that 1.23 points are exactly the double 0.0123.
    const value = /^\d*\.?\d+$|^\d+\.$/.test(number.value) ? Number(`${number.value}e-2`) : NaN;
    const valid = value >= 0 && value <= 1;
    number.setCustomValidity(valid ? "" : "expected a number from 0 to 100");
    number.reportValidity();
    if (valid) set({ kind: target.kind, value });
  });
  write();
  show();
  return target;
}
