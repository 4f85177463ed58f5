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
