// The data, and the few ways in which everything else touches the page: text only, never markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const { steps: S, tensors: T, words: W } = DATA;
const MARKS = ["", "✓", "✗", "·", "△"], VERDICTS = ["", "holds", "differs", "unchecked", "design"];
const DIFFERS = 2, DESIGN = 4;
const ROLE_MARKS = ["→", "θ", "=", "←", "∂"], LINE = 2, CALLS = new Set([0, 1]);
let language = (remembered("language") ?? document.documentElement.lang) === "zh" ? "zh" : "en";
const say = (name, ...given) =>
  given.reduce((said, value, at) => said.replace(`{${at}}`, value), SAID[language][name] ?? name);

const told = (sentence) => (language === "zh" && DATA.told[sentence]) || sentence;  // what the data say

function h(tag, given = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name || "div");
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

function s(tag, given = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function remembered(name) {
  try { return localStorage.getItem(`tftrace-${name}`); } catch { return null; }
}

function remember(name, value) {
  try { localStorage.setItem(`tftrace-${name}`, value); } catch { /* a page from a file may have no memory */ }
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  remember("theme", name);
  for (const canvas of document.querySelectorAll("canvas")) canvas.dispatchEvent(new Event("recolour"));
}

function number(value) {
  if (value === null) return "";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e5) return String(value).replace("-", "−");
  const said = size >= 1e-3 && size < 1e5 ? Number(value.toPrecision(3)).toString() : value.toExponential(1);
  return said.replaceAll("-", "−");
}

const badge = (verdict) => h(`span.badge.${VERDICTS[verdict] || "none"}`, {},
  `${MARKS[verdict]} ${verdict === DIFFERS ? say("differsOne") : say(VERDICTS[verdict])}`);
const isCall = (at) => CALLS.has(S.kind[at]);
const judgedAt = (at) => {
  for (let up = at; up >= 0; up = S.parent[up]) if (DATA.judged[up]) return up;
  return -1;
};

// -- which step is shown: the page's address says it, so that a link leads to a step ---------------------
let current = -1;
const shown = [];
const onShow = (does) => shown.push(does);

function go(at, quietly) {
  current = Math.max(-1, Math.min(DATA.count - 1, at));
  const address = current < 0 ? "#" : `#${current}`;
  if (location.hash !== address) history[quietly ? "replaceState" : "pushState"](null, "", address);
  for (const does of shown) does(current);
}

const addressed = () => {
  const said = /^#(\d{1,9})$/.exec(location.hash);
  return said ? Number(said[1]) : -1;
};
