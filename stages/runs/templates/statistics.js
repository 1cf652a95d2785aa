// Paired tests of two models on the same test images, as `stages/report/statistics` has them: McNemar's exact test and its
// interval, Newcombe's interval, Holm's correction.

const SIGNIFICANT = 0.05;
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

// Returns where a function that falls from `low` to `high` takes a value.
function whereFalls(fall, value, low, high) {
  for (let step = 0; step < 60; step += 1) {
    const middle = (low + high) / 2;
    [low, high] = fall(middle) > value ? [middle, high] : [low, middle];
  }
  return (low + high) / 2;
}

// The probability that a normal variable is above z, which is at least 1, by Laplace's continued fraction.
function normalAbove(z) {
  let rest = z;
  for (let k = 100; k; k -= 1) rest = z + k / rest;
  return Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI) / rest;
}

const normalEnd = (level) => whereFalls(normalAbove, level / 2, 1, 20);

// The probability of at most `hits` heads of `n` tosses, each a head with the probability `share`.
function headsAtMost(hits, n, share) {
  let term = n * Math.log1p(-share), sum = Math.exp(term);
  for (let k = 1; k <= hits; k += 1) {
    term += Math.log(((n - k + 1) / k) * (share / (1 - share)));
    sum += Math.exp(term);
  }
  return sum;
}

// Returns the upper end of Clopper and Pearson's interval of the share of heads.
const largestShare = (hits, n, level) => (hits === n ? 1 : whereFalls((share) => headsAtMost(hits, n, share), level / 2, 0, 1));

function wilson(successes, n, z) {
  const share = successes / n, z2 = z * z, base = 1 + z2 / n;
  const centre = (share + z2 / (2 * n)) / base;
  const half = (z / base) * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n * n));
  return [successes ? centre - half : 0, successes < n ? centre + half : 1];
}

function newcombe([both, onlyNew, onlyOld, neither], level) {
  const n = both + onlyNew + onlyOld + neither, z = normalEnd(level);
  const [a, b] = [wilson(both + onlyNew, n, z), wilson(both + onlyOld, n, z)];
  const cross = both * neither - onlyNew * onlyOld;
  const corrected = cross > 0 ? Math.max(cross - n / 2, 0) : cross;
  const margins = (both + onlyNew) * (onlyOld + neither) * (both + onlyOld) * (onlyNew + neither);
  const phi = margins ? corrected / Math.sqrt(margins) : 0;
  const p = (both + onlyNew) / n, q = (both + onlyOld) / n;
  const far = (one, other) => Math.sqrt(Math.max(one * one - 2 * phi * one * other + other * other, 0));
  return [p - q - far(p - a[0], b[1] - q), p - q + far(a[1] - p, q - b[0])];
}

// Returns the interval that inverts McNemar's exact test, given the number of images that differ.
function exactInterval([both, onlyNew, onlyOld, neither], level) {
  const tosses = onlyNew + onlyOld, scale = tosses / (both + tosses + neither);
  const shares = [1 - largestShare(onlyOld, tosses, level), largestShare(onlyNew, tosses, level)];
  return shares.map((share) => scale * (2 * share - 1));
}

// Returns Newcombe's interval at the level of a test. Where it and the exact test disagree about 0, the end near 0 is
// that of the exact interval, which belongs to the test.
function intervalAt({ counts, difference, p }, level) {
  const [low, high] = newcombe(counts, level);
  if (p < level === (low > 0 || high < 0)) return { low, high };
  const exact = exactInterval(counts, level);
  return difference > 0 ? { low: exact[0], high } : { low, high: exact[1] };
}

// Compares two models of versions, uncorrected and without a verdict; null where they cannot be compared, as on other test
// images with equal labels. The difference is positive where the new one is better; `counts` are the images that both,
// one or neither of them gets right.
function pairedTest(newRow, newModel, oldRow, oldModel) {
  const fresh = newRow.models[newModel], old = oldRow.models[oldModel];
  const one = data.predictions[fresh?.predictions], other = data.predictions[old?.predictions];
  if (!one || !other || one.labels !== other.labels || hasOtherTest(newRow, oldRow)) return null;
  const now = wrong(fresh.predictions), before = wrong(old.predictions);
  const newlyWrong = [...now.keys()].filter((index) => !before.has(index));
  const newlyRight = [...before.keys()].filter((index) => !now.has(index));
  const neither = now.size - newlyWrong.length;
  const both = one.n - neither - newlyWrong.length - newlyRight.length;
  const counts = [both, newlyRight.length, newlyWrong.length, neither];
  const p = mcnemar(newlyRight.length, newlyWrong.length);
  return { difference: (newlyRight.length - newlyWrong.length) / one.n, p, counts, newlyWrong, newlyRight, labels: one.labels };
}

function verdictOf({ difference }, p) {
  return p >= SIGNIFICANT ? "cannot tell" : difference > 0 ? "better" : "worse";
}

// Two significant digits, or as many as a p-value needs to stay below, at or above 0.05.
function pText(p) {
  const texts = Array.from({ length: 16 }, (_, more) => p.toPrecision(2 + more));
  return texts.find((text) => Math.sign(Number(text) - SIGNIFICANT) === Math.sign(p - SIGNIFICANT));
}

// Returns the tests with p-values, verdicts and intervals by Holm's correction: all together err in 5% at most. The
// smallest p is tested at 5% / n, the next at 5% / (n - 1) and so on, until one is not significant; all others are
// tested at the level of that one.
function holm(tests) {
  const order = tests.map((_, place) => place).sort((a, b) => tests[a].p - tests[b].p);
  const corrected = [...tests];
  let least = 0, level = SIGNIFICANT, isOpen = true;
  order.forEach((place, rank) => {
    const test = tests[place], left = tests.length - rank;
    least = Math.max(least, Math.min(1, test.p * left));
    if (isOpen) level = SIGNIFICANT / left;
    isOpen &&= test.p < level;
    corrected[place] = { ...test, ...intervalAt(test, level), p: least, verdict: verdictOf(test, least) };
  });
  return corrected;
}

// The tests against a baseline by version, corrected over all tests: of the best models, and of those that sweeps vary.
const testsAgainst = new Map();

function correctedTests(base, isSwept) {
  const key = `${isSwept} ${base.id}`;
  if (!testsAgainst.has(key)) testsAgainst.set(key, testsOf(base, isSwept));
  return testsAgainst.get(key);
}

// Versions with the same predictions share a test; those with the baseline's need none, and those on other test images
// have none.
function testsOf(base, isSwept) {
  const modelFor = (row) => (isSwept ? sweptModel(row) : row.best);
  const found = new Map(), tests = new Map();
  for (const row of rows.filter((other) => other !== base && modelFor(other) && !hasOtherTest(other, base))) {
    const baseModel = isSwept ? modelFor(row) : base.best;
    const fresh = row.models[modelFor(row)], old = base.models[baseModel];
    const pair = `${fresh?.predictions} ${old?.predictions}`;
    if (areSame(fresh, old)) found.set(row.id, { difference: 0, verdict: "the same" });
    else {
      if (!tests.has(pair)) tests.set(pair, { test: pairedTest(row, modelFor(row), base, baseModel), ids: [] });
      tests.get(pair).ids.push(row.id);
    }
  }
  const made = [...tests.values()].filter(({ test }) => test), corrected = holm(made.map(({ test }) => test));
  made.forEach(({ ids }, place) => ids.forEach((id) => found.set(id, corrected[place])));
  return found;
}

const areSame = (fresh, old) => Boolean(fresh?.predictions) && fresh.predictions === old?.predictions;

// Returns the difference of a version's best model to the baseline's, or of the model that its sweep varies to its own.
function againstBaseline(row, model) {
  const base = byId.get(state.base);
  if (!base || base === row) return null;
  if (!model && state.base === data.baseline) return row.verdict;
  return correctedTests(base, Boolean(model)).get(row.id) ?? null;
}
