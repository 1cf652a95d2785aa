// The order of the table: a line for a version or a sweep, the newest, the best or the slowest first.

const modelOf = (sweep) => {
  const models = new Set(sweep.keys.map((key) => /^models\.([^.]+)\./.exec(key)?.[1]));
  return models.size === 1 && [...models][0] ? [...models][0] : undefined;
};

// Returns the model that a version's sweep varies, which its line shows; undefined where the line shows the chosen one.
const sweptModel = (row) => (sweepOf.has(row.id) ? modelOf(sweepOf.get(row.id)) : undefined);

// Returns the versions with the best first; in their order where their validation scores cannot be compared.
function bestFirst(members, model) {
  if (!areComparable(members, model)) return [...members];
  const by = chooserAmong(members, model);
  return [...members].sort((a, b) => (by.of(a) ?? Infinity) - (by.of(b) ?? Infinity));
}

// Returns the versions in lists of equal data, validation samples and targets: first those on the baseline's, then the
// others, the newest first.
function byValidation(shown) {
  const base = byId.get(state.base), parts = base ? [{ first: base, members: [] }] : [];
  for (const row of [...shown].reverse()) {
    let part = parts.find(({ first }) => !hasOtherData(row, first) && !hasOtherValidation(row, first));
    if (!part) parts.push(part = { first: row, members: [] });
    part.members.push(row);
  }
  return parts.map(({ members }) => members);
}

// Returns the places of the versions with a score by their id, from 0 on: scores of different samples cannot be compared.
function places(shown) {
  const found = new Map();
  for (const members of byValidation(shown)) {
    const { of } = chooserAmong(members);
    const scored = members.filter((row) => of(row) !== null).sort((a, b) => of(a) - of(b));
    for (const row of scored) found.set(row.id, found.size);
  }
  return found;
}

// Returns the shown versions as groups of one line, or of a sweep, in the order of the choice.
function grouped(shown) {
  const groups = new Map();
  for (const row of [...shown].reverse()) {
    const sweep = sweepOf.get(row.id);
    const key = sweep ? sweep.id : row.id;
    if (!groups.has(key)) groups.set(key, { sweep, members: [] });
    groups.get(key).members.push(row);
  }
  const place = state.sort === "best" ? places(shown) : new Map();
  const value = {
    new: (group) => -Math.max(...group.members.map((row) => row.when || Infinity)),
    best: (group) => Math.min(...group.members.map((row) => place.get(row.id) ?? Infinity)),
    slow: (group) => -Math.max(...group.members.map((row) => row.seconds ?? 0)),
  }[state.sort];
  return [...groups.values()].map((group) => ({ ...group, order: value(group) })).sort((a, b) => (a.order === b.order ? 0 : a.order - b.order));
}
