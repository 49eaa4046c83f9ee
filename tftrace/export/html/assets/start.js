// The frame around it all, and the keys.
const main = h("main", { id: "main", tabindex: "-1" });
const shell = h("div.shell");
let opened = null;

function dialog(title, ...content) {
  closeDialog();
  opened = h("div.veil", { onclick: (event) => event.target === opened && closeDialog() },
    h("div.dialog", { role: "dialog", "aria-modal": "true", "aria-label": title },
      h("h2", {}, title, h("span.push"), h("button", { onclick: closeDialog, "aria-label": say("close") }, "✕")), ...content));
  document.body.append(opened);
  opened.querySelector("button").focus();
}

function closeDialog() {
  pointAt(null);
  opened?.remove();
  opened = null;
}

const help = () => dialog(say("help"), h("dl.keys", {}, say("keys").map(([key, does]) => [h("dt", {}, key), h("dd", {}, does)])));
const search = h("input", { type: "search", spellcheck: "false", oninput: () => { wanted = search.value.trim(); list.scrollTop = 0; arrange(); } });
const toggle = (name, get, set) => {
  const made = h("button.toggle", { onclick: () => { set(!get()); arrange(); refresh(); if (current >= 0) reveal(current); } });
  return { made, refresh: () => { made.textContent = say(name); made.setAttribute("aria-pressed", String(get())); } };
};
const toggles = [
  toggle("lines", () => withLines, (on) => { withLines = on; }),
  toggle("wrong", () => onlyWrong, (on) => { onlyWrong = on; }),
  toggle("noted", () => onlyNoted, (on) => { onlyNoted = on; }),
];
const home = h("a.home", { href: "#" });
const speak = h("button", { onclick: () => { language = language === "en" ? "zh" : "en"; remember("language", language); refresh(); go(current, true); } });
const shine = h("button", { onclick: () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark") }, "◐");
const ask = h("button", { onclick: help }, "?");

function refresh() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  search.placeholder = say("search");
  search.setAttribute("aria-label", say("search"));
  home.textContent = say("overview");
  speak.textContent = say("language");
  shine.title = say("theme");
  ask.title = say("help");
  for (const one of toggles) one.refresh();
}

onShow((at) => {
  closeDialog();
  home.setAttribute("aria-current", String(at < 0));
  main.replaceChildren(...(at < 0 ? overviewPage() : stepPage(at)).flat(9).filter(Boolean));
  fitAll();
  scrollTo(0, 0);
  main.scrollTop = 0;
  at < 0 ? draw() : reveal(at);
});

function escape() {
  if (opened) return closeDialog();
  if (!wanted && document.activeElement !== search) return;
  search.value = wanted = "";
  list.focus();
  arrange();
  if (current >= 0) reveal(current);
}

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  ArrowRight: () => (folded.has(current) ? fold(current) : move(1)),
  ArrowLeft: () => (!flat() && S.end[current] > current + 1 && !folded.has(current) ? fold(current) : KEYS.u()),
  u: () => { let up = S.parent[current]; while (up >= 0 && !withLines && !isCall(up)) up = S.parent[up]; if (up >= 0) go(up); },
  n: () => moveWrong(1), p: () => moveWrong(-1), o: () => go(-1), "/": () => search.focus(),
  l: () => toggles[0].made.click(), L: () => speak.click(), t: () => shine.click(), "?": help,
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { escape(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || opened) return;
  if (document.activeElement === search) { if (event.key === "Enter" && rows.length) { go(rows[0]); list.focus(); } return; }
  const does = KEYS[event.key];
  if (does) { event.preventDefault(); does(); }
});
let wide = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === wide) return;  // a phone hides its bars while it scrolls
  wide = innerWidth;
  redrawMaps();
  fitAll();
});
new ResizeObserver(fitAll).observe(main);  // the list beside it can be made wider
addEventListener("popstate", () => go(addressed(), true));
addEventListener("hashchange", () => addressed() !== current && go(addressed(), true));

document.documentElement.dataset.theme = remembered("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
shell.append(
  h("aside", {}, h("div.bar", {}, home, h("span.push"), speak, shine, ask), search, h("div.bar", {}, toggles.map((one) => one.made)), list), main);
document.body.append(shell, pointer);
lookForMathsFont();
refresh();
arrange();
go(addressed(), true);
