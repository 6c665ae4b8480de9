/**
 * The windowed list of workers: of a thousand only the rows in sight are in the page, and each repaint touches those only.
 *
 * Rows are links, so that the keyboard reaches them; the arrow keys go to the neighbour.
 */

import { h, replace, setText } from "../dom.js";
import { siteName } from "../fleet.js";
import { age } from "../format.js";
import { t } from "../i18n.js";

const ROW_PX = 46;

/** `paint(people, selected)`, `reveal(id)`, `say(element)` instead of rows, `stop()`. */
export function workerList() {
  const list = { rows: [], selected: null, spacer: h("div", { class: "spacer" }) };
  list.element = h(
    "div",
    { class: "workers", tabindex: "-1", role: "list", onscroll: () => paintRows(list), onkeydown: (event) => step(list, event) },
    list.spacer,
  );
  const observer = new ResizeObserver(() => paintRows(list));
  observer.observe(list.element);
  return {
    element: list.element,
    paint(people, selected) {
      Object.assign(list, { rows: people, selected });
      paintRows(list);
    },
    reveal: (id) => reveal(list, id),
    say: (element) => replace(list.element, element),
    toTop: () => (list.element.scrollTop = 0),
    stop: () => observer.disconnect(),
  };
}

function paintRows(list) {
  if (!list.rows.length) return;
  const { element, spacer } = list;
  if (spacer.parentNode !== element) replace(element, spacer);
  spacer.style.height = `${list.rows.length * ROW_PX}px`;
  const first = Math.max(0, Math.floor(element.scrollTop / ROW_PX) - 4);
  const last = Math.min(list.rows.length, Math.ceil((element.scrollTop + element.clientHeight) / ROW_PX) + 4);
  const kept = new Map([...spacer.children].map((row) => [row.dataset.id, row]));
  for (let n = first; n < last; n++) {
    const person = list.rows[n];
    const row = kept.get(person.id) ?? newRow(person.id);
    kept.delete(person.id);
    fillRow(row, person, n, person.id === list.selected);
    if (!row.isConnected) spacer.append(row);
  }
  for (const row of kept.values()) row.remove();
}

function newRow(id) {
  const [name, when, what] = [h("span", { class: "name" }), h("span", { class: "when" }), h("span", { class: "what" })];
  const row = h(
    "a",
    { class: "worker", role: "listitem", href: `#/live/worker/${encodeURIComponent(id)}`, "data-id": id },
    h("i", { class: "dot" }),
    name,
    when,
    what,
  );
  return Object.assign(row, { parts: { name, when, what } });
}

function fillRow(row, person, n, selected) {
  row.style.top = `${n * ROW_PX}px`;
  row.dataset.state = person.state;
  if (selected) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
  setText(row.parts.name, person.name);
  setText(row.parts.when, person.age === null ? "" : age(person.age));
  setText(row.parts.what, whereabouts(person));
}

/** The second line: where she should be and is, or that there is nothing to be at. */
function whereabouts({ state, visit, position }) {
  if (!position) return t("live.noPosition");
  if (!visit) return state === "silent" ? t("state.silent") : t("live.unplanned");
  return `${siteName(visit.site)} · ${t(state === "off" ? "live.away" : `state.${state}`)}`;
}

function step(list, event) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by || !list.rows.length) return;
  event.preventDefault();
  const at = list.rows.findIndex((person) => person.id === (document.activeElement.dataset?.id ?? list.selected));
  const next = list.rows[Math.max(0, Math.min(list.rows.length - 1, at + by))];
  reveal(list, next.id);
  location.hash = `#/live/worker/${encodeURIComponent(next.id)}`;
  list.spacer.querySelector(`[data-id="${CSS.escape(next.id)}"]`)?.focus();
}

function reveal(list, id) {
  const n = list.rows.findIndex((person) => person.id === id);
  if (n < 0) return;
  const { element } = list;
  const [top, bottom] = [n * ROW_PX, (n + 1) * ROW_PX];
  if (top < element.scrollTop) element.scrollTop = top;
  else if (bottom > element.scrollTop + element.clientHeight) element.scrollTop = bottom - element.clientHeight;
  paintRows(list);
}
