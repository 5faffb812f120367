// The page's data read into rows, ordered by bytes, MACs, mean error and job: reports/page/data.py writes them.

// Those of the fresh seeds, which come after the first: sweep.criteria.fresh.
function fresh(values) {
  return values.length > 1 ? values.slice(1) : values;
}

// How many seeds are done, and how many failed.
function seedsOf(row) {
  return `${row.seeds.length}${row.failed ? ` (${row.failed} failed)` : ""}`;
}

function readRows(data) {
  const at = (column, index) => (Array.isArray(column) ? column[index] : column);
  const rows = [];
  let level = 0;
  let seed = 0;
  for (let index = 0; index < data.count; index++) {
    const row = { index };
    for (const [name, column] of Object.entries(data.columns)) row[name] = at(column, index);
    for (const [name, parts] of Object.entries(data.parts)) if (row[name] !== null) row[name] /= parts;
    const [series, method, knobs] = data.forms[row.form];
    row.knobs = knobs;
    row.levels = data.levels.slice(level, (level += knobs.length));
    const last = seed + row.seeds;
    row.values = data.values.slice(seed, last).map((v) => (data.shares && Number.isInteger(v) ? v / row.n : v));
    row.scores = row.values.map(data.metric.score);
    for (const name of ["lost", "lows", "drops"]) row[name] = data[name]?.slice(seed, last);
    row.ids = data.ids.slice(seed, last);
    row.seeds = row.ids.map((_, offset) => at(data.seeds, seed + offset));
    seed = last;
    row.series = series;
    row.method = method;
    row.family = data.series[series].name;
    row.label = knobs.map((knob, place) => `${knob} ${row.levels[place]}`).join(", ");
    row.name = `${row.family}: ${row.label}`;
    const errors = row.values.map(data.metric.error);
    row.mean = fresh(errors).reduce((sum, error) => sum + error, 0) / fresh(errors).length;
    row.least = Math.min(...errors);
    row.most = Math.max(...errors);
    row.ratio = data.reference.bytes / row.bytes;
    row.fronts = new Set();
    row.speed = data.speeds[row.speed] && `, ${data.speeds[row.speed]}`;
    rows.push(row);
  }
  for (const cost of data.costs) for (const index of cost.front) rows[index].fronts.add(cost.key);
  return rows;
}

// The rows whose cost `key` is known, the cheapest first. The sort is stable, so ties go by bytes, MACs and mean error.
function cheapestFirst(rows, key) {
  return rows.filter((row) => row[key] !== null).sort((one, other) => one[key] - other[key]);
}
