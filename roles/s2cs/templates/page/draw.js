// Creates elements. Texts are always inserted as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
function fill(node, attributes, parts) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value != null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...parts.filter((part) => part != null));
  return node;
}
const element = (name, attributes = {}, ...parts) => fill(document.createElement(name), attributes, parts);
const shape = (name, attributes = {}, ...parts) => fill(document.createElementNS(SVG, name), attributes, parts);
function drawing(width, height, title, description) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. ${description}` });
}
// Shortens texts to their maximum widths. The complete texts are in the table and in tooltips.
function fit(svg) {
  for (const text of svg.querySelectorAll("[data-most]")) {
    const most = Number(text.dataset.most), words = text.firstChild;
    let letters = [...words.data];
    while (letters.length > 1 && text.getComputedTextLength() > most) {
      letters = letters.slice(0, Math.min(letters.length - 1, Math.ceil(letters.length * most / text.getComputedTextLength())));
      words.data = `${letters.join("")}…`;
    }
  }
}
// Isolates user input, so that it does not affect the direction of the surrounding text.
const word = (text, attributes = {}) => element("bdi", attributes, text);
// Replaces the contents of an element only if they differ, to keep the selection and the scroll position.
function show(parent, ...parts) {
  const next = element("div", {}, ...parts);
  if (parent.innerHTML !== next.innerHTML) parent.replaceChildren(...next.childNodes);
}
// Marks on a connection: broken, encrypted or not.
function cross(x, y) {
  return shape("g", {}, shape("circle", { cx: x, cy: y, r: 10, class: "node" }),
    shape("path", { d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`, class: "dead" }));
}
function lock(x, y, closed) {
  const what = closed ? "encrypted" : "not encrypted";
  return shape("g", {}, shape("title", {}, what), shape("circle", { cx: x, cy: y, r: 10, class: "node" }),
    shape("rect", { x: x - 4.5, y: y - 1, width: 9, height: 6.5, rx: 1.5, class: closed ? "soft" : "mind" }),
    shape("path", {
      d: closed ? `M${x - 3} ${y - 1}v-2a3 3 0 0 1 6 0v2` : `M${x - 3} ${y - 1}v-2.5a3 3 0 0 1 5.7 -1.2`,
      class: "lock", fill: "none", stroke: "currentColor", "stroke-width": 1.5,
    }));
}
