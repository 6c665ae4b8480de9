/**
 * Numbers and times as people write them, in the reader's language and in the zone of the place they speak of.
 *
 * The wire has RFC 3339 in UTC and seconds; this module is the only one that turns them into words.
 */

import { locale, t } from "./i18n.js";

const DASH = "–";
const formatters = new Map();

/** Milliseconds since 1970 of an RFC 3339 time, or null. */
export function instant(text) {
  return text ? Date.parse(text) : null;
}

export function clock(at, zone) {
  return at === null ? DASH : zoned(at, zone, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

export function clockWithSeconds(at, zone) {
  return at === null ? DASH : zoned(at, zone, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

export function day(at, zone) {
  return at === null ? DASH : zoned(at, zone, { weekday: "short", day: "numeric", month: "short" });
}

export function shortDay(at, zone) {
  return zoned(at, zone, { day: "numeric", month: "short" });
}

export function dayAndClock(at, zone, told = clock) {
  return at === null ? DASH : `${day(at, zone)} ${told(at, zone)}`;
}

/** The clock alone for today, with the day before it for any other day. */
export function whenever(at, zone, told = clock) {
  return at !== null && dateField(at, zone) === dateField(Date.now(), zone) ? told(at, zone) : dayAndClock(at, zone, told);
}

/** `Europe/Helsinki (UTC+2)`. */
export function zoneName(zone, at = Date.now()) {
  const offset = offsetMinutes(at, zone);
  const sign = offset < 0 ? "−" : "+";
  const hours = Math.floor(Math.abs(offset) / 60);
  const minutes = Math.abs(offset) % 60;
  return `${zone} (UTC${sign}${hours}${minutes ? `:${String(minutes).padStart(2, "0")}` : ""})`;
}

/** `YYYY-MM-DD` of an instant in a zone: what a date field holds. */
export function dateField(at, zone) {
  const parts = partsOf(at, zone);
  return `${parts.year}-${parts.month}-${parts.day}`;
}

/** The instant at which a date begins in a zone. Twice, because the offset that applies is that of the answer. */
export function startOfDate(date, zone) {
  const naive = Date.parse(`${date}T00:00:00Z`);
  let at = naive - offsetMinutes(naive, zone) * 60_000;
  at = naive - offsetMinutes(at, zone) * 60_000;
  return at;
}

/** `1 h 05 min`, `43 min`, `12 s`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return DASH;
  const rounded = Math.round(seconds);
  if (Math.abs(rounded) < 60) return t("unit.s", { n: rounded });
  const minutes = Math.round(rounded / 60);
  if (Math.abs(minutes) < 60) return t("unit.min", { n: minutes });
  return t("unit.hmin", { h: Math.trunc(minutes / 60), min: String(Math.abs(minutes % 60)).padStart(2, "0") });
}

/** How long ago, in one unit: lists are read at a glance. */
export function age(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return DASH;
  const past = Math.max(0, seconds);
  if (past < 60) return t("unit.s", { n: Math.floor(past) });
  if (past < 3600) return t("unit.min", { n: Math.floor(past / 60) });
  if (past < 86_400) return t("unit.h", { n: Math.floor(past / 3600) });
  return t("unit.d", { n: Math.floor(past / 86_400) });
}

/** A share as per cent with one digit, cut and not rounded: 94.96 % is not 95 %. */
export function percent(share) {
  if (share === null || share === undefined) return DASH;
  return `${number(Math.floor(share * 1000 + 1e-9) / 10, 1)} %`;
}

/** A target as people say it: `95 %`. */
export function wholePercent(share) {
  return `${number(share * 100, Number.isInteger(Math.round(share * 1e6) / 1e4) ? 0 : 1)} %`;
}

export function number(value, digits = 0) {
  if (value === null || value === undefined) return DASH;
  return formatter("number", { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

export function metres(value) {
  if (value === null || value === undefined) return DASH;
  return value >= 1000 ? t("unit.km", { n: number(value / 1000, 1) }) : t("unit.m", { n: number(value) });
}

export function kmh(metresPerSecond) {
  return metresPerSecond === null || metresPerSecond === undefined ? DASH : t("unit.kmh", { n: number(metresPerSecond * 3.6) });
}

function zoned(at, zone, options) {
  return formatter("date", { ...options, timeZone: zone }).format(at);
}

function offsetMinutes(at, zone) {
  const parts = partsOf(at, zone);
  const wall = Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute);
  return Math.round((wall - Math.floor(at / 60_000) * 60_000) / 60_000);
}

function partsOf(at, zone) {
  const options = {
    timeZone: zone,
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  };
  const parts = formatter("parts", options).formatToParts(at);
  return Object.fromEntries(parts.map((part) => [part.type, part.value]));
}

/** Making an Intl formatter costs far more than using one, and a table makes thousands of uses. */
function formatter(kind, options) {
  const language = kind === "parts" ? "en-GB" : locale();
  const key = `${kind}|${language}|${JSON.stringify(options)}`;
  if (!formatters.has(key)) {
    const make = kind === "number" ? Intl.NumberFormat : Intl.DateTimeFormat;
    formatters.set(key, new make(language, options));
  }
  return formatters.get(key);
}

/** A moment's best guess on the clock. One with an open bound was there before, or after, all that was looked at. */
export function momentClock(moment, zone) {
  const best = clock(Date.parse(moment.best), zone);
  if (moment.earliest === null) return `≤ ${best}`;
  return moment.latest === null ? `≥ ${best}` : best;
}
