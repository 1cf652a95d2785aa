// The filter: words that all must hold, such as `dataset:mnist cnn.epochs>3 gate:failed -kind:run`.

const OPERATORS = {
  ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, "!=": (a, b) => a !== b, ">": (a, b) => a > b, "<": (a, b) => a < b, "=": (a, b) => a === b,
};
const FIELDS = {
  dataset: (row) => [row.dataset],
  state: (row) => [row.state],
  kind: (row) => [row.kind],
  gate: (row) => gateWords(row.gates ?? {}),
  branch: (row) => row.refs.filter((ref) => ref.kind !== "tag").map((ref) => ref.name),
  tag: (row) => row.refs.filter((ref) => ref.kind === "tag").map((ref) => ref.name),
  model: (row) => [sweptModel(row) ?? row.best],
  verdict: (row) => [(againstBaseline(row, sweptModel(row))?.verdict ?? "none").replace("cannot tell", "unclear").replace("the same", "same")],
  changed: (row) => Object.keys(row.changed),
  mark: (row) => row.marks,
  author: (row) => [row.author],
};
const EXACT = new Set(["state", "kind", "gate", "verdict", "mark"]);

// Returns `passed` only where all gates were judged.
function gateWords({ passed, failed, not_judged: unjudged }) {
  const words = [failed && "failed", unjudged && "unjudged"].filter(Boolean);
  return words.length ? words : [passed ? "passed" : "none"];
}

function parseQuery(text) {
  const problems = [];
  const tests = [];
  for (const [, minus, word] of text.matchAll(/(-?)((?:"[^"]*"|[^\s"])+)/g)) {
    const test = parseWord(word, problems);
    tests.push(minus ? (row) => !test(row) : test);
  }
  return { test: (row) => tests.every((one) => one(row)), problems };
}

// Returns the test of a word: a text in quotes, a comparison, a field with a colon, or a text.
function parseWord(quoted, problems) {
  const word = quoted.replaceAll('"', "");
  if (/^"[^"]*"$/.test(quoted)) return parseText(word);
  const compared = /^([^<>=!]+)(>=|<=|!=|>|<|=)(.*)$/.exec(word);
  if (compared && isName(word)) { // such as that of the experiment cnn.batch_size=32,cnn.epochs=10
    const test = parseComparison(compared[1], compared[2], compared[3], []);
    return (row) => row.name === word || test(row);
  }
  if (compared) return parseComparison(compared[1], compared[2], compared[3], problems);
  const colon = word.indexOf(":");
  const field = word.slice(0, colon).toLowerCase(), wanted = word.slice(colon + 1).toLowerCase();
  if (colon > 0 && FIELDS[field]) {
    const equal = EXACT.has(field) ? (text) => text === wanted : (text) => text.toLowerCase().includes(wanted);
    return (row) => FIELDS[field](row).some((text) => equal(text ?? ""));
  }
  if (colon > 0 && (field === "after" || field === "before")) {
    const limit = Date.parse(wanted) / 1000;
    if (Number.isNaN(limit)) problems.push(`${word}: expected a date such as 2026-11-30`);
    return (row) => Number.isNaN(limit) || (field === "after" ? row.when >= limit : row.when < limit);
  }
  return parseText(word);
}

const isName = (word) => rows.some((row) => row.name === word);

function parseText(word) {
  const sought = word.toLowerCase();
  return (row) => searched(row).includes(sought);
}

function searched(row) {
  row.searched ??= [row.name, row.title, row.id, ...row.refs.map((ref) => ref.name), ...Object.entries(row.changed).map(([key, [, value]]) => `${key}=${written(value)}`)].join(" ").toLowerCase();
  return row.searched;
}

function parseComparison(name, operator, text, problems) {
  const wanted = text.trim() !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  if (typeof wanted === "string" && !["=", "!="].includes(operator)) problems.push(`${name}${operator}${text}: expected a number after ${operator}`);
  const known = rows.some((row) => values(row, name).length);
  if (!known) problems.push(`nothing is named ${name}`);
  const equal = (value) => (typeof wanted === "number" ? value : written(value));
  return (row) => {
    const found = values(row, name).map(equal);
    return operator === "!=" ? found.every((value) => value !== wanted) : found.some((value) => OPERATORS[operator](value, wanted));
  };
}

// Returns the values of a version that the end of a parameter's or score's name means.
function values(row, name) {
  const test = row.models[sweptModel(row) ?? row.best]?.test;
  if (name === "errors") return test?.errors === undefined ? [] : [test.errors];
  if (name === "seconds") return row.seconds === null ? [] : [row.seconds];
  const all = { ...params(row), ...row.metrics };
  if (name in all) return [all[name]];
  return Object.keys(all).filter((key) => key.endsWith(`.${name}`) || key.endsWith(`:${name}`)).map((key) => all[key]);
}

function isShown(row, query) {
  const [from, to] = state.part ?? [-Infinity, Infinity];
  return row.number >= from && row.number <= to && query.test(row);
}
