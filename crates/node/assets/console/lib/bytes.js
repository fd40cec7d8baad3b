// Names and arguments are bytes. Those that are UTF-8 are strings, others `{base64}`.

/** @typedef {string | { base64: string }} Bytes */

/** @param {Bytes} value @returns {Uint8Array} */
export function toArray(value) {
  if (typeof value === 'string') return new TextEncoder().encode(value);
  return Uint8Array.from(atob(value.base64), (char) => char.charCodeAt(0));
}

/**
 * For the screen: bytes that are no text as \xHH.
 * @param {Bytes} value
 */
export function show(value) {
  if (typeof value === 'string') return value;
  return escaped(value);
}

/** @param {Bytes} value */
function escaped(value) {
  return Array.from(toArray(value), (byte) => {
    const plain = byte >= 0x20 && byte < 0x7f && byte !== 0x5c && byte !== 0x22;
    return plain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  }).join('');
}

/** What identifies a value, for maps and lists. @param {Bytes} value */
export function identity(value) {
  return typeof value === 'string' ? `s${value}` : `b${value.base64}`;
}

/** The query part of a page's address that names a key. @param {Bytes} key */
export function toAddress(key) {
  return typeof key === 'string'
    ? `key=${encodeURIComponent(key)}`
    : `key64=${encodeURIComponent(key.base64)}`;
}

/** @param {URLSearchParams} query @returns {Bytes | null} */
export function fromAddress(query) {
  const binary = query.get('key64');
  if (binary !== null) return { base64: binary };
  return query.get('key');
}

/** An argument for a POSIX shell and redis-cli. @param {Bytes} value */
export function forShell(value) {
  if (typeof value === 'string') {
    if (/^[A-Za-z0-9_.:@%+=,/-]+$/.test(value)) return value;
    return `'${value.replaceAll("'", `'\\''`)}'`;
  }
  return `"$(printf '${Array.from(toArray(value), (b) => `\\${b.toString(8).padStart(3, '0')}`).join('')}')"`;
}

/** A literal of Python. @param {Bytes} value */
export function forPython(value) {
  return typeof value === 'string' ? JSON.stringify(value) : `b"${escaped(value)}"`;
}
