// One step: its line, its equation, its numbers, its verdict, its note.
const link = (at, said) => h("a", { href: `#${at}` }, said ?? `${at}`);
const HUES = 8;

const odd = (tensor) => W[T.odd[tensor]].replace(/zero$/, say("zero"));

function colourMaths(math, legend) {  // a symbol of one letter has the colour of its tensor
  const hue = new Map(legend.map((one, at) => [W[one[1]], at % HUES]).filter(([spelled]) => spelled.length === 1));
  for (const letter of math.querySelectorAll("mi")) {
    const found = hue.get(letter.textContent);
    if (found !== undefined) letter.classList.add(`hue-${found}`);
  }
  return math;
}

function equationCard(at) {
  const call = judgedAt(at);
  if (call < 0) return "";
  return DATA.judged[call].map(([id, dims, verdict, judgement, legend]) => {
    const recipe = DATA.equations[W[id]], note = recipe.note[language === "zh" ? 1 : 0];
    return h("section.card.equation", {},
      h("h2", {}, say("equation"), call !== at ? h("span.soft", {}, ` ${say("within")} `, link(call, W[S.path[call]])) : ""),
      h("p.cite", {}, recipe.cite),
      formula(recipe.math, legend, recipe.drawn),
      W[dims] ? h("p.dims", {}, W[dims]) : "",
      h(`p.verdict.${VERDICTS[verdict] || "none"}`, {}, told(W[judgement])),
      note ? h("p.note", { lang: language }, note) : "",
      recipe.papers.map(paper => h("p.paper", {}, paper)),
      legend.length ? h("dl.legend", {}, legend.map(([symbol, , said, tensor], place) => [
        h(`dt.hue-${place % HUES}`, {}, W[symbol]), h("dd", { "data-tensor": tensor }, W[said])])) : "");
  });
}

function sourceCard(at) {
  const code = S.code[at];
  if (!code) return "";
  const [file, title, first, last, callFirst, from, callLast, to] = code;
  const lines = DATA.files[file].lines, values = bound(at, file);
  const shown = [];
  for (let number = Math.max(1, first - 7); number <= last + 7; number++) {
    const pieces = lines[number];
    if (!pieces) continue;
    const here = number >= first && number <= last, text = h("code", {});
    let column = 0;
    for (let piece = 0; piece < pieces.length; piece += 2) {
      for (const [part, called] of split(pieces[piece + 1], column, number, callFirst, from, callLast, to))
        text.append(h(`span${pieces[piece] ? `.t-${pieces[piece]}` : ""}${called ? ".called" : ""}`, {}, part));
      column += pieces[piece + 1].length;
    }
    shown.push(h(`div.line${here ? ".here" : ""}`, {}, h("span.number", {}, number), text));
    if (number === last || values.has(number)) shown.push(...(values.get(number) ?? []));
  }
  return h("section.card.source", {}, h("h2", {}, W[title]), h("div.code", {}, shown));
}

function split(text, column, number, first, from, last, to) {  // the part of a piece that is the call itself
  if (first === undefined || number < first || number > last) return [[text, false]];
  const margin = column ? 0 : text.length - text.trimStart().length;
  const begin = Math.max(0, (number === first ? from : margin) - column);
  const end = Math.min(text.length, (number === last ? to : Infinity) - column);
  if (begin >= end) return [[text, false]];
  return [[text.slice(0, begin), false], [text.slice(begin, end), text.trim() !== ""], [text.slice(end), false]].filter(([part]) => part);
}

function bound(at, file) {  // what the lines of the same call bound until now, beside each line
  const found = new Map();
  let call = at;
  while (call >= 0 && !isCall(call)) call = S.parent[call];
  if (call === at && S.parent[at] >= 0) call = isCall(S.parent[at]) ? S.parent[at] : S.parent[S.parent[at]];
  if (call < 0) return found;
  for (let step = call + 1; step < S.end[call] && step <= at; step = S.end[step]) {
    if (S.kind[step] !== LINE || !S.code[step] || S.code[step][0] !== file) continue;
    const values = [];
    for (let tensor = T.start[step]; tensor < T.start[step + 1]; tensor++)
      values.push(h("a.value", { href: `#${step}` }, "⇒ ", h("b", {}, W[T.name[tensor]]), ` ${W[T.shape[tensor]]}`,
        T.mean[tensor] === null ? "" : `  μ ${number(T.mean[tensor])}  σ ${number(T.std[tensor])}  [${number(T.min[tensor])}, ${number(T.max[tensor])}]`,
        W[T.odd[tensor]] ? h("em", {}, `  ${odd(tensor)}`) : ""));
    if (values.length) found.set(S.code[step][3], values);
  }
  return found;
}

function tensorsCard(at) {
  const [first, last] = [T.start[at], T.start[at + 1]];
  if (first === last) return "";
  const call = judgedAt(at), hues = new Map();
  if (call === at) for (const [, , , , legend] of DATA.judged[at]) legend.forEach((one, place) => { if (!hues.has(one[3])) hues.set(one[3], place % HUES); });
  const body = [];
  for (let tensor = first; tensor < last; tensor++) {
    const hue = hues.get(T.id[tensor]), made = T.from[tensor];
    body.push(h("tr", {},
      h(`td.role.role-${T.role[tensor]}`, { title: SAID[language].roles[T.role[tensor]] ?? "" }, ROLE_MARKS[T.role[tensor]] ?? ""),
      h(`td.name${hue === undefined ? "" : `.hue-${hue}`}`, {}, W[T.name[tensor]],
        made >= 0 ? h("a.from", { href: `#${made}`, title: say("from", made) }, ` ↖ ${made}`) : ""),
      h("td.shape", {}, W[T.shape[tensor]]), h("td.soft", {}, W[T.dtype[tensor]]),
      ["mean", "std", "min", "max"].map((name) => h("td.figure", {}, number(T[name][tensor]))),
      h("td", {}, histogram(T.histogram[tensor]), W[T.odd[tensor]] ? h("em", {}, odd(tensor)) : "")));
  }
  const heads = ["role", "name", "shape", "dtype", "mean", "std", "min", "max", "histogram"];
  return h("section.card", {}, h("h2", {}, say("tensors")), h("div.scroll", {}, h("table", {},
    h("thead", {}, h("tr", {}, heads.map((name) => h(`th${["mean", "std", "min", "max"].includes(name) ? ".figure" : ""}`, {}, say(name))))),
    h("tbody", {}, body))));
}

function attentionOf(at) {  // the step's own, or the only one below it
  if (DATA.attention[at]) return at;
  const below = attentionSteps.filter((step) => step > at && step < S.end[at]);
  return below.length === 1 ? below[0] : -1;
}
const attentionSteps = Object.keys(DATA.attention).map(Number);

const passes = new Set(S.forward).size;

function stepPage(at) {
  const around = [];
  for (let up = S.parent[at]; up >= 0; up = S.parent[up]) if (isCall(up)) around.unshift(h("i", {}, "›"), link(up, W[S.label[up]]));
  const facts = [say("step", at), passes > 1 ? say("pass", S.forward[at]) : "", W[S.detail[at]], W[S.place[at]], W[S.took[at]], W[S.status[at]]].filter(Boolean);
  return [
    h("header.step", {}, h("nav.around", {}, around.slice(1)), h(`h1${S.kind[at] > 1 ? ".code" : ""}`, {}, W[S.label[at]], S.verdict[at] ? badge(S.verdict[at]) : ""),
      h("p.soft", {}, facts.join(" · "))),
    DATA.made[at] !== undefined ? h("section.card", {}, h("p.differs", {}, told(DATA.made[at]))) : "",
    DATA.notes[at] !== undefined ? h("section.card.mine", {}, h("h2", {}, "✎ ", say("notes")), h("p", {}, DATA.notes[at])) : "",
    h("div.pair", {}, sourceCard(at), h("div.stack", {}, equationCard(at))),
    answerCard(at), tensorsCard(at), attentionCard(attentionOf(at)), substepsCard(attentionOf(at)),
    h("nav.steps", {}, at > 0 ? h("a", { href: `#${at - 1}` }, `← ${say("before")}`) : h("i"),
      at + 1 < DATA.count ? h("a", { href: `#${at + 1}` }, `${say("next")} →`) : h("i")),
  ];
}
