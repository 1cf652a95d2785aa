// Paired tests of two models on the same test images, as `stages/report/statistics` has them: McNemar's exact test,
// Newcombe's interval, Holm's correction.

const SIGNIFICANT = 0.05;
const Z = 1.959963984540054;
const wrongOf = new Map();

function bytes(text) {
  const raw = atob(text);
  return Uint8Array.from(raw, (letter) => letter.charCodeAt(0));
}

// Returns the wrong images of predictions, by index: what they were taken for.
function wrong(digest) {
  if (wrongOf.has(digest)) return wrongOf.get(digest);
  const item = data.predictions[digest], answers = bytes(item.as), found = new Map();
  let index = 0, value = 0, shift = 0;
  for (const byte of bytes(item.at)) {
    value += (byte & 127) * 2 ** shift;
    shift += 7;
    if (byte < 128) {
      index += value;
      found.set(index, answers[found.size]);
      value = shift = 0;
    }
  }
  wrongOf.set(digest, found);
  return found;
}

function mcnemar(onlyNew, onlyOld) {
  const tosses = onlyNew + onlyOld, fewer = Math.min(onlyNew, onlyOld);
  if (!tosses) return 1;
  let term = -tosses * Math.LN2, sum = Math.exp(term);
  for (let k = 1; k <= fewer; k += 1) {
    term += Math.log((tosses - k + 1) / k);
    sum += Math.exp(term);
  }
  return Math.min(1, 2 * sum);
}

function wilson(successes, n) {
  const share = successes / n, z2 = Z * Z, base = 1 + z2 / n;
  const centre = (share + z2 / (2 * n)) / base;
  const half = (Z / base) * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n * n));
  return [successes ? centre - half : 0, successes < n ? centre + half : 1];
}

function newcombe(both, onlyNew, onlyOld, neither) {
  const n = both + onlyNew + onlyOld + neither;
  const [a, b] = [wilson(both + onlyNew, n), wilson(both + onlyOld, n)];
  const cross = both * neither - onlyNew * onlyOld;
  const corrected = cross > 0 ? Math.max(cross - n / 2, 0) : cross;
  const margins = (both + onlyNew) * (onlyOld + neither) * (both + onlyOld) * (onlyNew + neither);
  const phi = margins ? corrected / Math.sqrt(margins) : 0;
  const p = (both + onlyNew) / n, q = (both + onlyOld) / n;
  const far = (one, other) => Math.sqrt(Math.max(one * one - 2 * phi * one * other + other * other, 0));
  return [p - q - far(p - a[0], b[1] - q), p - q + far(a[1] - p, q - b[0])];
}

// Compares two models of versions; null where they cannot be compared. Positive where the new one is better.
function pairedTest(fresh, old) {
  const one = data.predictions[fresh?.predictions], other = data.predictions[old?.predictions];
  if (!one || !other || one.labels !== other.labels) return null;
  const now = wrong(fresh.predictions), before = wrong(old.predictions);
  const newlyWrong = [...now.keys()].filter((index) => !before.has(index));
  const newlyRight = [...before.keys()].filter((index) => !now.has(index));
  const neither = now.size - newlyWrong.length;
  const both = one.n - neither - newlyWrong.length - newlyRight.length;
  const p = mcnemar(newlyRight.length, newlyWrong.length);
  const [low, high] = newcombe(both, newlyRight.length, newlyWrong.length, neither);
  return withVerdict({ difference: (newlyRight.length - newlyWrong.length) / one.n, low, high, p, newlyWrong, newlyRight, n: one.n, labels: one.labels });
}

function withVerdict(test) {
  const decides = test.p < SIGNIFICANT;
  return { ...test, verdict: decides ? (test.difference > 0 ? "better" : "worse") : "cannot tell" };
}

// Holm's correction: all tests together err in 5% at most.
function holm(tests) {
  const order = tests.map((_, place) => place).sort((a, b) => tests[a].p - tests[b].p);
  let least = 0;
  const corrected = [...tests];
  order.forEach((place, rank) => {
    least = Math.max(least, Math.min(1, tests[place].p * (tests.length - rank)));
    corrected[place] = withVerdict({ ...tests[place], p: least });
  });
  return corrected;
}

// The tests against a baseline by version, corrected over all versions: of the best models, and of those that sweeps vary.
const testsAgainst = new Map();

function correctedTests(base, isSwept) {
  const key = `${isSwept} ${base.id}`;
  if (!testsAgainst.has(key)) {
    const modelFor = (row) => (isSwept ? sweepOf.has(row.id) && modelOf(sweepOf.get(row.id)) : row.best);
    const pairs = rows.filter((row) => row !== base && modelFor(row)).map((row) => [row.id, pairedTest(row.models[modelFor(row)], base.models[isSwept ? modelFor(row) : base.best])]).filter(([, test]) => test);
    const corrected = holm(pairs.map(([, test]) => test));
    testsAgainst.set(key, new Map(pairs.map(([id], place) => [id, corrected[place]])));
  }
  return testsAgainst.get(key);
}

// Returns the difference of a version's best model to the baseline's, or of the model that its sweep varies to its own.
function againstBaseline(row, model) {
  const base = byId.get(state.base);
  if (!base || base === row) return null;
  if (!model && state.base === data.baseline) return row.verdict;
  return correctedTests(base, Boolean(model)).get(row.id) ?? null;
}
