/**
 * Elements from data.
 *
 * Text is always a text node: nothing that came over the wire is ever parsed as HTML.
 */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: `h("a", {class: "row", href, onclick}, "text", child, [more])`. */
export function h(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter(isShown));
}

/** Sets text only when it differs, so that a page that is repainted twice a second does not disturb a selection. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [property, given] of Object.entries(value)) element.style.setProperty(property, given);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(isShown));
  return element;
}

function isShown(child) {
  return child !== undefined && child !== null && child !== false;
}
