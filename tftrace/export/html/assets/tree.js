// The tree of steps. Only the rows in sight exist in the page, so that ten thousand steps open as ten do.
const ROW = 26, SPARE = 12;
const levels = new Int32Array(DATA.count), hasCalls = new Uint8Array(DATA.count);
const wrongIn = new Int32Array(DATA.count + 1), designIn = new Int32Array(DATA.count + 1);  // differences before a step
for (let at = 0; at < DATA.count; at++) {
  const up = S.parent[at];
  levels[at] = up < 0 ? 0 : levels[up] + (isCall(up) ? 1 : 0);
  wrongIn[at + 1] = wrongIn[at] + (S.verdict[at] === DIFFERS ? 1 : 0);
  designIn[at + 1] = designIn[at] + (S.verdict[at] === DESIGN ? 1 : 0);
  if (isCall(at)) for (let a = up; a >= 0 && !hasCalls[a]; a = S.parent[a]) hasCalls[a] = 1;
}
const differs = (at) => S.verdict[at] === DIFFERS || S.verdict[at] === DESIGN;
const folded = new Set();
let withLines = false, onlyWrong = false, onlyNoted = false, wanted = "", rows = [];

function fitting() {
  const found = [];
  const text = wanted.toLowerCase();
  if (text || onlyWrong || onlyNoted) {
    const fits = W.map((word) => word.toLowerCase().includes(text));
    for (let at = 0; at < DATA.count; at++) {
      const said = !text || fits[S.label[at]] || fits[S.path[at]] || fits[S.detail[at]] || String(at) === text
        || (DATA.judged[at] || []).some((one) => fits[one[0]]);
      if (said && (!onlyWrong || differs(at)) && (!onlyNoted || DATA.notes[at] !== undefined)
          && (withLines || text || onlyNoted || isCall(at))) found.push(at);
    }
    return found;
  }
  for (let at = 0; at < DATA.count;) {
    if (withLines || isCall(at)) found.push(at);
    at = folded.has(at) ? S.end[at] : at + 1;
  }
  return found;
}

const spacer = h("div.spacer", {}), list = h("div.rows", { role: "tree", tabindex: "0", id: "tree" }, spacer);
const flat = () => Boolean(wanted || onlyWrong || onlyNoted);

function row(at, top) {
  const opens = !flat() && (withLines ? S.end[at] > at + 1 : hasCalls[at] && isCall(at));
  const within = (counted) => folded.has(at) && counted[S.end[at]] > counted[at + 1];
  const hidden = within(wrongIn) ? DIFFERS : within(designIn) && S.verdict[at] !== DIFFERS ? DESIGN : 0;
  const above = S.parent[at], detail = flat() && above >= 0 ? W[S.path[above]] : W[S.detail[at]];
  const made = h(`div.row.kind-${S.kind[at]}`, {
    role: "treeitem", "aria-level": levels[at] + 1, "aria-selected": String(at === rows[place(current)]), id: `row-${at}`,
    "aria-expanded": opens ? String(!folded.has(at)) : undefined, onclick: () => go(at),
  },
  h("button.fold", { tabindex: "-1", "aria-hidden": true, onclick: (event) => { event.stopPropagation(); if (opens) fold(at); } },
    opens ? (folded.has(at) ? "▸" : "▾") : ""),
  h("span.label", {}, W[S.label[at]]), h("span.detail", {}, detail), h("span.push"),
  DATA.notes[at] !== undefined ? h("span.noted", { title: DATA.notes[at] }, "✎") : "",
  W[S.status[at]] ? h("span.differs", {}, "!") : "",
  h(`span.mark.${VERDICTS[hidden || S.verdict[at]] || "none"}`, {}, hidden ? `${MARKS[hidden]}…` : MARKS[S.verdict[at]]));
  made.style.top = `${top}px`;
  made.style.paddingLeft = `${6 + Math.min(flat() ? 0 : levels[at], 24) * 14}px`;
  return made;
}

function draw() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
  spacer.style.height = `${rows.length * ROW}px`;
  const made = rows.slice(first, last).map((at, place) => row(at, (first + place) * ROW));
  list.replaceChildren(spacer, ...made, ...(rows.length ? [] : [h("p.empty", {}, say("none"))]));
  list.setAttribute("aria-activedescendant", `row-${current}`);
}

function arrange() { rows = fitting(); draw(); }
function fold(at) { folded.has(at) ? folded.delete(at) : folded.add(at); arrange(); }

const place = (at) => {  // the row of a step, or of the nearest before it
  let low = 0, high = rows.length;
  while (low < high) { const middle = (low + high) >> 1; rows[middle] <= at ? (low = middle + 1) : (high = middle); }
  return low - 1;
};

function reveal(at) {
  let changed = false;
  for (let up = S.parent[at]; up >= 0; up = S.parent[up]) changed = folded.delete(up) || changed;
  if (changed) arrange();
  const top = place(at) * ROW;
  if (top < list.scrollTop + ROW || top > list.scrollTop + list.clientHeight - 3 * ROW)
    list.scrollTop = Math.max(0, top - list.clientHeight / 3);
  draw();
}

function move(by) {
  if (current < 0) return rows.length && go(rows[0], true);
  const at = place(current), next = rows[at + by + (rows[at] !== current && by < 0 ? 1 : 0)];
  if (next !== undefined) go(next, true);
}

function moveWrong(by) {
  for (let at = current + by; at >= 0 && at < DATA.count; at += by) if (differs(at)) return go(at);
}

list.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
new ResizeObserver(draw).observe(list);
