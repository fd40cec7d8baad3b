// Rows of BM.PREFIXES: what lies below a prefix, counted on the servers.
import { reply } from './api.js';
import { toArray } from './bytes.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * @typedef {object} Row
 * @property {Bytes} name The whole name, up to and with the separator; '' sums the rows cut off.
 * @property {0 | 1} leaf Whether it is a key.
 * @property {number} keys
 * @property {number} expiring
 * @property {number} bits
 * @property {number} bytes
 * @property {number} plain_bytes What Redis would take.
 * @property {number} array_bytes
 * @property {number} dense_bytes
 * @property {number} run_bytes
 * @property {number} other_bytes
 */

/**
 * @param {Bytes} prefix
 * @param {number} limit
 * @param {AbortSignal} [signal]
 * @returns {Promise<Row[]>}
 */
export function prefixes(prefix, limit, signal) {
  return reply(command(prefix, limit), signal);
}

/** @param {Bytes} prefix @param {number} limit @returns {(Bytes | number)[]} */
export function command(prefix, limit) {
  return ['BM.PREFIXES', prefix, 'LIMIT', limit];
}

/** A row's name without the prefix it is listed below. @param {Bytes} name @param {Bytes} prefix */
export function tail(name, prefix) {
  if (typeof name === 'string') {
    return typeof prefix === 'string' && name.startsWith(prefix) ? name.slice(prefix.length) : name;
  }
  const rest = toArray(name).slice(toArray(prefix).length);
  return { base64: btoa(String.fromCharCode(...rest)) };
}

/** Sums of all rows. @param {Row[]} rows @param {keyof Row} field */
export function sum(rows, field) {
  return rows.reduce((all, row) => all + Number(row[field]), 0);
}

/** The parts of a row by kind of container. @param {Row | Record<string, number>} row */
export function kinds(row) {
  const of = /** @type {any} */ (row);
  return [
    { name: 'arrays', value: of.array_bytes, tone: 'array' },
    { name: 'dense', value: of.dense_bytes, tone: 'dense' },
    { name: 'runs', value: of.run_bytes, tone: 'run' },
    { name: 'headers and short values', value: of.other_bytes, tone: 'other' },
  ];
}
