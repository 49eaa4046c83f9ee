// Formulas are never cut: they break where a new part begins, and are set smaller until they fit.
const LEAST = 0.45;  // of their usual size

function maths(place) {
  const made = document.getElementById(`math-${place}`);
  return made.content.firstElementChild.cloneNode(true);
}

function parts(math) {  // the formulas between wide spaces, each an element of its own that may stand on a new line
  const row = math.children.length === 1 && math.firstElementChild.localName === "mrow" ? math.firstElementChild : math;
  const groups = [[]];
  for (const one of [...row.children]) {
    const wide = one.localName === "mspace" && parseFloat(one.getAttribute("width")) >= 1;
    if (wide) groups.push([]); else groups.at(-1).push(one);
  }
  return groups.filter((group) => group.length).map((group) => {
    const made = math.cloneNode(false);
    made.append(...group);
    return made;
  });
}

function formula(place, legend, drawn) {
  return place >= 0 ? h("div.math", {}, parts(colourMaths(maths(place), legend))) : drawn ? h("pre.drawn", {}, drawn) : "";
}

function fit(box) {
  box.style.fontSize = "";
  const usual = parseFloat(getComputedStyle(box).fontSize);
  for (let tries = 0, size = usual; tries < 3 && box.clientWidth && box.scrollWidth > box.clientWidth && size > usual * LEAST; tries++) {
    size = Math.max(usual * LEAST, (size * box.clientWidth) / box.scrollWidth - 0.1);
    box.style.fontSize = `${size}px`;
  }
}

const fitAll = () => { for (const box of document.querySelectorAll(".math, .drawn")) fit(box); };

function lookForMathsFont() {  // a browser whose fonts know nothing of mathematics does not lower every index
  const [made, both, one, other] = ["math", "msub", "mi", "mi"].map((tag) => document.createElementNS("http://www.w3.org/1998/Math/MathML", tag));
  one.append("h");
  other.append("n");
  both.append(one, other);
  made.append(both);
  document.body.append(made);
  const [base, index] = [one, other].map((letter) => letter.getBoundingClientRect());
  if (index.bottom - base.bottom < base.height / 20) document.documentElement.dataset.maths = "none";
  made.remove();
}
