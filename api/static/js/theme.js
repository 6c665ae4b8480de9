/**
 * Light, dark or as the system, and the colours as numbers for what CSS cannot paint: the map and the charts.
 */

const THEME = "sitewatch.theme";
const ORDER = ["auto", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();
const probe = document.createElement("i");
probe.hidden = true;

export function theme() {
  return localStorage.getItem(THEME) ?? "auto";
}

export function applyTheme() {
  const chosen = theme();
  document.documentElement.dataset.theme = chosen;
  for (const listener of [...listeners]) listener();
}

export function nextTheme() {
  localStorage.setItem(THEME, ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length]);
  applyTheme();
}

export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** A colour of the style sheet by its name, as the browser resolves it for the theme of now: `colour("state-on")`. */
export function colour(name) {
  probe.style.color = `var(--${name})`;
  if (!probe.isConnected) document.body.append(probe);
  return getComputedStyle(probe).color;
}

system.addEventListener("change", applyTheme);
