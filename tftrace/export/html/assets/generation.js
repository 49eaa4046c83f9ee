// What the forwards took in and gave out: the likeliest next tokens as bars, and a generation as tokens × layers.
const G = DATA.generation;
let text = 0, norms = false, column = -1;

function bars(answer) {
  if (!answer) return h("p.soft", {}, say("ended"));
  const [, took, gave, entropy, likeliest] = answer;
  const most = Math.max(...likeliest.map(([, share]) => share ?? 0), 1e-9);
  return [
    h("p", {}, took ? `“${W[took]}” ` : "", gave.length ? `→ ${gave.map((one) => `“${W[one]}”`).join(" / ")}` : "",
      entropy === null ? "" : h("span.soft", {}, `  ${say("entropy", entropy.toFixed(2))}`)),
    h("div.likeliest", {}, likeliest.map(([token, share, mark]) => {
      const bar = h("i");
      bar.style.width = `${share === null ? 0 : Math.max(0.5, (share / most) * 100)}%`;
      return [h(`b${mark === 1 ? ".went" : ""}`, {}, W[token]), h("span.figure", {}, share === null ? "–" : share.toFixed(4)),
        h("span.share", {}, bar), h("span.soft", {}, mark ? `◂ ${say(mark === 1 ? "chosen" : "otherBeam")}` : share === null ? say("notTen") : "")];
    })),
  ];
}

function answerCard(at) {  // on the outermost step of a forward
  const answers = DATA.answers[at];
  return answers ? h("section.card", {}, h("h2", {}, say("answer")), answers.map(bars)) : "";
}

function generationCard() {
  if (!G) return "";
  const values = norms ? G.norm : G.time, known = values.flat().filter((value) => value !== null);
  const top = Math.max(...known, 1e-30), colors = ramp(), place = Math.min(column < 0 ? G.roots.length - 1 : column, G.roots.length - 1);
  const answers = G.texts[Math.min(text, G.texts.length - 1)] ?? [];
  const detail = h("div.told");
  const tell = (at) => {
    column = at;
    detail.replaceChildren(h("p", {}, h("a", { href: `#${G.roots[at]}` }, say("pass", G.forwards[at])), G.titles[text] ? ` · ${W[G.titles[text]]}` : ""),
      ...[bars(answers[at])].flat(9));
    for (const head of made.querySelectorAll("thead [data-at]")) head.toggleAttribute("data-here", Number(head.dataset.at) === at);
  };
  const head = (name, said) => h("tr", {}, h("th", {}, say(name)), answers.map((one, at) =>
    h("th", { "data-at": at, onclick: () => tell(at), title: say("pass", G.forwards[at]) }, one ? said(one) : "")));
  const made = h("table.grid", {},
    h("thead", {}, answers.some(Boolean) ? [head("took", ([many, took]) => `${many > 1 ? "…" : ""}${W[took]}`), head("gave", ([, , gave]) => gave.map((one) => W[one]).join("/"))]
      : h("tr", {}, h("th"), G.forwards.map((number, at) => h("th", { "data-at": at, onclick: () => tell(at) }, number)))),
    h("tbody", {}, G.rows.map((row, y) => h("tr", {}, h("th", {}, W[row]), G.cells[y].map((at, x) => {
      if (at < 0) return h("td");
      const value = values[y][x], color = colors[Math.round((value === null ? 0 : value / top) * 255)];
      const cell = h("td", { onclick: () => go(at), onmouseenter: () => tell(x), title: `${W[row]} · ${number(value)}` },
        `${["", "", "△", "✗", "×"][G.found[y][x]]}${number(value)}`);
      cell.style.background = `rgb(${color.join()})`;
      cell.style.color = color[0] * 0.3 + color[1] * 0.59 + color[2] * 0.11 > 140 ? "#000" : "#fff";
      return cell;
    })))));
  const again = () => section.replaceWith(generationCard());
  const section = h("section.card", {},
    h("h2", {}, say("generation"), h("span.soft", {}, say(norms ? "norms" : "times")), h("span.push"),
      G.texts.length > 1 ? h("button.toggle", { onclick: () => { text = (text + 1) % G.texts.length; again(); } }, say("nextText", text + 1, G.texts.length)) : "",
      h("button.toggle", { onclick: () => { norms = !norms; again(); } }, say(norms ? "showTimes" : "showNorms"))),
    h("div.scroll", {}, made), detail);
  tell(place);
  return section;
}
