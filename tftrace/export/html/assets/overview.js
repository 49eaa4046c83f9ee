// The first page: what was run, how it flows, which equations it has and what came of them.
function equationList() {
  const found = new Map();
  for (const [at, judged] of Object.entries(DATA.judged)) {
    for (const [id, , verdict] of judged) {
      if (!found.has(id)) found.set(id, { first: Number(at), counts: VERDICTS.map(() => 0) });
      found.get(id).counts[verdict] += 1;
    }
  }
  return [...found].map(([id, { first, counts }]) => {
    const recipe = DATA.equations[W[id]], note = recipe.note[language === "zh" ? 1 : 0];
    return h("section.card.equation", {},
      h("p.cite", {}, recipe.cite, h("span.push"), counts.map((count, verdict) => count && verdict
        ? h(`span.badge.${VERDICTS[verdict]}`, {}, `${MARKS[verdict]} ${count}`) : "")),
      formula(recipe.math, [], recipe.drawn),
      note ? h("p.note", { lang: language }, note) : "",
      h("p.soft", {}, `${say("first")} `, link(first, `${first} · ${W[S.path[first]]}`)));
  });
}

function stepList(title, steps, said) {
  if (!steps.length) return "";
  return h("section", {}, h("h2", {}, title), h("ul.steps", {}, steps.slice(0, 200).map((at) => h("li", {},
    link(at, `${at} · ${W[S.path[at]]}`), h("p", {}, said(at))))));
}

function flowCard() {
  const drawn = document.getElementById("flow").content.firstElementChild;
  if (!drawn) return "";
  const made = drawn.cloneNode(true);
  for (const box of made.querySelectorAll("[data-step]")) {
    const at = Number(box.dataset.step);
    if (at < DATA.count) { box.classList.add("link"); box.addEventListener("click", () => go(at)); }
  }
  return h("section", {}, h("h2", {}, say("flow"), h("span.soft", {}, ` ${say("show")}`)), h("div.scroll.picture", {}, made));
}

function overviewPage() {
  const judgedSo = (verdict) => [...S.verdict.keys()].filter((at) => S.verdict[at] === verdict);
  const reason = (verdict) => (at) =>
    (DATA.judged[at] || []).filter((one) => one[2] === verdict).map((one) => told(W[one[3]])).join(" · ");
  return [
    h("header.step", {}, h("h1", {}, DATA.title)),
    h("dl.about", {}, DATA.about.map(([name, value]) => [h("dt", {}, say(name)), h("dd", {}, told(value))])),
    DATA.count < DATA.all ? h("p.card.mine", {}, say("cut", DATA.count.toLocaleString(), DATA.all.toLocaleString())) : "",
    generationCard(),
    stepList(say("made"), Object.keys(DATA.made).map(Number), (at) => told(DATA.made[at])),
    stepList(say("differs"), judgedSo(DIFFERS), reason(DIFFERS)),
    stepList(say("byDesign"), judgedSo(DESIGN), reason(DESIGN)),
    stepList(say("notes"), Object.keys(DATA.notes).map(Number), (at) => DATA.notes[at]),
    h("div.columns", {}, flowCard(), h("section", {}, h("h2", {}, say("equations")), h("div.stack", {}, equationList()))),
  ];
}
