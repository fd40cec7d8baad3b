// Page 6: slow commands, what is sent most, this router's clients and settings.
import { reply } from '../lib/api.js';
import { show } from '../lib/bytes.js';
import { bytes, clock, latency, short, whole } from '../lib/format.js';
import { Figure, Panel } from '../lib/parts.js';
import { html, useState } from '../lib/preact.js';
import { useResource } from '../lib/resource.js';

const SLOW_MAX = 32;
const POLL_MS = 10_000;

/** Arguments of a slow command that are shown. */
const ARGS_SHOWN_MAX = 16;

export function OperationsPage() {
  return html`<${Router} /><${Slow} /><${Commands} /><${Settings} /><${Links} />`;
}

/** A section of INFO as fields. @param {string} text @returns {Record<string, string>} */
function fields(text) {
  const lines = text.split(/\r?\n/).filter((line) => line && !line.startsWith('#'));
  return Object.fromEntries(lines.map((line) => {
    const at = line.indexOf(':');
    return [line.slice(0, at), line.slice(at + 1)];
  }));
}

/** Comma-separated name=value. @param {string} text @returns {Record<string, number>} */
function pairs(text) {
  return Object.fromEntries(text.split(',').map((pair) => {
    const [name, value] = pair.split('=');
    return [name, Number(value)];
  }));
}

/** @param {string[]} sections @param {AbortSignal} signal */
async function info(sections, signal) {
  const found = await Promise.all(sections.map((section) => reply(['INFO', section], signal)));
  return fields(found.join('\r\n'));
}

function Router() {
  const told = useResource((signal) => info(['clients', 'stats', 'memory'], signal), ['router'], POLL_MS);
  return html`<${Panel} className="bare" resource=${told}>${(/** @type {any} */ data) => html`
    <dl class="figures four">
      <${Figure} label="Clients" value=${whole(Number(data.connected_clients))}
        detail=${`at most ${whole(Number(data.maxclients))}`} />
      <${Figure} label="Commands" value=${short(Number(data.total_commands_processed))}
        detail="since this router started" />
      <${Figure} label="Refused connections" value=${whole(Number(data.rejected_connections))} />
      <${Figure} label="Process memory" value=${bytes(Number(data.used_memory_rss))} detail="resident" />
    </dl>`}<//>`;
}

function Slow() {
  const args = ['SLOWLOG', 'GET', SLOW_MAX];
  const slow = useResource((signal) => reply(args, signal), args, POLL_MS);
  return html`<${Panel} title="Slow commands" note="of this router, newest first" resource=${slow} command=${args}>
    ${(/** @type {any[]} */ rows) => rows.length === 0
      ? html`<p class="quiet-note">None: nothing took longer than <code>slowlog-log-slower-than</code>.</p>`
      : html`<div class="scroll long"><table><thead><tr><th>When</th><th class="n">Took</th><th>Command</th>
          <th>Client</th></tr></thead><tbody>${rows.map(([id, at, micros, command, client, name]) => html`
          <tr key=${id}><td>${clock(at)}</td><td class="n">${latency(micros / 1e6)}</td>
            <td class="wrap mono">${command.slice(0, ARGS_SHOWN_MAX).map(show).join(' ')}</td>
            <td class="mono">${show(client)}${name && html`<small>${show(name)}</small>`}</td></tr>`)}
        </tbody></table></div>`}<//>`;
}

function Commands() {
  const told = useResource((signal) => info(['commandstats', 'latencystats'], signal), ['commands'], POLL_MS);
  return html`<${Panel} title="Commands" note="since this router started" resource=${told}
    command=${['INFO', 'commandstats']}>${(/** @type {any} */ data) => {
      const rows = Object.entries(data)
        .filter(([name]) => name.startsWith('cmdstat_'))
        .map(([name, text]) => ({ name: name.slice(8), ...pairs(text),
          ...pairs(data[`latency_percentiles_usec_${name.slice(8)}`] ?? '') }))
        .sort((/** @type {any} */ a, /** @type {any} */ b) => b.calls - a.calls);
      return html`<div class="scroll long"><table><thead><tr><th>Command</th><th class="n">Calls</th>
        <th class="n">Median</th><th class="n">p99</th><th class="n">p99.9</th><th class="n">Failed</th>
        <th class="n">Refused</th></tr></thead>
        <tbody>${rows.map((/** @type {any} */ row) => html`<tr key=${row.name}>
          <td class="mono">${row.name.replace('|', ' ').toUpperCase()}</td><td class="n">${whole(row.calls)}</td>
          <td class="n">${latency(row.p50 / 1e6)}</td><td class="n">${latency(row.p99 / 1e6)}</td>
          <td class="n">${latency(row['p99.9'] / 1e6)}</td><td class="n">${whole(row.failed_calls)}</td>
          <td class="n">${whole(row.rejected_calls)}</td></tr>`)}</tbody></table></div>`;
    }}<//>`;
}

function Settings() {
  const args = ['CONFIG', 'GET', '*'];
  const settings = useResource((signal) => reply(args, signal), args);
  const [wanted, setWanted] = useState('');
  const search = html`<input type="search" placeholder="Find" aria-label="Find a setting" value=${wanted}
    onInput=${(/** @type {any} */ event) => setWanted(event.target.value.toLowerCase())} />`;
  return html`<${Panel} title="Settings" note="as CONFIG GET tells them" resource=${settings} command=${args}
    actions=${search}>${(/** @type {any} */ found) => {
      const rows = asPairs(found).filter(([name]) => name.includes(wanted));
      return html`<div class="scroll settings"><table><tbody>${rows.map(([name, value]) => html`
        <tr key=${name}><td class="mono">${name}</td><td class="wrap mono">${value || html`<small>empty</small>`}
        </td></tr>`)}</tbody></table></div>`;
    }}<//>`;
}

/** A map, or the flat list that RESP2 has for it. @param {any} found @returns {[string, string][]} */
function asPairs(found) {
  if (!Array.isArray(found)) return Object.entries(found);
  /** @type {[string, string][]} */
  const rows = [];
  for (let at = 0; at + 1 < found.length; at += 2) rows.push([found[at], found[at + 1]]);
  return rows;
}

function Links() {
  /** @type {[string, string][]} */
  const links = [
    ['../metrics', 'metrics for Prometheus'],
    ['../livez', 'is this process alive'],
    ['../readyz?verbose', 'is it ready, and why not'],
  ];
  return html`<${Panel} title="For machines"><ul class="legend">${links.map(([to, what]) => html`
    <li key=${to}><a class="mono" href=${to}>${to.slice(2)}</a> ${what}</li>`)}</ul><//>`;
}
