// Runs the script of a report on a few stand-ins for a browser's objects, opens every step, and prints what it says.
const fs = require("fs");
const text = fs.readFileSync(process.argv[2], "utf8");

class Node {
  constructor(tag) { Object.assign(this, { localName: tag, attributes: {}, children: [], classes: new Set(), style: {}, listeners: {}, dataset: {}, clientWidth: 900, scrollWidth: 300 }); }
  get firstElementChild() { return this.children.find((one) => one instanceof Node) ?? null; }
  set className(said) { this.classes = new Set(said.split(" ")); }
  get classList() { return { add: (name) => this.classes.add(name), toggle: () => {}, contains: (name) => this.classes.has(name) }; }
  setAttribute(name, value) { this.attributes[name] = String(value); if (name.startsWith("data-")) this.dataset[name.slice(5)] = String(value); }
  getAttribute(name) { return this.attributes[name] ?? null; }
  toggleAttribute(name, on) { if (on) this.attributes[name] = ""; else delete this.attributes[name]; }
  append(...children) { for (const one of children.flat(9)) { if (one === undefined || one === null) throw new Error("nothing appended"); if (one instanceof Node) one.parent = this; this.children.push(one); } }
  replaceChildren(...children) { this.children = []; this.append(...children); }
  replaceWith(other) { this.parent.children[this.parent.children.indexOf(this)] = other; other.parent = this.parent; }
  cloneNode(deep) { const made = new Node(this.localName); made.attributes = { ...this.attributes }; made.dataset = { ...this.dataset }; if (deep) made.children = this.children.map((one) => one instanceof Node ? one.cloneNode(true) : one); return made; }
  addEventListener(name, does) { this.listeners[name] = does; }
  dispatchEvent() {} remove() {} focus() {} scrollIntoView() {} scrollTo() {}
  getBoundingClientRect() { return { left: 0, top: 0, width: 100, height: 100, bottom: 100 }; }
  getContext() { return { putImageData() {} }; }
  matches(selector) { return selector.startsWith("[data-") ? selector.slice(1, -1) in this.attributes : selector.startsWith(".") ? this.classes.has(selector.slice(1)) : this.localName === selector; }
  *all() { for (const one of this.children) if (one instanceof Node) { yield one; yield* one.all(); } }
  querySelectorAll(selectors) { const last = selectors.split(",").map((one) => one.trim().split(" ").at(-1)); return [...this.all()].filter((one) => last.some((s) => one.matches(s))); }
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? null; }
  get textContent() { return this.children.map((one) => one instanceof Node ? one.textContent : String(one)).join(""); }
  set textContent(said) { this.children = [String(said)]; }
}

function parsed(markup) {  // the few elements of a template
  const root = new Node("template"), open = [root];
  for (const [, end, tag, given, words] of markup.matchAll(/<(\/?)([\w-]+)([^>]*?)\/?>|([^<]+)/g)) {
    if (words !== undefined) open.at(-1).children.push(words);
    else if (end) open.length > 1 && open.pop();
    else { const made = new Node(tag); for (const [, name, value] of given.matchAll(/([\w-]+)="([^"]*)"/g)) made.setAttribute(name, value); open.at(-1).append(made); open.push(made); }
  }
  return root;
}

const byId = { data: new Node("script") };
byId.data.textContent = /<script type="application\/json" id="data">([^]*?)<\/script>/.exec(text)[1];
for (const [, id, inside] of text.matchAll(/<template id="([\w-]+)">([^]*?)<\/template>/g)) byId[id] = { content: parsed(inside) };
const page = { documentElement: new Node("html"), body: new Node("body"), activeElement: null, createElement: (tag) => new Node(tag), createElementNS: (_, tag) => new Node(tag), addEventListener() {}, getElementById: (id) => byId[id], querySelectorAll: (s) => page.body.querySelectorAll(s) };
const world = { document: page, innerWidth: Number(process.argv[3] ?? 1400), innerHeight: 900, addEventListener() {}, scrollTo() {}, history: { pushState() {}, replaceState() {} }, location: { hash: "" },
  matchMedia: () => ({ matches: false }), getComputedStyle: () => ({ fontSize: "19px" }), ImageData: class { constructor(w, h) { this.data = new Uint8ClampedArray(4 * w * h); } }, ResizeObserver: class { observe() {} },
  localStorage: { getItem: () => null, setItem() {} }, requestAnimationFrame: (does) => does() };
const script = /<script>("use strict";[^]*?)<\/script>/.exec(text)[1].replace(/\}\)\(\);\s*$/, "return { go, DATA };})()");
const { go, DATA } = new Function(...Object.keys(world), `return ${script.replace(/^"use strict";/, "")}`)(...Object.values(world));
const said = [];
for (let at = -1; at < DATA.count; at++) { go(at); said.push(page.body.textContent); }
for (const button of page.body.querySelectorAll("button")) button.listeners.click?.({ target: null });
process.stdout.write(JSON.stringify(said));
