/**
 * The HTTP contract as calls: JSON in and out, problems as errors, pages as one list.
 *
 * Addresses are relative to the page, so that the dashboard works behind any prefix. A key, when one is wanted, is asked for once and
 * kept in this browser.
 */

const KEY = "sitewatch.key";
const TIMEOUT_MS = 20_000;
const PAGES_MAX = 40;

let askForKey = async () => null;
let asking = null;

/** What the server said was wrong, in its own words. */
export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail || title || `HTTP ${status}`);
    this.status = status;
    this.title = title;
  }
}

/** The shell says how a person is asked: a function that resolves to a key, or to null. */
export function onKeyWanted(ask) {
  askForKey = ask;
}

export function address(path, parameters = {}) {
  const url = new URL(path.replace(/^\//, ""), new URL("v1/", document.baseURI));
  for (const [name, value] of Object.entries(parameters)) {
    const values = Array.isArray(value) ? value : [value];
    for (const one of values) if (one !== undefined && one !== null && one !== "") url.searchParams.append(name, one);
  }
  return url;
}

export async function get(path, parameters, options = {}) {
  return exchange(address(path, parameters), { signal: options.signal });
}

/** The state of each part and how evidence flows. That something is not ready is an answer too. */
export async function health({ signal } = {}) {
  const response = await open(new URL("readyz", document.baseURI), { signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]) });
  if (response.ok || response.status === 503) return response.json();
  throw new Problem(response.status, response.statusText);
}

export async function post(path, body = {}) {
  return exchange(address(path), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** Every item of a list or a FeatureCollection, page after page; `onPage` sees each page as it comes. */
export async function all(path, parameters, { signal, onPage, max = Infinity } = {}) {
  const found = [];
  let url = address(path, parameters);
  for (let page = 0; url && page < PAGES_MAX && found.length < max; page++) {
    const answer = await exchange(url, { signal });
    const items = answer.items ?? answer.features ?? [];
    found.push(...items);
    onPage?.(items);
    url = nextPage(answer);
  }
  return found;
}

/** `next` names the server as the server knows itself; a proxy before it has another name. Only its path and query are ours. */
export function nextPage(answer) {
  if (!answer.next) return null;
  const next = new URL(answer.next, document.baseURI);
  const here = address("");
  return new URL(next.pathname.replace(/^.*\/v1\//, here.pathname) + next.search, here.origin);
}

export async function getUrl(url, options = {}) {
  return exchange(url, { signal: options.signal });
}

/** A raw, authorised fetch without a timeout: the live stream reads its body for hours. */
export async function open(url, options = {}) {
  for (;;) {
    const response = await fetch(url, { ...options, headers: { ...options.headers, ...authorisation() } });
    if (response.status !== 401 || !(await wantKey())) return response;
  }
}

async function exchange(url, options) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  const response = await open(url, { ...options, signal });
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Problem(response.status, problem.title, problem.detail);
}

function authorisation() {
  const key = localStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Ten calls may meet the locked door at once: the person is asked once for all of them. */
async function wantKey() {
  asking ??= askForKey(localStorage.getItem(KEY) !== null).finally(() => (asking = null));
  const key = await asking;
  if (key) localStorage.setItem(KEY, key);
  return Boolean(key);
}
