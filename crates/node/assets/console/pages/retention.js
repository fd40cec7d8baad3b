// The retention triangle: of those who came in one period, how many came in each one after it.
import { reply } from '../lib/api.js';
import { ramp, theme as shownTheme } from '../lib/colour.js';
import { count } from '../lib/dates.js';
import { operand } from '../lib/expression.js';
import { percent, short, whole } from '../lib/format.js';
import { CopyAs, download, Panel } from '../lib/parts.js';
import { html, useMemo, useState } from '../lib/preact.js';
import { useResource } from '../lib/resource.js';

/** @typedef {import('../lib/dates.js').Unit} Unit */

/** One cohort: its key, its size, and how many came back after 0, 1, 2 … periods. @typedef {{ key: string, size: number, back: number[] }} Cohort */

/** @type {Record<Unit, string>} */
const UNITS = { h: 'hour', d: 'day', w: 'week', m: 'month' };

/** Cohorts that are offered. */
const COHORTS = [7, 14, 30];

/** @param {{ name: string, dates: Record<Unit, string[]>, segment: string, names: string[] }} props */
export function Retention({ name, dates, segment, names }) {
  const kept = /** @type {Unit[]} */ (Object.keys(UNITS)).filter((unit) => dates[/** @type {Unit} */ (unit)].length > 1);
  const [unit, setUnit] = useState(kept.includes('d') ? 'd' : kept[0]);
  const [cohorts, setCohorts] = useState(COHORTS[1]);
  const [counts, setCounts] = useState(false);
  const [returning, setReturning] = useState(name);
  const shown = unit ? dates[unit].slice(-cohorts) : [];
  const [from, to] = [shown[0], shown[shown.length - 1]];
  const args = ['BM.RETENTION', name, 'FROM', from, 'TO', to];
  if (returning !== name) args.push('RETURNING', returning);
  const rows = useResource((signal) => load(args, returning, segment, signal), [...args, segment]);
  if (!unit) return null;
  const csv = () => download(`${name}-retention.csv`, asCsv(rows.data ?? []));
  const actions = html`
    ${names.length > 1 && html`<label class="field">back in <select value=${returning}
      onChange=${(/** @type {any} */ event) => setReturning(event.target.value)}>
      ${names.map((one) => html`<option key=${one} value=${one} selected=${one === returning}>${one}</option>`)}
      </select></label>`}
    ${kept.length > 1 && html`<select aria-label="Unit" value=${unit}
      onChange=${(/** @type {any} */ event) => setUnit(event.target.value)}>
      ${kept.map((one) => html`<option key=${one} value=${one}>by ${UNITS[one]}</option>`)}</select>`}
    <select aria-label="Cohorts" value=${String(cohorts)}
      onChange=${(/** @type {any} */ event) => setCohorts(Number(event.target.value))}>
      ${COHORTS.map((one) => html`<option key=${one} value=${one}
        selected=${one === cohorts}>${one} ${UNITS[unit]}s</option>`)}</select>
    <button type="button" class="quiet" aria-pressed=${counts} onClick=${() => setCounts(!counts)}>
      ${counts ? 'Show shares' : 'Show counts'}</button>
    <button type="button" class="quiet" disabled=${!rows.data} onClick=${csv}>CSV</button>`;
  return html`<${Panel} title="Retention" command=${segment ? null : args} resource=${rows} actions=${actions}
    note=${`who came back, by ${UNITS[unit]}${segment ? `, of ${segment}` : ''}`}>
    ${(/** @type {Cohort[]} */ found) => html`<${Triangle} rows=${found} counts=${counts}
      unit=${UNITS[unit]} segment=${segment} returning=${returning} />`}
  <//>`;
}

/**
 * @param {string[]} args @param {string} returning the family that tells who came back
 * @param {string} segment @param {AbortSignal} signal
 * @returns {Promise<Cohort[]>}
 */
async function load(args, returning, segment, signal) {
  /** @type {any[][]} */
  const rows = await reply(args, signal);
  const all = rows.map(([key, size, ...back]) => ({ key, size: Number(size), back: back.map(Number) }));
  if (!segment) return all;
  return Promise.all(all.map(async ({ key, back }, at) => {
    const size = count(cell(key, key, segment), signal);
    const cells = await Promise.all(back.map((_, after) => count(
      cell(key, dated(returning, all[at + after].key), segment), signal)));
    return { key, size: await size, back: cells };
  }));
}

/** The expression that a cell counts. @param {string} cohort @param {string} later @param {string} segment */
function cell(cohort, later, segment) {
  const both = cohort === later ? operand(cohort) : `${operand(cohort)} & ${operand(later)}`;
  return segment ? `${both} & (${segment})` : both;
}

/** The key of another family with a key's date. @param {string} family @param {string} key */
function dated(family, key) {
  return `${family}${key.slice(key.lastIndexOf(':'))}`;
}

/** @param {Cohort[]} rows */
function asCsv(rows) {
  const widest = Math.max(0, ...rows.map((row) => row.back.length));
  const head = ['cohort', 'size', ...Array.from({ length: widest }, (_, at) => `+${at}`)];
  const lines = rows.map((row) => [`"${row.key.replaceAll('"', '""')}"`, row.size, ...row.back]);
  return `${[head, ...lines].map((line) => line.join(',')).join('\r\n')}\r\n`;
}

/** @param {{ rows: Cohort[], counts: boolean, unit: string, segment: string,
 *   returning: string }} props */
function Triangle({ rows, counts, unit, segment, returning }) {
  const [at, setAt] = useState(/** @type {[number, number]} */ ([0, 1]));
  const columns = rows[0]?.back.length ?? 0;
  const span = useMemo(() => spanOf(rows), [rows]);
  const keys = (/** @type {any} */ event) => {
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[
      /** @type {string} */ (event.key)] ?? [0, 0];
    if (!down && !right) return;
    event.preventDefault();
    const row = Math.max(0, Math.min(rows.length - 1, at[0] + down));
    const column = Math.max(0, Math.min(rows[row].back.length - 1, at[1] + right));
    setAt([row, column]);
    event.currentTarget.querySelector(`[data-cell="${row}-${column}"]`)?.focus();
  };
  return html`<div class="scroll"><table class="triangle" onKeyDown=${keys}>
      <thead><tr><th scope="col">Cohort</th><th scope="col">Users</th>
        ${Array.from({ length: columns }, (_, after) => html`<th key=${after} scope="col"
          title="${after} ${unit}s later">+${after}</th>`)}</tr></thead>
      <tbody>${rows.map((row, which) => html`<tr key=${row.key}>
          <th scope="row">${row.key.slice(row.key.lastIndexOf(':') + 1)}</th>
          <td class="size">${whole(row.size)}</td>
          ${row.back.map((back, after) => html`<${Cell} key=${after} row=${row} back=${back} span=${span}
            self=${after === 0 && back === row.size}
            place=${`${which}-${after}`} counts=${counts} chosen=${which === at[0] && after === at[1]}
            choose=${() => setAt([which, after])} />`)}</tr>`)}
        <tr class="mean"><th scope="row">All</th><td class="size"></td>
          ${Array.from({ length: columns }, (_, after) => html`<td key=${after}>${mean(rows, after)}</td>`)}</tr>
      </tbody></table></div>
    <${Told} rows=${rows} at=${at} unit=${unit} segment=${segment} returning=${returning} />`;
}

/**
 * The least and the greatest share that came back later, which colours go between.
 * @param {Cohort[]} rows
 * @returns {[number, number]}
 */
function spanOf(rows) {
  const shares = rows.flatMap((row) => row.back.slice(1).map((back) => (row.size ? back / row.size : 0)));
  const [least, most] = [Math.min(...shares, 1), Math.max(...shares, 0)];
  return most > least ? [least, most] : [0, Math.max(most, 0.01)];
}

/** The share of all cohorts that are old enough. @param {Cohort[]} rows @param {number} after */
function mean(rows, after) {
  const old = rows.filter((row) => row.back.length > after);
  const size = old.reduce((sum, row) => sum + row.size, 0);
  return size ? percent(old.reduce((sum, row) => sum + row.back[after], 0) / size) : '–';
}

/** @param {any} props */
function Cell({ row, back, span, self, place, counts, chosen, choose }) {
  const share = row.size ? back / row.size : 0;
  const depth = 0.08 + 0.72 * ((share - span[0]) / (span[1] - span[0]));
  const ink = shownTheme() === 'dark' ? (depth > 0.33 ? 'bright' : '') : depth > 0.6 ? 'dark' : 'bright';
  return html`<td class=${self ? 'self' : ink} style=${self ? {} : { background: ramp(depth) }}>
    <button type="button" data-cell=${place} tabindex=${chosen ? 0 : -1} onMouseEnter=${choose}
      onFocus=${choose}>${counts ? short(back) : percent(share)}</button></td>`;
}

/** @param {{ rows: Cohort[], at: [number, number], unit: string, segment: string,
 *   returning: string }} props */
function Told({ rows, at, unit, segment, returning }) {
  const row = rows[at[0]];
  const back = row?.back[at[1]];
  if (back === undefined) return html`<div class="cell-told"></div>`;
  const later = dated(returning, rows[at[0] + at[1]].key);
  const after = at[1] === 0 ? `the same ${unit}` : `${at[1]} ${unit}${at[1] === 1 ? '' : 's'} later`;
  const args = ['BM.QUERY', 'COUNT', cell(row.key, later, segment)];
  return html`<div class="cell-told" aria-live="polite">
    <strong>${whole(back)} of ${whole(row.size)}</strong> (${percent(row.size ? back / row.size : 0)})
    of <code>${row.key}</code> came ${after}.
    <div class="crumbs"><code>${args.slice(0, 2).join(' ')} "${args[2]}"</code><${CopyAs} args=${args} /></div>
  </div>`;
}
