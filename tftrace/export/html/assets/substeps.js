// Attention in its five sub-steps, as the paper has them.
function substepsCard(at) {
  const found = DATA.substeps[at];
  if (!found) return "";
  const zh = language === "zh" ? 1 : 0;
  return h("section.card", {}, h("h2", {}, say("substeps"), h("a.soft", { href: `#${at}` }, ` ${W[S.label[at]]}`)),
    h("ol.substeps", {}, found.map(([name, math, note, places, fused, tensors], place) => h("li", {},
      h("h3", {}, `${place + 1} · ${W[name[zh]]}`, fused ? h("span.soft", {}, ` ${say("fused")}`) : ""),
      formula(math, []),
      h("p.note", { lang: language }, W[note[zh]]),
      places.length ? h("p.soft", {}, places.map((step, nth) => [nth ? ",  " : "", link(step, `${step} · ${W[S.label[step]]}`)])) : "",
      tensors.length ? h("dl.legend", {}, tensors.map(([symbol, named, said, rebuilt]) => [
        h("dt", {}, W[symbol] || "·"), h("dd", {}, `${W[named]}  `, h("span.soft", {}, `${W[said]}${rebuilt ? ` (${say("rebuiltOne")})` : ""}`))])) : ""))));
}
