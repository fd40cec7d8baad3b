// Numbers, sizes, times and names as people read them.

const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/**
 * A whole number with separators; a dash where there is none.
 * @param {number | string | null | undefined} value
 */
export function whole(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  return typeof value === 'string' ? WHOLE.format(BigInt(value)) : WHOLE.format(value);
}

/**
 * A number in at most four characters and a unit: 12.3 k, 4.56 M.
 * @param {number | null | undefined} value
 */
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const sizes = ['', ' k', ' M', ' G', ' T'];
  let at = 0;
  let scaled = value;
  while (Math.abs(scaled) >= 999.5 && at < sizes.length - 1) {
    scaled /= 1000;
    at += 1;
  }
  return `${digits(scaled, at === 0 && Number.isInteger(value))}${sizes[at]}`;
}

/** A count: whole up to five digits, then short. @param {number | null | undefined} value */
export function counted(value) {
  return value !== null && value !== undefined && value < 100_000 ? whole(value) : short(value);
}

/** @param {number} value @param {boolean} exact */
function digits(value, exact) {
  const size = Math.abs(value);
  if (exact) return String(value);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/**
 * Bytes in units of 1,024.
 * @param {number | null | undefined} value
 */
export function bytes(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const sizes = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  let scaled = value;
  while (scaled >= 999.5 && at < sizes.length - 1) {
    scaled /= 1024;
    at += 1;
  }
  return `${digits(scaled, at === 0)} ${sizes[at]}`;
}

/**
 * Seconds as µs, ms, s.
 * @param {number | null | undefined} seconds
 */
export function latency(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–';
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${digits(seconds * 1e3, false)} ms`;
  return `${digits(seconds, false)} s`;
}

/**
 * Seconds as the two largest units: 3 d 4 h.
 * @param {number | null | undefined} seconds
 */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  /** @type {[number, string][]} */
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const parts = [];
  let rest = Math.floor(seconds);
  for (const [size, name] of units) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0 || (name === 's' && parts.length === 0)) parts.push(`${count} ${name}`);
    if (parts.length === 2) break;
  }
  return parts.join(' ');
}

/**
 * A share of one as per cent; more digits when it is small.
 * @param {number | null | undefined} share
 */
export function percent(share) {
  if (share === null || share === undefined || !Number.isFinite(share)) return '–';
  const value = share * 100;
  const rounded = value >= 99.95 || value === 0 ? value.toFixed(0) : value.toFixed(1);
  return `${rounded} %`;
}

/**
 * How memory compares with that of plain Redis: 12× less, 1.5× more.
 * @param {number | null | undefined} plain @param {number | null | undefined} taken
 */
export function against(plain, taken) {
  if (!plain || !taken) return '–';
  const [times, word] = plain >= taken ? [plain / taken, 'less'] : [taken / plain, 'more'];
  if (times < 1.05) return 'the same';
  return `${times >= 100 ? WHOLE.format(times) : times.toFixed(1)}× ${word}`;
}

/** "1 key", "2 keys". @param {number | null | undefined} count @param {string} noun */
export function many(count, noun) {
  return `${whole(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/**
 * A time of day in the reader's zone.
 * @param {number} seconds since 1970
 */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}
