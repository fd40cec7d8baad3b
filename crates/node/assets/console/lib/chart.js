// Lines over time, drawn by uPlot; here are their looks, sizes, legend and end of life.
import { series, token } from './colour.js';
import { html, useEffect, useMemo, useRef, useState } from './preact.js';

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {(number | null)[]} values
 * @property {boolean} [dashed]
 */

/**
 * The legend tells the values under the pointer, else the newest.
 * @param {{ times: number[], lines: Line[], format: (value: number) => string, height?: number,
 *   label: string, theme: string, days?: boolean }} props `days`: times are UTC days
 */
export function Chart({ times, lines, format, height = 220, label, theme, days }) {
  const place = useRef(/** @type {any} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const [at, setAt] = useState(/** @type {number | null} */ (null));
  const data = useMemo(() => [times, ...lines.map((line) => line.values)], [times, lines]);
  const names = lines.map((line) => line.name).join('\n');

  useEffect(() => {
    const element = place.current;
    const options = looks(element.clientWidth, height, lines, format, days, setAt);
    // @ts-ignore: the vendored script defines it.
    const made = new uPlot(options, data, element);
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
    };
  }, [names, theme, height, days]);

  useEffect(() => plot.current?.setData(data), [data]);

  const value = (/** @type {Line} */ line) => {
    const found = at === null ? line.values.findLast((one) => one !== null) : line.values[at];
    return found === null || found === undefined ? '–' : format(found);
  };
  return html`<div class="chart" role="img" aria-label=${label} ref=${place}></div>
    <ul class="legend of-chart">
      ${lines.map((line, which) => html`<li key=${line.name}>
        <i style=${{ background: series(which) }}></i><span>${line.name}</span><b>${value(line)}</b></li>`)}
      <li class="when">${at === null ? 'newest' : moment(times[at], days)}</li>
    </ul>`;
}

/** @param {number} seconds @param {boolean} [days] */
function moment(seconds, days) {
  const date = new Date(seconds * 1000);
  return days ? date.toISOString().slice(0, 10) : date.toLocaleTimeString([], { hour12: false });
}

/**
 * @param {number} width @param {number} height @param {Line[]} lines
 * @param {(value: number) => string} format @param {boolean | undefined} days
 * @param {(at: number | null) => void} pointed
 */
function looks(width, height, lines, format, days, pointed) {
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { font, stroke: token('ink-soft'), ticks: { show: false } };
  const when = days ? '{YYYY}-{MM}-{DD}' : '{HH}:{mm}';
  return {
    width,
    height,
    padding: [10, 12, 0, 0],
    cursor: { points: { size: 6 }, drag: { x: false, y: false }, y: false },
    legend: { show: false },
    hooks: { setCursor: [(/** @type {any} */ made) => pointed(made.cursor.idx ?? null)] },
    scales: { x: { time: true }, y: { range: fromZero } },
    tzDate: days ? asUtc : undefined,
    axes: [
      { ...axis, grid: { show: false }, size: 28, space: days ? 100 : 70,
        values: [[1, when, null, null, null, null, null, null, 1]] },
      {
        ...axis,
        size: 64,
        grid: { stroke: token('line'), width: 1 },
        values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map(format),
      },
    ],
    series: [
      {},
      ...lines.map((line, at) => ({
        label: line.name,
        stroke: series(at),
        width: 1.75,
        dash: line.dashed ? [5, 4] : undefined,
        points: { show: true, size: 5, width: 0, fill: series(at), filter: alone },
      })),
    ],
  };
}

/**
 * Places of values that have none beside them, which no line would show.
 * @param {any} made @param {number} which
 */
function alone(made, which) {
  const values = made.data[which];
  const has = (/** @type {number} */ at) => values[at] !== null && values[at] !== undefined;
  return values.flatMap((/** @type {any} */ _, /** @type {number} */ at) =>
    (has(at) && !has(at - 1) && !has(at + 1) ? [at] : []));
}

/** From zero to a bit above the largest. @param {any} _ @param {number} __ @param {number} high */
function fromZero(_, __, high) {
  return [0, high > 0 ? high * 1.08 : 1];
}

/** Days are UTC. @param {number} seconds */
function asUtc(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() + date.getTimezoneOffset() * 60_000);
}
