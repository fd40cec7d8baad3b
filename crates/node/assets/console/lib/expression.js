// The expressions of BM.QUERY, as far as the page needs them: which keys they name.

/** Signs that end a bare name. */
const SIGNS = new Set(['&', '|', '^', '~', '(', ')']);

/**
 * The operands of an expression as they stand in it, each once, in order. What cannot be read is
 * left to the server, which tells the place of a fault.
 * @param {string} text
 * @returns {string[]}
 */
export function operands(text) {
  /** @type {string[]} */
  const found = [];
  let at = 0;
  while (at < text.length) {
    const char = text[at];
    if (/\s/.test(char) || SIGNS.has(char) || isMinus(text, at)) {
      at += 1;
      continue;
    }
    const end = char === '"' || char === "'" ? quotedEnd(text, at) : bareEnd(text, at);
    const name = text.slice(at, end);
    if (!found.includes(name)) found.push(name);
    at = end;
  }
  return found;
}

/** A minus is the operator beside a blank, a parenthesis or a quotation mark. @param {string} text @param {number} at */
function isMinus(text, at) {
  if (text[at] !== '-') return false;
  const before = text[at - 1] ?? ' ';
  const after = text[at + 1] ?? ' ';
  return /[\s()"']/.test(before) || /[\s()"']/.test(after);
}

/** @param {string} text @param {number} from */
function quotedEnd(text, from) {
  let at = from + 1;
  while (at < text.length && text[at] !== text[from]) at += text[at] === '\\' ? 2 : 1;
  return Math.min(text.length, at + 1);
}

/** @param {string} text @param {number} from */
function bareEnd(text, from) {
  let at = from;
  while (at < text.length && !/\s/.test(text[at]) && !SIGNS.has(text[at]) && !isMinus(text, at)) {
    const close = text[at] === '{' ? text.indexOf('}', at) : -1;
    at = close > at ? close + 1 : at + 1;
  }
  return Math.max(at, from + 1);
}

/** A key's name as an operand: quoted where it must be. @param {string} name */
export function operand(name) {
  if (/^[A-Za-z0-9_:.@#/+*=%$!?-]+$/.test(name) && !/(^-|-$)/.test(name)) return name;
  return `"${name.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/** Which byte of the text a fault is told at. @param {string} message */
export function faultAt(message) {
  const place = /at byte (\d+)/.exec(message);
  return place ? Number(place[1]) : null;
}
