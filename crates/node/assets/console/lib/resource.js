// Data that a panel shows: loading, kept while it is refreshed, and what went wrong.
import { useCallback, useEffect, useRef, useState } from './preact.js';

/**
 * @template T
 * @typedef {object} Resource
 * @property {T | undefined} data The last that was loaded for these inputs.
 * @property {any} error Of the last attempt, or null.
 * @property {boolean} loading
 * @property {number} since When this attempt began, in milliseconds.
 * @property {() => void} retry
 */

/** @type {Set<() => void>} */
const everybody = new Set();

/** Loads everything on the page again, as after a login. */
export function reloadAll() {
  everybody.forEach((retry) => retry());
}

/**
 * Loads when `inputs` change, and again every so many milliseconds after the last answer while the
 * page is visible. Answers to old inputs are dropped.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {any[]} inputs
 * @param {number} [everyMs]
 * @returns {Resource<T>}
 */
export function useResource(load, inputs, everyMs) {
  const key = JSON.stringify(inputs);
  const [turn, setTurn] = useState(0);
  const [state, setState] = useState(
    /** @type {{ key: string, data?: T, error: any, loading: boolean, since: number }} */ (
      { key, error: null, loading: true, since: Date.now() }
    ),
  );
  const latest = useRef(load);
  latest.current = load;
  const retry = useCallback(() => setTurn((old) => old + 1), []);

  useEffect(() => {
    everybody.add(retry);
    return () => void everybody.delete(retry);
  }, []);

  useEffect(() => {
    const abort = new AbortController();
    /** @type {number | undefined} */
    let timer;
    const attempt = async () => {
      setState((old) => ({
        key,
        data: old.key === key ? old.data : undefined,
        error: old.key === key ? old.error : null,
        loading: true,
        since: Date.now(),
      }));
      try {
        const data = await latest.current(abort.signal);
        if (!abort.signal.aborted) setState({ key, data, error: null, loading: false, since: 0 });
      } catch (error) {
        if (abort.signal.aborted) return;
        setState((old) => ({ ...old, error, loading: false }));
      }
      if (everyMs && !abort.signal.aborted) timer = setTimeout(next, everyMs);
    };
    const next = () => (document.hidden ? wait() : attempt());
    const wait = () => {
      document.addEventListener('visibilitychange', next, { once: true, signal: abort.signal });
    };
    attempt();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [key, turn, everyMs]);

  const fresh = state.key === key;
  return {
    data: fresh ? state.data : undefined,
    error: fresh ? state.error : null,
    loading: fresh ? state.loading : true,
    since: state.since,
    retry,
  };
}
