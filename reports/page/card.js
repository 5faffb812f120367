// The card at the top of the page: the choice, how it compares, and the commands for it.

// The cost of a row, in words.
function amount(row, cost) {
  const value = row[cost.key];
  return `${cost.digits ? value.toFixed(cost.digits) : count(value)} ${cost.noun}`;
}

// A fraction above 0.1 as a percentage that reads as exactly it: sweep.target.write_number.
function percentOf(value) {
  if (value === 1) return "100%";
  const digits = String(value).slice(2).padEnd(2, "0");
  return `${digits.slice(0, 2)}${digits.length > 2 ? `.${digits.slice(2)}` : ""}%`;
}

const ONE = "Its one score made it the choice, so that score is a little too good on average.";
const SEVERAL = "The mean leaves out the first seed, which may have made it the choice.";
const BOUND = "by the 95\u00a0% bound of every seed";

function makeCard({ data }) {
  const card = document.getElementById("choice");
  const { metric } = data;
  const costOf = (by) => data.costs.find((cost) => cost.key === by);
  const put = (name, words) => {
    card.querySelector(`[data-part="${name}"]`).textContent = words;
  };

  function badge(choice, { target, by }) {
    if (target.kind === "knee") return "\u2713 At the knee of the front";
    if (!choice.feasible) return "\u2717 No model meets the target: the nearest miss";
    if (choice.state === "unconfirmed") return `${costOf(by).best} among the models that meet the target so far: unconfirmed`;
    return `\u2713 ${costOf(by).best} among the models that are confirmed to meet the target`;
  }

  function why(choice, by, confirm) {
    const words = [];
    const better = choice.better;
    if (better) words.push(`Better, but unconfirmed: ${better.name}, ${amount(better, costOf(by))}; it meets the target so far.`);
    if (confirm?.repeats === null) words.push(`${better ? "It" : "The pick"} ${data.rule.close}.`);
    const smaller = choice.nextSmaller;
    if (smaller && smaller !== choice.better) {
      const margin = choice.margins.get(smaller);
      const missed = margin >= 0 ? choice.states.get(smaller) : `misses the target by ${metric.change(-margin)}`;
      words.push(`Next smaller: ${smaller.name}, ${amount(smaller, costOf(by))}, ${missed}.`);
    }
    if (choice.runnerUp && choice.runnerUp !== choice.better) words.push(`Runner-up: ${choice.runnerUp.name}, ${amount(choice.runnerUp, costOf(by))}.`);
    return words.join(" ");
  }

  const interval = (low, high, n) => `95\u00a0% interval ${metric.range(low, high)}, n\u00a0=\u00a0${count(n)}`;

  function facts(choice, { target, confident }) {
    const row = choice.row;
    const test = data.tests[row.ids[row.best]];
    const several = row.seeds.length > 1;
    const own = metric.value(row.values[row.best]);
    const best = `best of ${row.seeds.length} on validation, which flatters`;
    const of = interval(row.low, row.high, row.n);
    const bent = target.kind === "knee";
    const words = bent ? "" : targetWords(target, choice.threshold, data);
    const asked = bent ? "no target" : `${words}; ${data.rule.words}${confident ? `, ${BOUND}` : ""}`;
    const short = Number.isFinite(choice.margin) ? `short by ${metric.change(-choice.margin)}` : "not known yet";
    return {
      name: row.name,
      bytes: `${count(row.bytes)} bytes`,
      macs: `${count(row.macs)} MACs${row.speed}`,
      ratio: ratio(row.ratio),
      value: metric.value(metric.error(row.mean)),
      mean: (several ? `mean of ${counted(row.seeds.length - 1, "fresh seed")}` : "of the one seed by which it was chosen") +
        (row.failed ? `; ${row.failed} more failed` : ""),
      chosen: `Chosen on the validation split among ${counted(data.count, "configuration")}. ${several ? SEVERAL : ONE} ` +
        "No choice has used the test split.",
      seeds: several ? `the file's own: ${own} (seed ${row.seeds[row.best]}, ${best}); ${of}` : of,
      verdict: bent ? "knee" : choice.state,
      asked: choice.feasible ? asked : `${short}; asked: ${asked}`,
      test: test ? metric.value(test[0]) : "",
      "test-interval": test ? interval(test[1], test[2], test[3]) : "",
    };
  }

  // The command that would confirm a row on further seeds: sweep.pick.confirming.
  function confirmCommand({ row, repeats }, target) {
    const [beforeJob, beforeRepeats, beforeSeed, beforeTarget, end] = data.commands.confirm;
    const seed = row.seeds[0] ? `${beforeSeed}${row.seeds[0]}` : "";
    const asked = end ? `${target.kind}=${target.value}` : targetOptions(target);
    return `${beforeJob}${row.ids[row.best]}${beforeRepeats}${repeats}${seed}${beforeTarget}${asked}${end}`;
  }

  // The options that ask for a target: Target.options.
  function targetOptions({ kind, value }) {
    const written = metric.fraction && kind === "max_drop" && value > 0.2 ? percentOf(value) : value;
    return `--${kind.replace("_", "-")} ${written}`;
  }

  function optionsOf({ target, by, confident }) {
    const smallest = by === "bytes" ? "" : ` --by ${by}`;
    if (target === null) return `${data.commands.default}${smallest}`;
    if (target.kind === "knee") return `--knee${smallest}`;
    return `${targetOptions(target)}${smallest}${confident ? " --confident" : ""}`;
  }

  return function show(choice, asked) {
    const { target, by } = asked;
    const picked = choice?.row ?? null;
    put("pick-command", `${data.commands.pick} ${optionsOf(asked)}`);
    card.className = `card choice ${picked === null ? "" : choice.feasible ? "meets" : "misses"} ${choice?.state ?? ""}`;
    for (const part of ["facts", "chosen", "export-command"]) {
      card.querySelector(`[data-part="${part}"]`).hidden = picked === null;
    }
    card.querySelector('[data-part="no-target"]').hidden = target !== null;
    const none = target === null ? "No target" : "\u2717 No model has enough seeds to tell";
    put("badge", picked === null ? none : badge(choice, asked));
    if (picked === null) card.querySelector('[data-part="confirm"]').hidden = true;
    if (picked === null) return put("name", "");
    for (const [name, words] of Object.entries(facts(choice, asked))) put(name, words);
    card.querySelector('[data-part="tested"]').hidden = !data.tests[picked.ids[picked.best]];
    const confirm = toConfirm(choice);
    put("why", why(choice, by, confirm));
    const seeds = Boolean(confirm?.repeats);
    card.querySelector('[data-part="confirm"]').hidden = !seeds;
    put("confirm-name", seeds ? confirm.row.name : "");
    put("confirm-command", seeds ? confirmCommand(confirm, target) : "");
    put("export-command", `${data.commands.export} --job ${picked.ids[picked.best]} ${data.commands.out}`);
  };
}
