// Calls to the router's HTTP API. Addresses are relative, so that a proxy may put it below any path.

/** @typedef {import('./bytes.js').Bytes} Bytes */

/** How long the page waits for an answer; the server gives up after 10 s. */
const PATIENCE_MS = 12_000;

/** Commands in flight at a time: the server refuses more than 16 of all its readers. */
const IN_FLIGHT_MAX = 6;

/** The first pause after the server said that it has too many readers; it doubles. */
const BUSY_PAUSE_MS = 100;

const BASE = '../api/v1/';

/** An answer that is no success. */
export class ApiError extends Error {
  /** @param {number} status 0 if there was no answer @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** @type {Set<() => void>} */
const whenLoginNeeded = new Set();

/** Calls back when the server says that a login is needed. @param {() => void} callback */
export function onLoginNeeded(callback) {
  whenLoginNeeded.add(callback);
  return () => whenLoginNeeded.delete(callback);
}

/**
 * @param {string} path below /api/v1/
 * @param {{ body?: any, signal?: AbortSignal }} [options]
 * @returns {Promise<any>}
 */
export async function call(path, { body, signal } = {}) {
  const timeout = AbortSignal.timeout(PATIENCE_MS);
  let response;
  let text;
  try {
    response = await fetch(BASE + path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      credentials: 'same-origin',
      cache: 'no-store',
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    if (timeout.aborted) {
      throw new ApiError(0, 'TIMEOUT', `no answer within ${PATIENCE_MS / 1000} s`);
    }
    throw new ApiError(0, 'UNREACHABLE', 'this router does not answer: is it running?');
  }
  const answer = parsed(text);
  if (response.ok && answer !== undefined) return answer;
  const told = answer?.error ?? {};
  const error = new ApiError(
    response.status,
    told.code ?? 'HTTP',
    told.message ?? `the server answered ${response.status} ${response.statusText}`,
  );
  if (response.status === 401 && path !== 'login') whenLoginNeeded.forEach((tell) => tell());
  throw error;
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

let inFlight = 0;
/** @type {(() => void)[]} */
const waiting = [];

/**
 * Runs a command as the session's user.
 * @param {(Bytes | number)[]} args
 * @param {AbortSignal} [signal]
 * @returns {Promise<{ reply: any, seconds: number }>}
 */
export async function run(args, signal) {
  if (inFlight >= IN_FLIGHT_MAX) await new Promise((go) => waiting.push(() => go(undefined)));
  else inFlight += 1;
  try {
    signal?.throwIfAborted();
    const body = { args: args.map((arg) => (typeof arg === 'number' ? String(arg) : arg)) };
    return await whenFree(() => call('command', { body, signal }));
  } finally {
    const next = waiting.shift();
    if (next) next();
    else inFlight -= 1;
  }
}

/**
 * Tries a few times more while the server has too many readers.
 * @template T
 * @param {() => Promise<T>} attempt
 */
async function whenFree(attempt) {
  for (let pause = BUSY_PAUSE_MS; ; pause *= 2) {
    try {
      return await attempt();
    } catch (error) {
      const busy = error instanceof ApiError && error.status === 429;
      if (!busy || pause > BUSY_PAUSE_MS * 8) throw error;
      await new Promise((go) => setTimeout(go, pause * (0.5 + Math.random())));
    }
  }
}

/**
 * A command's reply alone.
 * @param {(Bytes | number)[]} args
 * @param {AbortSignal} [signal]
 */
export async function reply(args, signal) {
  return (await run(args, signal)).reply;
}

/** An error in words that tell what to do. @param {any} error */
export function explain(error) {
  if (!(error instanceof ApiError)) return String(error?.message ?? error);
  // These words say nothing that the sentence does not.
  const message = error.message.replace(/^(ERR|NOPERM|WRONGPASS|NOAUTH|READONLY) /, '');
  return error.code === 'NOPERM' ? `Your user may not do this. ${message}` : message;
}
