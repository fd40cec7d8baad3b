// The map of all slots, coloured by group.
import { series, token } from '../lib/colour.js';
import { bytes, many, whole } from '../lib/format.js';
import { html, useEffect, useMemo, useRef, useState } from '../lib/preact.js';

/** Slots of a row, each one pixel wide, and the pixels of a row's height. */
const COLUMNS = 1024;
const ROW = 4;

/** A group's colour, hatched red where it has no leader. @param {{ at: number, down: boolean }} props */
export function Swatch({ at, down }) {
  const look = down ? {} : { background: series(at) };
  return html`<i class="swatch ${down ? 'down' : ''}" style=${look} aria-hidden="true"></i>`;
}

/** How many slots a group owns. @param {any} group @returns {number} */
export function slotsOf(group) {
  return group.slots.reduce(
    (/** @type {number} */ all, /** @type {number[]} */ [from, to]) => all + to - from + 1, 0);
}

/** @param {{ cluster: any, theme: string }} props */
export function SlotMap({ cluster, theme }) {
  const canvas = useRef(/** @type {any} */ (null));
  const [chosen, setChosen] = useState(-1);
  const ranges = useMemo(() => rangesOf(cluster), [cluster]);
  const range = ranges[chosen];
  const rows = Math.ceil(cluster.slots / COLUMNS);
  useEffect(() => paint(canvas.current, ranges, rows, range), [ranges, rows, range, theme]);

  const point = (/** @type {any} */ event) => {
    const box = canvas.current.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * COLUMNS);
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const slot = row * COLUMNS + column;
    setChosen(ranges.findIndex((part) => part.from <= slot && slot <= part.to));
  };
  const move = (/** @type {any} */ event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[/** @type {string} */ (event.key)];
    if (!step) return;
    event.preventDefault();
    setChosen((old) => Math.max(0, Math.min(ranges.length - 1, old + step)));
  };
  return html`<div class="slots">
    <div class="slot-shares" aria-hidden="true">${cluster.groups.map((/** @type {any} */ group,
      /** @type {number} */ at) => html`<span key=${group.id} class=${group.leader === null ? 'down' : ''}
        style=${{ flexGrow: slotsOf(group), background: group.leader === null ? '' : series(at) }}
        title="Group ${group.id}: ${whole(slotsOf(group))} slots">${group.id}</span>`)}</div>
    <canvas ref=${canvas} tabindex="0" role="img" onKeyDown=${move} onPointerMove=${point}
      onPointerLeave=${() => setChosen(-1)} onBlur=${() => setChosen(-1)}
      aria-label="Slots by group, ${COLUMNS} a row; the arrow keys go from range to range"></canvas>
    <div class="slot-told" aria-live="polite">
      ${range ? html`<${Told} range=${range} cluster=${cluster} />` : html`<ul class="legend">
        ${cluster.groups.map((/** @type {any} */ group, /** @type {number} */ at) => html`<li
          key=${group.id}><${Swatch} at=${at} down=${group.leader === null} />Group ${group.id}
          <b>${whole(slotsOf(group))}</b>
          ${group.leader === null ? 'no leader' : `node ${group.leader}`}</li>`)}</ul>`}
    </div>
  </div>`;
}

/**
 * @param {HTMLCanvasElement} canvas @param {any[]} ranges in order @param {number} rows
 * @param {any} chosen
 */
function paint(canvas, ranges, rows, chosen) {
  canvas.width = COLUMNS;
  canvas.height = rows * ROW;
  const pen = canvas.getContext('2d');
  if (!pen) return;
  pen.fillStyle = token('bad-soft');
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const down = hatched(pen);
  for (const range of ranges) {
    pen.fillStyle = range.group.leader === null ? down : series(range.place);
    eachRow(range, (x, y, width) => pen.fillRect(x, y, width, ROW));
  }
  if (!chosen) return;
  pen.fillStyle = token('ink');
  eachRow(chosen, (x, y, width) => pen.fillRect(x, y, width, ROW));
}

/** The parts of a range in each row. @param {any} range @param {(x: number, y: number, width: number) => void} draw */
function eachRow(range, draw) {
  for (let from = range.from; from <= range.to;) {
    const row = Math.floor(from / COLUMNS);
    const to = Math.min(range.to, (row + 1) * COLUMNS - 1);
    draw(from - row * COLUMNS, row * ROW, to - from + 1);
    from = to + 1;
  }
}

/** Red stripes. @param {CanvasRenderingContext2D} pen */
function hatched(pen) {
  const tile = document.createElement('canvas');
  tile.width = 4;
  tile.height = ROW;
  const brush = tile.getContext('2d');
  if (!brush) return token('bad');
  brush.fillStyle = token('bad');
  brush.fillRect(0, 0, 3, ROW);
  return pen.createPattern(tile, 'repeat') ?? token('bad');
}

/** @param {{ range: any, cluster: any }} props */
function Told({ range, cluster }) {
  const { group, from, to, place } = range;
  const node = cluster.nodes.find((/** @type {any} */ one) => one.id === group.leader);
  const name = from === to ? `Slot ${whole(from)}` : `Slots ${whole(from)}–${whole(to)}`;
  return html`<p><${Swatch} at=${place} down=${group.leader === null} />
    <strong>${name}</strong> · group ${group.id} ·
    ${' '}${group.leader === null ? html`<b class="bad-text">no leader: not served</b>`
      : `leader node ${group.leader}${node ? ` (${node.address})` : ''}`}
    ${' '}· the group has ${many(group.keys, 'key')} in ${bytes(group.memory_bytes)}</p>`;
}

/** All ranges in order. @param {any} cluster @returns {any[]} */
function rangesOf(cluster) {
  return cluster.groups
    .flatMap((/** @type {any} */ group, /** @type {number} */ place) =>
      group.slots.map((/** @type {number[]} */ [from, to]) => ({ from, to, group, place })))
    .sort((/** @type {any} */ a, /** @type {any} */ b) => a.from - b.from);
}
