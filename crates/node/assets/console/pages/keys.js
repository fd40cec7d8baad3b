// Page 2: all keys as a tree of prefixes, and one key's card.
import { fromAddress, identity, show, toAddress } from '../lib/bytes.js';
import { bytes, counted, whole } from '../lib/format.js';
import { Failure, Loaded, NoKeys, Panel } from '../lib/parts.js';
import { command, prefixes, sum, tail } from '../lib/prefixes.js';
import { html, useState } from '../lib/preact.js';
import { useResource } from '../lib/resource.js';
import { KeyCard } from './keycard.js';

/** @typedef {import('../lib/bytes.js').Bytes} Bytes */
/** @typedef {import('../lib/prefixes.js').Row} Row */

/** Rows of one level of the tree. */
const ROWS_MAX = 500;

/** @param {{ query: URLSearchParams, theme: string, cluster: any }} props */
export function KeysPage({ query, theme, cluster }) {
  const chosen = fromAddress(query);
  const top = useResource((signal) => prefixes('', ROWS_MAX, signal), ['top']);
  const open = (/** @type {any} */ event) => {
    event.preventDefault();
    const name = String(new FormData(event.target).get('key'));
    if (name) location.hash = `#/keys?${toAddress(name)}`;
  };
  if (top.data?.length === 0 && chosen === null) return html`<${NoKeys} />`;
  return html`<div class="keys">
    <${Panel} title="Keys" command=${command('', ROWS_MAX)}
      note=${top.data && `${whole(sum(top.data, 'keys'))} in ${bytes(sum(top.data, 'bytes'))}`}>
      <form class="toolbar" onSubmit=${open}><div class="grow">
        <input name="key" placeholder="An exact key" aria-label="An exact key" spellcheck="false"
          autocomplete="off" /><button type="submit">Open</button></div></form>
      <${Loaded} resource=${top}>${(/** @type {Row[]} */ rows) => html`
        <div class="tree" onKeyDown=${walk}><${Level} rows=${rows} prefix="" depth=${0}
          chosen=${chosen} /></div>`}<//>
    <//>
    ${chosen === null
      ? html`<section class="panel empty"><h2>Choose a key</h2>
          <p>In the tree, or by its exact name. What a value holds is counted where it lies;
            no value is sent to this page.</p></section>`
      : html`<${KeyCard} key=${identity(chosen)} name=${chosen} theme=${theme} cluster=${cluster} />`}
  </div>`;
}

/** The arrow keys go through the rows. @param {any} event */
function walk(event) {
  const rows = [...event.currentTarget.querySelectorAll('.row')];
  const at = rows.indexOf(document.activeElement);
  const row = rows[at];
  if (!row) return;
  const expanded = row.getAttribute('aria-expanded');
  if (event.key === 'ArrowDown') rows[at + 1]?.focus();
  else if (event.key === 'ArrowUp') rows[at - 1]?.focus();
  else if (event.key === 'ArrowRight' && expanded === 'false') row.click();
  else if (event.key === 'ArrowLeft' && expanded === 'true') row.click();
  else return;
  event.preventDefault();
}

/** @param {{ rows: Row[], prefix: Bytes, depth: number, chosen: Bytes | null }} props */
function Level({ rows, prefix, depth, chosen }) {
  return html`<ul>${rows.map((row) => html`<li key=${identity(row.name) + row.leaf}>
    ${row.name === '' ? html`<${Rest} row=${row} depth=${depth} />`
      : row.leaf ? html`<${Leaf} row=${row} prefix=${prefix} depth=${depth} chosen=${chosen} />`
        : html`<${Branch} row=${row} prefix=${prefix} depth=${depth} chosen=${chosen} />`}
  </li>`)}</ul>`;
}

/** @param {number} depth */
function indent(depth) {
  return { paddingLeft: `${8 + depth * 14}px` };
}

/** @param {{ row: Row, depth: number }} props */
function Rest({ row, depth }) {
  return html`<div class="row" style=${indent(depth)}><span></span>
    <span class="quiet-note">the smaller rest: type the exact key</span>
    <span class="count">${counted(row.keys)}</span><span class="size">${bytes(row.bytes)}</span></div>`;
}

/** @param {{ row: Row, prefix: Bytes, depth: number, chosen: Bytes | null }} props */
function Leaf({ row, prefix, depth, chosen }) {
  const current = chosen !== null && identity(chosen) === identity(row.name);
  const go = () => (location.hash = `#/keys?${toAddress(row.name)}`);
  return html`<button type="button" class="row" style=${indent(depth)} onClick=${go}
    aria-current=${current ? 'true' : undefined} title=${show(row.name)}>
    <span></span><span class="name">${show(tail(row.name, prefix)) || '(the prefix itself)'}</span>
    <span class="count">${row.expiring ? 'expires' : ''}</span>
    <span class="size">${bytes(row.bytes)}</span></button>`;
}

/** @param {{ row: Row, prefix: Bytes, depth: number, chosen: Bytes | null }} props */
function Branch({ row, prefix, depth, chosen }) {
  const within = chosen !== null && show(chosen).startsWith(show(row.name));
  const [open, setOpen] = useState(within);
  return html`<button type="button" class="row" style=${indent(depth)} aria-expanded=${open}
      onClick=${() => setOpen(!open)} title=${show(row.name)}>
      <span class="turn" aria-hidden="true">${open ? '▼' : '▶'}</span>
      <span class="name">${show(tail(row.name, prefix))}</span>
      <span class="count">${counted(row.keys)}</span><span class="size">${bytes(row.bytes)}</span>
    </button>
    ${open && html`<${Below} prefix=${row.name} depth=${depth + 1} chosen=${chosen} />`}`;
}

/** @param {{ prefix: Bytes, depth: number, chosen: Bytes | null }} props */
function Below({ prefix, depth, chosen }) {
  const rows = useResource((signal) => prefixes(prefix, ROWS_MAX, signal), ['below', prefix]);
  if (rows.error && !rows.data) {
    return html`<${Failure} error=${rows.error} retry=${rows.retry} busy=${rows.loading} />`;
  }
  const sorted = rows.data && [...rows.data].sort(byName);
  return html`<${Loaded} resource=${{ ...rows, data: sorted }}>${(/** @type {Row[]} */ found) =>
    html`<${Level} rows=${found} prefix=${prefix} depth=${depth} chosen=${chosen} />`}<//>`;
}

/** Names in order as people count, the rest last. @param {Row} a @param {Row} b */
function byName(a, b) {
  if (a.name === '' || b.name === '') return a.name === '' ? 1 : -1;
  return show(a.name).localeCompare(show(b.name), 'en', { numeric: true });
}
