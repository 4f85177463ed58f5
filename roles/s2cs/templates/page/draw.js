// Elements: texts become texts, never markup.
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
// Cuts texts to the width that they may have; all of it is in the list and in the title.
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
// What somebody else wrote does not turn the text around it.
const word = (text, attributes = {}) => element("bdi", attributes, text);
// Replaces what an element holds only where it differs, so that selections and the reader's place stay.
function show(parent, ...parts) {
  const next = element("div", {}, ...parts);
  if (parent.innerHTML !== next.innerHTML) parent.replaceChildren(...next.childNodes);
}
