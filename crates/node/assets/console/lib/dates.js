// Dates in keys: hours, days, ISO weeks and months, all UTC.
import { reply } from './api.js';
import { prefixes } from './prefixes.js';

/** @typedef {import('./prefixes.js').Row} Row */
/** @typedef {'h' | 'd' | 'w' | 'm'} Unit */

/** A family of dated keys: `dau` of `dau:2026-11-21`. @typedef {{ name: string, dates: Record<Unit, string[]> }} Family */

const DAY_MS = 86_400_000;

/** @type {Record<Unit, RegExp>} */
const SHAPES = {
  h: /^\d{4}-\d{2}-\d{2}T\d{2}$/,
  d: /^\d{4}-\d{2}-\d{2}$/,
  w: /^\d{4}-W\d{2}$/,
  m: /^\d{4}-\d{2}$/,
};

/** Names among which families are looked for. */
const FAMILY_ROWS_MAX = 500;

/** @param {string} date @returns {Unit | null} */
export function unitOf(date) {
  const units = /** @type {Unit[]} */ (Object.keys(SHAPES));
  return units.find((unit) => SHAPES[unit].test(date)) ?? null;
}

/** @param {string} day YYYY-MM-DD */
export function toSeconds(day) {
  return Date.parse(`${day}T00:00:00Z`) / 1000;
}

/** So many days later, or earlier. @param {string} day @param {number} days */
export function plusDays(day, days) {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10);
}

/** All days from the first to the last. @param {string} from @param {string} to */
export function daysBetween(from, to) {
  const days = [];
  for (let day = from; day <= to; day = plusDays(day, 1)) days.push(day);
  return days;
}

/**
 * The dates that a family has keys for.
 * @param {string} name without its colon
 * @param {AbortSignal} signal
 * @returns {Promise<Family>}
 */
export async function family(name, signal) {
  /** @type {Record<Unit, string[]>} */
  const dates = { h: [], d: [], w: [], m: [] };
  for (const row of await prefixes(`${name}:`, 2000, signal)) {
    if (!row.leaf || typeof row.name !== 'string') continue;
    const date = row.name.slice(name.length + 1);
    const unit = unitOf(date);
    if (unit) dates[unit].push(date);
  }
  for (const found of Object.values(dates)) found.sort();
  return { name, dates };
}

/**
 * Families, those with most keys first. Cut at the first minus, the keys of a family have one name:
 * `dau:2026-`. So all are found by looking at each key once.
 * @param {AbortSignal} signal
 * @returns {Promise<string[]>}
 */
export async function families(signal) {
  /** @type {Row[]} */
  const rows = await reply(['BM.PREFIXES', '', 'SEPARATOR', '-', 'LIMIT', FAMILY_ROWS_MAX], signal);
  return rows
    .flatMap((row) => {
      const name = typeof row.name === 'string' ? /^(.+):\d{4}-$/.exec(row.name)?.[1] : undefined;
      return name && row.keys > 1 ? [{ name, keys: row.keys }] : [];
    })
    .sort((one, two) => two.keys - one.keys)
    .map((one) => one.name);
}

/**
 * Names of keys without a colon, for suggestions.
 * @param {AbortSignal} signal
 */
export async function plainKeys(signal) {
  const rows = await prefixes('', 100, signal);
  return rows.flatMap((row) => (row.leaf && typeof row.name === 'string' && row.name ? [row.name] : []));
}

/** @param {string} expression @param {AbortSignal} signal @returns {Promise<number>} */
export async function count(expression, signal) {
  return Number(await reply(['BM.QUERY', 'COUNT', expression], signal));
}
