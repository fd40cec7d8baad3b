// The bar of all slots, coloured by group.
import { series } from '../lib/colour.js';
import { bytes, many, whole } from '../lib/format.js';
import { html, useMemo, useState } from '../lib/preact.js';

/** A group's colour, hatched red where it has no leader. @param {{ at: number, down: boolean }} props */
export function Swatch({ at, down }) {
  const look = down ? {} : { background: series(at) };
  return html`<i class="swatch ${down ? 'down' : ''}" style=${look} aria-hidden="true"></i>`;
}

/** @param {{ cluster: any }} props */
export function SlotBar({ cluster }) {
  const [chosen, setChosen] = useState(-1);
  const ranges = useMemo(() => rangesOf(cluster), [cluster]);
  const range = ranges[chosen];
  const move = (/** @type {any} */ event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[/** @type {string} */ (event.key)];
    if (!step) return;
    event.preventDefault();
    setChosen((old) => Math.max(0, Math.min(ranges.length - 1, old + step)));
  };
  return html`<div class="slots">
    <svg viewBox="0 0 ${cluster.slots} 100" preserveAspectRatio="none" role="img" tabindex="0"
      aria-label="Slots by group; the arrow keys go from range to range" onKeyDown=${move}
      onMouseLeave=${() => setChosen(-1)} onBlur=${() => setChosen(-1)}>
      <defs><pattern id="no-leader" width="120" height="100" patternUnits="userSpaceOnUse">
        <rect width="120" height="100" class="down-base" />
        <path d="M0 100L60 0h60L60 100z" class="down-stripe" /></pattern></defs>
      <rect width=${cluster.slots} height="100" class="unowned" />
      ${ranges.map((part, at) => html`<rect key=${part.from} x=${part.from} y="0" height="100"
        width=${part.to - part.from + 1} class=${at === chosen ? 'chosen' : ''}
        fill=${part.group.leader === null ? 'url(#no-leader)' : series(part.place)}
        onMouseEnter=${() => setChosen(at)} />`)}
    </svg>
    <div class="slot-scale" aria-hidden="true"><span>0</span><span>${whole(cluster.slots / 4)}</span>
      <span>${whole(cluster.slots / 2)}</span><span>${whole((cluster.slots * 3) / 4)}</span>
      <span>${whole(cluster.slots - 1)}</span></div>
    <div class="slot-told" aria-live="polite">
      ${range ? html`<${Told} range=${range} cluster=${cluster} />` : html`<ul class="legend">
        ${cluster.groups.map((/** @type {any} */ group, /** @type {number} */ at) => html`<li
          key=${group.id}><${Swatch} at=${at} down=${group.leader === null} />Group ${group.id}
          <b>${group.leader === null ? 'no leader' : `node ${group.leader}`}</b></li>`)}</ul>`}
    </div>
  </div>`;
}

/** @param {{ range: any, cluster: any }} props */
function Told({ range, cluster }) {
  const { group, from, to, place } = range;
  const node = cluster.nodes.find((/** @type {any} */ one) => one.id === group.leader);
  return html`<p><${Swatch} at=${place} down=${group.leader === null} />
    <strong>Slots ${whole(from)}–${whole(to)}</strong> · group ${group.id} ·
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
