// Histograms as small drawings, attention as maps whose cells tell their weight.
const RAMPS = {
  light: ["#fbfaf7", "#d9ebe4", "#a6d3cb", "#6bb3b4", "#348d99", "#176478", "#0a3a52"],
  dark: ["#11151c", "#16313f", "#1b5063", "#257782", "#4aa08f", "#93c68f", "#f4e9a6"],
};

function histogram(place, wide = 132, high = 26) {
  if (place < 0) return "";
  const [low, top, ...counts] = DATA.histograms[place];
  const most = Math.max(...counts), step = wide / counts.length;
  const bars = counts.map((count, at) => {
    const size = count ? Math.max(1, (count / most) * (high - 1)) : 0;
    return s("rect", { x: (at * step).toFixed(2), y: (high - size).toFixed(2), width: (step * 0.86).toFixed(2), height: size.toFixed(2) });
  });
  const zero = low < 0 && top > 0 ? [s("line", { x1: (-low / (top - low)) * wide, x2: (-low / (top - low)) * wide, y1: 0, y2: high })] : [];
  return s("svg", { class: "histogram", width: wide, height: high, viewBox: `0 0 ${wide} ${high}`, role: "img",
    "aria-label": `${number(low)} … ${number(top)}` },
  s("title", {}, `${number(low)} … ${number(top)}`), ...zero, ...bars);
}

const decoded = new Map();
function weights(at) {
  if (!decoded.has(at)) decoded.set(at, Uint8Array.from(atob(DATA.attention[at].weights), (char) => char.charCodeAt(0)));
  return decoded.get(at);
}

function ramp() {
  const name = document.documentElement.dataset.theme === "dark" ? "dark" : "light";
  const stops = RAMPS[name].map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, level) => {
    const at = Math.sqrt(level / 255) * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at));  // small weights are seen
    return stops[low].map((from, part) => Math.round(from + (stops[low + 1][part] - from) * (at - low)));
  });
}

function heatmap(at, head, side) {
  const found = DATA.attention[at], [, queries, keys] = found.shape, cells = weights(at);
  const canvas = h("canvas.heat", { width: keys, height: queries, role: "img", "aria-label": `${say("head")} ${head}` });
  const wide = side * Math.min(1, keys / queries), tall = side * Math.min(1, queries / keys);
  canvas.style.width = `${Math.max(8, wide)}px`;
  canvas.style.height = `${Math.max(8, tall)}px`;
  const paint = () => {
    const colors = ramp(), image = new ImageData(keys, queries);
    for (let cell = 0; cell < keys * queries; cell++) {
      const color = colors[cells[head * keys * queries + cell]];
      image.data.set([color[0], color[1], color[2], 255], cell * 4);
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  };
  paint();
  canvas.addEventListener("recolour", paint);
  canvas.addEventListener("mousemove", (event) => {
    const box = canvas.getBoundingClientRect();
    const key = Math.min(keys - 1, Math.floor(((event.clientX - box.left) / box.width) * keys));
    const query = Math.min(queries - 1, Math.floor(((event.clientY - box.top) / box.height) * queries));
    if (key < 0 || query < 0) return;
    const weight = cells[(head * queries + query) * keys + key] / 255;
    const named = (list, place) => (list[place] === undefined ? String(place) : `${list[place]}`);
    pointAt(event, `${named(found.queries, query)} → ${named(found.keys, key)}   ${weight.toFixed(2)}`);
  });
  canvas.addEventListener("mouseleave", () => pointAt(null));
  return canvas;
}

const pointer = h("div.pointer", { hidden: true });
function pointAt(event, said) {
  pointer.hidden = !event;
  if (!event) return;
  pointer.textContent = said;
  pointer.style.left = `${Math.min(event.clientX + 14, innerWidth - 220)}px`;
  pointer.style.top = `${event.clientY + 16}px`;
}

const SMALLEST = 11;  // pixels of a label; of smaller cells only every n-th has one

function axesMap(at, head, side) {  // a map with its tokens on both axes, where they stay
  const found = DATA.attention[at], [, queries, keys] = found.shape;
  const canvas = heatmap(at, head, side);
  const labels = (list, name, count, whole) => {
    const size = whole / count, every = Math.ceil(SMALLEST / size);
    return h(`div.${name}`, {}, Array.from({ length: Math.ceil(count / every) }, (_, group) => {
      const place = group * every, room = Math.min(every, count - place) * size;
      const label = h("span", { title: list[place] ?? place }, list[place] ?? String(place));
      label.style[name === "across" ? "width" : "height"] = `${room}px`;
      label.style.fontSize = `${Math.max(9, Math.min(13, size * every * 0.62))}px`;
      label.style.lineHeight = `${room}px`;
      return h("div", {}, label);
    }));
  };
  const [across, down] = [found.keys.length === keys ? found.keys : [], found.queries.length === queries ? found.queries : []];
  return h("div.big", {}, h("i"), labels(across, "across", keys, parseFloat(canvas.style.width)),
    labels(down, "down", queries, parseFloat(canvas.style.height)), canvas);
}

function bigMap(at, head) {
  const [, queries, keys] = DATA.attention[at].shape;
  const side = Math.min(innerWidth * 0.7, innerHeight * 0.68, Math.max(queries, keys) * 34);
  dialog(`${W[S.path[at]]} · ${say("head")} ${head}`, axesMap(at, head, side), h("p.soft", {}, axesSaid(at)));
}

const axesSaid = (at) => DATA.attention[at].cross ? say("across") : `${say("query")} ↓  ${say("key")} →`;

let chosenHead = 0;
let redrawMaps = () => {};

function attentionCard(at) {
  const found = DATA.attention[at];
  if (!found) return "";
  if (found.reason) return h("section.card", {}, h("h2", {}, say("attention")), h("p.soft", {}, told(found.reason)));
  const [heads, queries, keys] = found.shape;
  const chosen = h("div.chosen");
  const maps = Array.from({ length: heads }, (_, head) => h("figure", {},
    h("button.plain", { onclick: () => { chosenHead = head; redrawMaps(); }, ondblclick: () => bigMap(at, head), "aria-label": `${say("head")} ${head}` }, heatmap(at, head, 84)),
    h("figcaption", {}, `${say("head")} ${head}`)));
  redrawMaps = () => {
    const head = Math.min(chosenHead, heads - 1), room = (main.clientWidth || innerWidth) - 220;
    const side = Math.max(150, Math.min(620, room, Math.max(queries, keys) * 30));
    maps.forEach((one, place) => one.toggleAttribute("data-here", place === head));
    chosen.replaceChildren(h("h3", {}, `${say("head")} ${head}`, h("span.soft", {}, ` ${axesSaid(at)} `),
      h("button.toggle", { onclick: () => bigMap(at, head) }, say("larger"))), h("div.scroll", {}, axesMap(at, head, side)));
  };
  redrawMaps();
  const said = [`B H Tq Tk = ${found.of.join("×")}`, found.rebuilt ? say("rebuilt") : say("kept"), ...(found.of[0] > 1 ? [say("batch")] : [])];
  const title = found.cross ? say("cross") : say("attention");
  return h("section.card", {}, h("h2", {}, title, h("a.soft", { href: `#${at}` }, ` ${W[S.label[at]]}`)),
    h("p.soft", {}, said.join(" · ")), heads > 1 ? h("div.maps", {}, maps) : "", chosen);
}
