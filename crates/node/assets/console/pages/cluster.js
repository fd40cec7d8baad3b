// Page 1: is the cluster well, who holds what, and how busy is it.
import { call } from '../lib/api.js';
import { Chart } from '../lib/chart.js';
import { against, bytes, counted, latency, many, percent, short, span, whole } from '../lib/format.js';
import { Figure, Panel } from '../lib/parts.js';
import { prefixes, sum as total } from '../lib/prefixes.js';
import { html, useMemo } from '../lib/preact.js';
import { useResource } from '../lib/resource.js';
import { slotsOf, SlotMap, Swatch } from './slots.js';

const POLL_MS = 5000;

/** @param {{ cluster: any, theme: string }} props */
export function ClusterPage({ cluster, theme }) {
  const samples = useResource((signal) => call('series?seconds=900', { signal }), ['series'], POLL_MS);
  // Every key is looked at for this, so it is not asked again and again.
  const all = useResource((signal) => prefixes('', 1, signal), ['all']);
  return html`<${Panel} className="bare" resource=${cluster}>
      ${(/** @type {any} */ data) => html`<${Figures} cluster=${data} samples=${samples.data}
        rows=${all.data} />`}
    <//>
    <${Panel} title="Slots" resource=${cluster} note="which group holds which part of the key space">
      ${(/** @type {any} */ data) => html`<${SlotMap} cluster=${data} theme=${theme} />`}
    <//>
    <div class="columns">
      <${Panel} title="Commands per second" note="of this router, 15 minutes" resource=${samples}>
        ${(/** @type {any} */ data) => html`<${Series} data=${data} name="commands_per_second"
          format=${short} theme=${theme} label="Commands per second" />`}
      <//>
      <${Panel} title="Latency, 99th percentile" note="seen by clients" resource=${samples}>
        ${(/** @type {any} */ data) => html`<${Series} data=${data} name="p99_seconds"
          format=${latency} theme=${theme} label="99th percentile of latency" />`}
      <//>
    </div>
    <${Panel} title="Nodes" resource=${cluster}>
      ${(/** @type {any} */ data) => html`<${Nodes} cluster=${data} />`}<//>
    <${Panel} title="Groups" note="lag is how many log entries a replica is behind" resource=${cluster}>
      ${(/** @type {any} */ data) => html`<${Groups} cluster=${data} />`}<//>`;
}

/** Samples of a minute. */
const MINUTE = 12;

/** The last value of the last minute. @param {(number | null)[]} values */
function newest(values) {
  return values.slice(-MINUTE).findLast((value) => value !== null) ?? null;
}

/** @param {any} samples @param {string} name @param {string} [cmd] */
function valuesOf(samples, name, cmd) {
  return (samples?.series ?? []).filter(
    (/** @type {any} */ line) => line.name === name && (cmd === undefined || line.cmd === cmd),
  );
}

/** @param {{ cluster: any, samples: any, rows: any }} props */
function Figures({ cluster, samples, rows }) {
  const rates = valuesOf(samples, 'commands_per_second').map((/** @type {any} */ line) => newest(line.values));
  const rate = rates.length ? rates.reduce((/** @type {number} */ a, /** @type {any} */ b) => a + (b ?? 0), 0) : null;
  const failing = newest(valuesOf(samples, 'errors_per_second')[0]?.values ?? []);
  const setbit = newest(valuesOf(samples, 'p99_seconds', 'setbit')[0]?.values ?? []);
  const slowest = valuesOf(samples, 'p99_seconds')
    .map((/** @type {any} */ line) => newest(line.values))
    .reduce((/** @type {any} */ a, /** @type {any} */ b) => Math.max(a ?? 0, b ?? 0), null);
  const keys = newest(valuesOf(samples, 'keys')[0]?.values ?? []);
  const sum = (/** @type {string} */ field) =>
    cluster.groups.reduce((/** @type {number} */ all, /** @type {any} */ group) => all + (group[field] ?? 0), 0);
  const served = cluster.slots_served === cluster.slots;
  return html`<dl class="figures">
    <${Figure} label="Slots served" tone=${served ? 'good' : 'bad'}
      value=${percent(cluster.slots_served / cluster.slots)}
      detail=${`${whole(cluster.slots_served)} of ${whole(cluster.slots)}`} />
    <${Figure} label="Commands" value=${short(rate)} detail="a second" />
    <${Figure} label=${setbit === null ? 'Slowest p99' : 'p99 of SETBIT'}
      value=${latency(setbit ?? slowest)} detail="in the last minute" />
    <${Figure} label="Errors" tone=${failing ? 'warn' : ''}
      value=${failing === null || !rate ? percent(failing === null ? null : 0) : percent(failing / rate)}
      detail=${failing === null ? 'of commands' : `${short(failing)} a second`} />
    <${Figure} label="Keys" value=${counted(keys ?? sum('keys'))} detail=${many(cluster.groups.length, 'group')} />
    <${Figure} label="Against plain Redis" value=${rows ? against(total(rows, 'plain_bytes'), total(rows, 'bytes')) : '–'}
      title=${rows ? `${bytes(total(rows, 'bytes'))} are taken` : undefined}
      detail=${rows ? `instead of ${bytes(total(rows, 'plain_bytes'))}` : bytes(sum('memory_bytes'))} />
  </dl>`;
}

/** @param {any} props */
function Series({ data, name, format, theme, label }) {
  const lines = useMemo(
    () => valuesOf(data, name).map((/** @type {any} */ line) => ({ name: line.cmd, values: line.values })),
    [data, name],
  );
  const times = useMemo(() => {
    const count = Math.max(1, ...lines.map((/** @type {any} */ line) => line.values.length));
    return Array.from({ length: count }, (_, at) => data.end - (count - 1 - at) * data.step_seconds);
  }, [data, lines]);
  if (lines.length === 0) {
    return html`<p class="quiet-note">No command was sent to this router in the last 15 minutes.</p>`;
  }
  return html`<${Chart} times=${times} lines=${lines} format=${format} theme=${theme} label=${label} />`;
}

/** @param {{ cluster: any }} props */
function Nodes({ cluster }) {
  return html`<div class="scroll"><table>
    <thead><tr><th>Node</th><th>Address</th><th>State</th><th class="n">Leads</th>
      <th class="n">Replicas</th><th class="n">Keys</th><th class="n">Memory</th><th class="n">Disk</th>
      <th class="n">Up</th><th>Version</th></tr></thead>
    <tbody>${cluster.nodes.map((/** @type {any} */ node) => html`<tr key=${node.id}>
      <td>${node.id}</td><td class="mono">${node.address}</td>
      <td>${node.alive
        ? html`<span class="state good">serving</span>`
        : html`<span class="state bad" title=${node.error}>no answer</span>`}</td>
      <td class="n">${whole(node.groups_led)}</td><td class="n">${whole(node.replicas)}</td>
      <td class="n">${whole(node.keys)}</td>
      <td class="n">${bytes(node.memory_bytes)}${node.memory_bytes !== null && node.memory_limit_bytes > 0 && html`<small>
        of ${bytes(node.memory_limit_bytes)}</small>`}</td>
      <td class="n">${bytes(node.disk_bytes)}</td><td class="n">${span(node.uptime_seconds)}</td>
      <td class="mono">${node.version ?? '–'}</td></tr>`)}
      ${cluster.routers.map((/** @type {any} */ router) => html`<tr key=${router.address}>
        <td>router</td><td class="mono">${router.address}</td>
        <td colspan="8"><span class="quiet-note">keeps no data</span></td></tr>`)}
    </tbody></table></div>`;
}

/** @param {{ cluster: any }} props */
function Groups({ cluster }) {
  return html`<div class="scroll"><table>
    <thead><tr><th>Group</th><th class="n">Slots</th><th>Leader</th><th class="n">Term</th>
      <th>Replicas: node, lag</th><th class="n">Log</th><th class="n">Keys</th><th class="n">Memory</th></tr></thead>
    <tbody>${cluster.groups.map((/** @type {any} */ group, /** @type {number} */ at) => html`<tr key=${group.id}>
      <td><${Swatch} at=${at} down=${group.leader === null} /> ${group.id}</td>
      <td class="n">${whole(slotsOf(group))}</td>
      <td>${group.leader === null
        ? html`<span class="state bad">no leader</span>` : `node ${group.leader}`}</td>
      <td class="n">${whole(group.term)}</td>
      <td><div class="replicas">${group.replicas.map((/** @type {any} */ replica) => html`<${Replica}
        key=${replica.node} replica=${replica} />`)}</div></td>
      <td class="n" title="last index; committed ${group.committed_index}, applied ${group.applied_index}">
        ${whole(group.last_index)}</td>
      <td class="n">${whole(group.keys)}</td><td class="n">${bytes(group.memory_bytes)}</td></tr>`)}</tbody></table></div>`;
}

/** @param {{ replica: any }} props */
function Replica({ replica }) {
  const lag = replica.lag_entries;
  const tone = !replica.alive ? 'bad' : replica.state === 'leader' ? 'lead' : lag > 1000 ? 'warn' : '';
  const text = !replica.alive ? 'no answer' : replica.state === 'leader' ? 'leads'
    : replica.state === 'learner' ? `learns, ${whole(lag)}` : whole(lag);
  return html`<span class="replica ${tone}" title="node ${replica.node}: ${replica.state}, applied
    ${whole(replica.applied_index)}"><b>${replica.node}</b>${text}</span>`;
}
