/**
 * The live stream: server-sent events read by fetch, because EventSource cannot carry a key.
 *
 *     connecting ──answer──▶ live ──silence or end──▶ waiting ──backoff──▶ connecting
 *
 * Rules kept here:
 *
 * - A stream that falls silent for longer than two heartbeats is dead and is opened anew, behind the last event that was seen.
 * - A stream that begins without such an event, a `reset`, and a long sleep of this computer mean that events were missed: everything
 *   has to be fetched, and only then, because what changes between a fetch and the beginning of the stream would be lost.
 */

import { address, open } from "./client.js";

const SILENCE_MS = 40_000; // The server says something each 15 s.
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000, 15_000];
const WAKE_MS = 20_000; // A one-second timer that is this late has slept.

/**
 * Follows the stream until `stop()`.
 * `onEvent(kind, data)`, `onState("connecting" | "live" | "waiting")`, `onMissed()` when the past must be fetched again.
 */
export function follow({ onEvent, onState, onMissed }) {
  const stream = { lastId: null, attempt: 0, heardAt: Date.now(), controller: null, stopped: false, skipWait: () => {} };
  const tick = watch(stream, onMissed);
  run(stream, { onEvent, onState, onMissed });
  return {
    stop() {
      stream.stopped = true;
      clearInterval(tick);
      stream.controller?.abort();
      stream.skipWait();
    },
  };
}

async function run(stream, listeners) {
  while (!stream.stopped) {
    listeners.onState("connecting");
    stream.controller = new AbortController();
    stream.heardAt = Date.now();
    try {
      await read(stream, listeners);
    } catch (failure) {
      if (!(failure instanceof TypeError) && failure.name !== "AbortError" && failure.name !== "Refused") throw failure;
    }
    if (stream.stopped) return;
    listeners.onState("waiting");
    await pause(stream);
  }
}

async function read(stream, { onEvent, onState, onMissed }) {
  const headers = { Accept: "text/event-stream", ...(stream.lastId ? { "Last-Event-ID": stream.lastId } : {}) };
  const response = await open(address("live"), { headers, signal: stream.controller.signal, cache: "no-store" });
  if (!response.ok) throw Object.assign(new Error(`HTTP ${response.status}`), { name: "Refused" });
  const parse = parser((event) => {
    if (event.id) stream.lastId = event.id;
    if (event.kind === "reset") onMissed();
    else onEvent(event.kind, event.data);
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let greeted = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    stream.heardAt = Date.now();
    if (!greeted) greet(stream, onState, onMissed);
    greeted = true;
    parse(value);
  }
}

/** The first bytes say that the server listens for us: what changed before them and was not resumed from must be fetched. */
function greet(stream, onState, onMissed) {
  stream.attempt = 0;
  onState("live");
  if (stream.lastId === null) onMissed();
}

/** Bytes come in any cut; an event ends with an empty line. */
export function parser(emit) {
  let rest = "";
  let event = { kind: "message", data: [], id: null };
  return (chunk) => {
    rest += chunk;
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.data.length || event.kind === "reset")
          emit({ kind: event.kind, id: event.id, data: decoded(event.data.join("\n")) });
        event = { kind: "message", data: [], id: null };
      } else if (line.startsWith("event:")) event.kind = line.slice(6).trim();
      else if (line.startsWith("id:")) event.id = line.slice(3).trim();
      else if (line.startsWith("data:")) event.data.push(line.slice(5).replace(/^ /, ""));
    }
  };
}

function decoded(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** A hidden page's timers are slowed down by the browser: only a visible page can tell lateness from sleep. */
function watch(stream, onMissed) {
  let tickedAt = Date.now();
  const look = () => {
    if (document.hidden) return;
    const now = Date.now();
    const slept = now - tickedAt > WAKE_MS;
    tickedAt = now;
    if (slept) onMissed();
    if (slept || now - stream.heardAt > SILENCE_MS) stream.controller?.abort();
  };
  addEventListener("online", () => stream.skipWait());
  document.addEventListener("visibilitychange", () => {
    tickedAt = Date.now();
    if (!document.hidden) stream.skipWait();
  });
  return setInterval(look, 1000);
}

function pause(stream) {
  const longest = BACKOFF_MS[Math.min(stream.attempt, BACKOFF_MS.length - 1)];
  stream.attempt += 1;
  // Jitter: a hundred desks must not come back in the same millisecond.
  const wait = longest * (0.5 + Math.random() / 2);
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, wait);
    stream.skipWait = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}
