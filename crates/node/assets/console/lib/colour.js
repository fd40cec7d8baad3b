// Colours that carry meaning. Shape, text or position always say the same beside them.

/** Hues of groups and series, far from each other for eyes of every kind. */
const SERIES = {
  light: ['#0d6e78', '#d9822b', '#5b5fc7', '#3f8f4f', '#b8487a', '#8a6d1d', '#2f7fc1', '#7a4fa3',
    '#7b8583'],
  dark: ['#4fc1c4', '#f0a75b', '#9a9df0', '#7cc58a', '#e88bb4', '#d3b45a', '#6fb3ea', '#bd93e0',
    '#9aa5a2'],
};

/** Ends and middle of the ramp from little to full. */
const RAMP = {
  light: ['#d5ebe8', '#4fa7a8', '#093f4a'],
  dark: ['#17383d', '#2f9ea0', '#d8fff4'],
};

/** Which theme shows now. @returns {'light' | 'dark'} */
export function theme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === 'light' || chosen === 'dark') return chosen;
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

/** The colour of the series or group with this number, counted from 0. @param {number} at */
export function series(at) {
  const colours = SERIES[theme()];
  return colours[at % colours.length];
}

/** A colour for a share between 0 and 1. @param {number} share */
export function ramp(share) {
  const [low, middle, high] = RAMP[theme()].map(channels);
  const place = Math.max(0, Math.min(1, share)) * 2;
  const [from, to, part] = place < 1 ? [low, middle, place] : [middle, high, place - 1];
  return `rgb(${from.map((value, at) => Math.round(value + (to[at] - value) * part)).join(' ')})`;
}

/** @param {string} colour */
function channels(colour) {
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
}

/** A colour of the style sheet. @param {string} name without dashes */
export function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Whether dark text reads better on this colour. @param {string} colour #rrggbb */
export function darkInk(colour) {
  const [red, green, blue] = channels(colour).map((value) => (value / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.3;
}
