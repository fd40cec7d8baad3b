// Where a bitmap's bits are: 1,024 buckets of a range, down to single bits.
import { reply } from '../lib/api.js';
import { ramp, token } from '../lib/colour.js';
import { percent, short, whole } from '../lib/format.js';
import { Loaded, Panel } from '../lib/parts.js';
import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { useResource } from '../lib/resource.js';

/** @typedef {import('../lib/bytes.js').Bytes} Bytes */
/** @typedef {[number, number]} Range half-open, a multiple of BUCKETS wide */

const BUCKETS = 1024;
const SIDE = 32;
const IDS_MAX = 100;

/** The strip's height in parts: columns above, heat below. */
const STRIP = { height: 92, columns: 52, gap: 4 };

/** @param {{ name: Bytes, theme: string, last: number }} props */
export function Density({ name, theme, last }) {
  const whole_ = /** @type {Range} */ ([0, Math.max(1, Math.ceil((last + 1) / BUCKETS)) * BUCKETS]);
  const [trail, setTrail] = useState(/** @type {Range[]} */ ([]));
  const range = trail.at(-1) ?? whole_;
  const args = ['BM.DENSITY', name, range[0], range[1], BUCKETS];
  const counts = useResource((signal) => reply(args, signal), args);
  const zoom = (/** @type {number} */ from, /** @type {number} */ to) => {
    const next = aligned(range, from, to, whole_[1]);
    if (next[0] !== range[0] || next[1] !== range[1]) setTrail([...trail, next]);
  };
  const jump = (/** @type {any} */ event) => {
    event.preventDefault();
    const fields = new FormData(event.target);
    const [from, to] = ['from', 'to'].map((field) => Number(fields.get(field)));
    if (Number.isSafeInteger(from) && Number.isSafeInteger(to) && to >= from) zoom(from, to + 1);
  };
  const bits = range[1] - range[0] <= BUCKETS;
  return html`<${Panel} title="Density" className="density" command=${args}
    note=${bits ? 'single bits' : `${whole((range[1] - range[0]) / BUCKETS)} bits a column; drag to look closer`}>
    <form class="range-bar" onSubmit=${jump} key=${range.join()}>
      <label class="field">From <input name="from" inputmode="numeric" value=${range[0]} /></label>
      <label class="field">to <input name="to" inputmode="numeric" value=${range[1] - 1} /></label>
      <button type="submit">Show</button>
      <button type="button" disabled=${trail.length === 0} onClick=${() => setTrail(trail.slice(0, -1))}>
        Back</button>
      <button type="button" disabled=${trail.length === 0} onClick=${() => setTrail([])}>All</button>
    </form>
    <${Loaded} resource=${counts}>${(/** @type {number[]} */ found) => bits
      ? html`<${Bits} counts=${found} low=${range[0]} last=${last} />`
      : html`<${Strip} counts=${found} range=${range} zoom=${zoom} theme=${theme} />`}<//>
    <${First} name=${name} range=${range} />
  <//>`;
}

/**
 * The range as buckets can show it: a whole number of bits each, not beyond the end.
 * @param {Range} now @param {number} from @param {number} to @param {number} end
 * @returns {Range}
 */
function aligned(now, from, to, end) {
  const low = Math.max(0, Math.floor(from));
  const width = Math.max(1, Math.ceil((Math.min(to, Math.max(end, now[1])) - low) / BUCKETS)) * BUCKETS;
  const start = width === BUCKETS ? Math.floor(low / BUCKETS) * BUCKETS : low;
  return [start, start + width];
}

/**
 * @param {{ counts: number[], range: Range, zoom: (from: number, to: number) => void,
 *   theme: string }} props
 */
function Strip({ counts, range, zoom, theme }) {
  const canvas = useRef(/** @type {any} */ (null));
  const [drag, setDrag] = useState(/** @type {[number, number] | null} */ (null));
  const [at, setAt] = useState(/** @type {number | null} */ (null));
  const width = (range[1] - range[0]) / BUCKETS;
  useEffect(() => paint(canvas.current, counts, width), [counts, width, theme]);

  const place = (/** @type {any} */ event) => {
    const box = canvas.current.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    return Math.max(0, Math.min(BUCKETS - 1, Math.floor(share * BUCKETS)));
  };
  const down = (/** @type {any} */ event) => {
    canvas.current.setPointerCapture?.(event.pointerId);
    setDrag([place(event), place(event)]);
  };
  const move = (/** @type {any} */ event) => {
    setAt(place(event));
    if (drag) setDrag([drag[0], place(event)]);
  };
  const offset = (/** @type {number} */ bucket) => range[0] + bucket * width;
  const up = () => {
    if (drag) {
      const [from, to] = drag[0] <= drag[1] ? drag : [drag[1], drag[0]];
      // A click without a drag looks at its neighbourhood.
      const pad = from === to ? 16 : 0;
      zoom(offset(Math.max(0, from - pad)), offset(Math.min(BUCKETS, to + 1 + pad)));
    }
    setDrag(null);
  };
  const keys = (/** @type {any} */ event) => {
    const step = { ArrowLeft: -8, ArrowRight: 8 }[/** @type {string} */ (event.key)];
    if (step) setAt(Math.max(0, Math.min(BUCKETS - 1, (at ?? 0) + step)));
    else if (event.key === 'Enter' && at !== null) zoom(offset(Math.max(0, at - 16)), offset(at + 17));
    else return;
    event.preventDefault();
  };
  const [from, to] = drag ? [Math.min(...drag), Math.max(...drag) + 1] : [0, 0];
  const total = counts.reduce((sum, count) => sum + count, 0);
  return html`<div class="strip" tabindex="0" role="slider" aria-label="Density; arrows move, Enter looks closer"
      aria-valuemin=${range[0]} aria-valuemax=${range[1] - 1} aria-valuenow=${at === null ? range[0] : offset(at)}
      aria-valuetext=${at === null ? 'nothing chosen' : `${counts[at]} of ${width} bits from ${offset(at)}`}
      onKeyDown=${keys} onPointerMove=${move} onPointerLeave=${() => !drag && setAt(null)}
      onPointerDown=${down} onPointerUp=${up} onPointerCancel=${() => setDrag(null)}>
      <canvas ref=${canvas}></canvas>
      ${drag && html`<span class="selection"
        style=${{ left: `${(from / BUCKETS) * 100}%`, width: `${((to - from) / BUCKETS) * 100}%` }}></span>`}
    </div>
    <div class="strip-scale"><span>${whole(range[0])}</span>
      <span>${at === null
        ? `${whole(total)} bits set here`
        : `${whole(offset(at))}–${whole(offset(at) + width - 1)}: ${whole(counts[at])} set, ${percent(counts[at] / width)}`}</span>
      <span>${whole(range[1] - 1)}</span></div>`;
}

/** @param {HTMLCanvasElement} canvas @param {number[]} counts @param {number} width of a bucket */
function paint(canvas, counts, width) {
  const { height, columns, gap } = STRIP;
  canvas.width = BUCKETS;
  canvas.height = height;
  const pen = canvas.getContext('2d');
  if (!pen) return;
  const most = Math.max(1, ...counts);
  pen.clearRect(0, 0, BUCKETS, height);
  const column = token('accent');
  counts.forEach((count, at) => {
    if (count === 0) return;
    pen.fillStyle = column;
    const tall = Math.max(1, (count / most) * columns);
    pen.fillRect(at, columns - tall, 1, tall);
    pen.fillStyle = ramp(Math.log1p(count) / Math.log1p(width));
    pen.fillRect(at, columns + gap, 1, height - columns - gap);
  });
}

/** @param {{ counts: number[], low: number, last: number }} props */
function Bits({ counts, low, last }) {
  const [at, setAt] = useState(/** @type {number | null} */ (null));
  const keys = (/** @type {any} */ event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -SIDE, ArrowDown: SIDE }[
      /** @type {string} */ (event.key)];
    if (!step) return;
    event.preventDefault();
    setAt((old) => Math.max(0, Math.min(BUCKETS - 1, (old ?? -step) + step)));
  };
  const cell = 17;
  return html`<svg class="bits" viewBox="0 0 ${SIDE * cell} ${SIDE * cell}" tabindex="0" role="img"
      aria-label="Bits ${low} to ${low + BUCKETS - 1}, 32 a row; the arrow keys move"
      onKeyDown=${keys} onMouseLeave=${() => setAt(null)}>
      ${counts.map((bit, place) => html`<rect key=${place} rx="3" width=${cell - 2} height=${cell - 2}
        x=${(place % SIDE) * cell + 1} y=${Math.floor(place / SIDE) * cell + 1}
        class="${bit ? 'set' : low + place > last ? 'beyond' : ''} ${place === at ? 'chosen' : ''}"
        onMouseEnter=${() => setAt(place)} />`)}
    </svg>
    <p class="told" aria-live="polite">${at === null
      ? `${short(counts.reduce((sum, bit) => sum + bit, 0))} of ${whole(BUCKETS)} bits set; rows of 32 from ${whole(low)}`
      : `Bit ${whole(low + at)} is ${counts[at] ? 'set' : 'not set'}`}</p>`;
}

/** The first ids of the range. @param {{ name: Bytes, range: Range }} props */
function First({ name, range }) {
  const args = ['BM.RANGE', name, range[0], range[1] - 1, 'LIMIT', IDS_MAX];
  const ids = useResource((signal) => reply(args, signal), args);
  return html`<h3>First ids in this range</h3>
    <${Loaded} resource=${ids}>${(/** @type {any[]} */ found) => found.length === 0
      ? html`<p class="quiet-note">No bit is set here.</p>`
      : html`<ul class="ids">${found.map((id) => html`<li key=${id}>${id}</li>`)}
          ${found.length === IDS_MAX && html`<li>…</li>`}</ul>`}<//>`;
}
