// The one place that names the vendored view library, with the types that the console uses.
import * as vendored from '../vendor/htm-preact.js';

/** @typedef {any} View What a component returns. */

/** @type {(strings: TemplateStringsArray, ...values: any[]) => View} */
export const html = vendored.html;

/** @type {(view: View, parent: Element) => void} */
export const render = vendored.render;

/** @type {<T>(initial: T | (() => T)) => [T, (next: T | ((old: T) => T)) => void]} */
export const useState = vendored.useState;

/** @type {(effect: () => void | (() => void), inputs?: any[]) => void} */
export const useEffect = vendored.useEffect;

/** @type {(effect: () => void | (() => void), inputs?: any[]) => void} */
export const useLayoutEffect = vendored.useLayoutEffect;

/** @type {<T>(initial: T) => { current: T }} */
export const useRef = vendored.useRef;

/** @type {<T>(make: () => T, inputs: any[]) => T} */
export const useMemo = vendored.useMemo;

/** @type {<T extends Function>(callback: T, inputs: any[]) => T} */
export const useCallback = vendored.useCallback;

/** @type {(handler?: (error: any) => void) => any} An error and what forgets it. */
export const useErrorBoundary = vendored.useErrorBoundary;
