// Page 5: what takes the memory, in which form, and what plain Redis would take.
import { identity, show, toAddress } from '../lib/bytes.js';
import { darkInk, series } from '../lib/colour.js';
import { against, bytes, counted, short, whole } from '../lib/format.js';
import { Figure, NoKeys, Panel, Stack } from '../lib/parts.js';
import { command, kinds, prefixes, sum, tail } from '../lib/prefixes.js';
import { html, useMemo, useState } from '../lib/preact.js';
import { useResource } from '../lib/resource.js';
import { treemap } from '../lib/treemap.js';

/** @typedef {import('../lib/bytes.js').Bytes} Bytes */
/** @typedef {import('../lib/prefixes.js').Row} Row */

const ROWS_MAX = 100;

/** Boxes of the map; smaller ones are drawn as one. */
const BOXES_MAX = 32;

/** The shape in which boxes are computed; the map keeps it. */
const SHAPE = { width: 320, height: 100 };

/** @type {Record<string, [string, (row: Row) => number]>} */
const ORDERS = {
  memory: ['most memory', (row) => row.bytes],
  keys: ['most keys', (row) => row.keys],
  saved: ['most saved against Redis', (row) => row.plain_bytes - row.bytes],
  each: ['most memory a key', (row) => row.bytes / Math.max(1, row.keys)],
};

/** @param {{ query: URLSearchParams, theme: string }} props */
export function MemoryPage({ query, theme }) {
  const prefix = query.get('prefix') ?? '';
  const rows = useResource((signal) => prefixes(prefix, ROWS_MAX, signal), ['memory', prefix]);
  const args = command(prefix, ROWS_MAX);
  if (rows.data?.length === 0 && prefix === '') return html`<${NoKeys} />`;
  return html`<${Crumbs} prefix=${prefix} />
    <${Panel} className="bare" resource=${rows}>${(/** @type {Row[]} */ data) => html`
      <${Figures} rows=${data} />`}<//>
    <${Panel} title="By prefix" note="areas are bytes; choose one to go into it" resource=${rows} command=${args}>
      ${(/** @type {Row[]} */ data) => html`<${Map_} rows=${data} prefix=${prefix} theme=${theme} />`}<//>
    <${Panel} title="By kind of container" resource=${rows}>${(/** @type {Row[]} */ data) => html`
      <${Kinds} rows=${data} />`}<//>
    <${Table} rows=${rows} prefix=${prefix} />`;
}

/** @param {{ prefix: string }} props */
function Crumbs({ prefix }) {
  const parts = prefix.split(/(?<=:)/).filter(Boolean);
  return html`<nav class="crumbs toolbar" aria-label="Prefix">
    <a href="#/memory">all keys</a>
    ${parts.map((part, at) => html`<span aria-hidden="true">›</span><a key=${at} class="mono"
      href=${`#/memory?prefix=${encodeURIComponent(parts.slice(0, at + 1).join(''))}`}>${part}</a>`)}
  </nav>`;
}

/** @param {{ rows: Row[] }} props */
function Figures({ rows }) {
  const [taken, plain, keys, bits] = [sum(rows, 'bytes'), sum(rows, 'plain_bytes'), sum(rows, 'keys'), sum(rows, 'bits')];
  return html`<dl class="figures four">
    <${Figure} label="Memory" value=${bytes(taken)} detail=${`of ${counted(keys)} keys, one replica`} />
    <${Figure} label="Plain Redis strings" value=${bytes(plain)} detail="of the same lengths" />
    <${Figure} label="Against plain Redis" value=${against(plain, taken)}
      detail=${plain >= taken ? `${bytes(plain - taken)} saved` : `${bytes(taken - plain)} more`} />
    <${Figure} label="A set bit takes" value=${bits ? `${short((taken * 8) / bits)} bit` : '–'}
      detail=${`${short(bits)} bits set`} />
  </dl>`;
}

/** Where a row leads. @param {Row} row */
function address(row) {
  if (row.leaf) return `#/keys?${toAddress(row.name)}`;
  return typeof row.name === 'string' ? `#/memory?prefix=${encodeURIComponent(row.name)}` : null;
}

/** @param {{ rows: Row[], prefix: Bytes, theme: string }} props */
function Map_({ rows, prefix, theme }) {
  const shown = useMemo(() => {
    const sorted = rows.filter((row) => row.bytes > 0 && row.name !== '').sort((a, b) => b.bytes - a.bytes);
    const small = [...sorted.slice(BOXES_MAX), ...rows.filter((row) => row.name === '')];
    const rest = { row: null, keys: sum(small, 'keys'), bytes: sum(small, 'bytes') };
    const boxes = sorted.slice(0, BOXES_MAX).map((row) => ({ row, keys: row.keys, bytes: row.bytes }));
    return rest.bytes > 0 ? [...boxes, rest].sort((a, b) => b.bytes - a.bytes) : boxes;
  }, [rows]);
  const boxes = useMemo(() => treemap(shown.map((one) => one.bytes), SHAPE.width, SHAPE.height), [shown]);
  if (shown.length === 0) return html`<p class="quiet-note">Nothing here takes memory.</p>`;
  return html`<div class="map" data-theme-now=${theme}>${shown.map(({ row, keys, bytes: size }, at) => {
    const box = boxes[at];
    const name = row ? show(tail(row.name, prefix)) || '(the prefix itself)' : 'the smaller rest';
    const to = row ? address(row) : null;
    const label = box.width > 16 && box.height > 9;
    const colour = row ? series(at) : undefined;
    return html`<button type="button" key=${row ? identity(row.name) : ''} disabled=${!to}
      class="${colour && darkInk(colour) ? 'light' : ''} ${row ? '' : 'rest'} ${label ? 'told' : ''}"
      title="${name}: ${bytes(size)}, ${whole(keys)} keys" onClick=${() => to && (location.hash = to)}
      style=${{ left: `${(box.x / SHAPE.width) * 100}%`, top: `${(box.y / SHAPE.height) * 100}%`,
        width: `${(box.width / SHAPE.width) * 100}%`, height: `${(box.height / SHAPE.height) * 100}%`,
        background: colour ?? '' }}>${label && html`${name}
        ${box.height > 18 && html`<small>${bytes(size)}</small>`}`}</button>`;
  })}</div>`;
}

/** @param {{ rows: Row[] }} props */
function Kinds({ rows }) {
  const all = {
    array_bytes: sum(rows, 'array_bytes'),
    dense_bytes: sum(rows, 'dense_bytes'),
    run_bytes: sum(rows, 'run_bytes'),
    other_bytes: sum(rows, 'other_bytes'),
  };
  return html`<${Stack} parts=${kinds(all)} format=${bytes} />
    <p class="quiet-note">A container of 65,536 bits is an array while it is sparse, dense when it is full of
      bits, runs where they follow each other. It changes by itself as bits are set.</p>`;
}

/** @param {{ rows: any, prefix: string }} props */
function Table({ rows, prefix }) {
  const [order, setOrder] = useState('memory');
  const actions = html`<select aria-label="Order" value=${order}
    onChange=${(/** @type {any} */ event) => setOrder(event.target.value)}>
    ${Object.entries(ORDERS).map(([name, [title]]) => html`<option key=${name} value=${name}>${title}</option>`)}
  </select>`;
  return html`<${Panel} title="Rows" actions=${actions} resource=${rows}>
    ${(/** @type {Row[]} */ data) => {
      const [, value] = ORDERS[order];
      const sorted = [...data].sort((a, b) => Number(a.name === '') - Number(b.name === '') || value(b) - value(a));
      return html`<div class="scroll"><table><thead><tr><th>Name</th><th class="n">Keys</th>
        <th class="n">Bits set</th><th class="n">Memory</th><th>Containers</th><th class="n">Plain Redis</th>
        <th class="n">Against it</th><th class="n">A key</th></tr></thead>
        <tbody>${sorted.map((row) => html`<tr key=${identity(row.name) + row.leaf}>
          <td class="mono">${row.name === '' ? 'the smaller rest' : html`<a href=${address(row)}>
            ${show(tail(row.name, prefix)) || '(the prefix itself)'}</a>`}</td>
          <td class="n">${whole(row.keys)}</td><td class="n">${short(row.bits)}</td>
          <td class="n">${bytes(row.bytes)}</td><td><${Mix} row=${row} /></td>
          <td class="n">${bytes(row.plain_bytes)}</td><td class="n">${against(row.plain_bytes, row.bytes)}</td>
          <td class="n">${bytes(Math.round(row.bytes / Math.max(1, row.keys)))}</td></tr>`)}</tbody></table></div>`;
    }}<//>`;
}

/** @param {{ row: Row }} props */
function Mix({ row }) {
  const parts = kinds(row).filter((part) => part.value > 0);
  return html`<span class="stack-bar" role="img"
    aria-label=${parts.map((part) => `${part.name} ${bytes(part.value)}`).join(', ')}>
    ${parts.map((part) => html`<span key=${part.tone} class="tone-${part.tone}" style=${{ flexGrow: part.value }}
      title="${part.name}: ${bytes(part.value)}"></span>`)}</span>`;
}
