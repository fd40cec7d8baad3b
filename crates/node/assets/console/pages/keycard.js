// One key: what it is, what it takes, and where its bits are.
import { ApiError, reply } from '../lib/api.js';
import { show } from '../lib/bytes.js';
import { against, bytes, many, percent, span, whole } from '../lib/format.js';
import { CopyAs, Failure, Figure, Panel, Stack } from '../lib/parts.js';
import { html, useState } from '../lib/preact.js';
import { useResource } from '../lib/resource.js';
import { Density } from './density.js';

/** @typedef {import('../lib/bytes.js').Bytes} Bytes */

/** @param {{ name: Bytes, theme: string, cluster: any }} props */
export function KeyCard({ name, theme, cluster }) {
  const card = useResource((signal) => load(name, signal), ['card', name]);
  return html`<div>
    <${Panel} className="key-card" resource=${card}>
      ${(/** @type {any} */ data) => html`
        <div class="key-name"><code>${show(name)}</code>
          ${data.info && html`<span class="pill">${data.ttl >= 0
            ? `expires in ${span(data.ttl)}` : 'does not expire'}</span>`}
          <span class="pill">slot ${whole(data.slot)}</span>
          ${data.info && html`<span class="pill">${owners(data.info.owners, cluster.data)}</span>`}
          <div class="actions"><button type="button" class="quiet" onClick=${card.retry}>Refresh</button>
            <${CopyAs} args=${['BM.INFO', name]} /></div></div>
        ${data.info ? html`<${Facts} data=${data} />` : html`<p class="quiet-note">There is no such key
          now: it was never set, was deleted, or has expired.</p>`}`}
    <//>
    ${card.data?.info && html`<${Density} name=${name} theme=${theme} last=${card.data.last} />
      <${Finder} name=${name} />`}
  </div>`;
}

/**
 * @param {Bytes} name
 * @param {AbortSignal} signal
 */
async function load(name, signal) {
  const [info, ttl, slot, first, last] = await Promise.all([
    reply(['BM.INFO', name], signal),
    reply(['TTL', name], signal),
    reply(['CLUSTER', 'KEYSLOT', name], signal).catch(refused),
    reply(['BM.MIN', name], signal),
    reply(['BM.MAX', name], signal),
  ]);
  return { info, ttl, slot, first: Number(first), last: Number(last) };
}

/** Nothing where the server does not permit it. @param {any} error */
function refused(error) {
  if (error instanceof ApiError && error.status === 403) return null;
  throw error;
}

/** @param {number[]} groups @param {any} cluster */
function owners(groups, cluster) {
  if (groups.length === 1) return `group ${groups[0]}`;
  if (cluster?.groups?.length === groups.length) return `all ${groups.length} groups`;
  return groups.length <= 4 ? `groups ${groups.join(', ')}` : `${groups.length} groups`;
}

/** @param {{ data: any }} props */
function Facts({ data }) {
  const { info, first, last } = data;
  const count = Number(info.cardinality);
  const containers = ['arrays', 'dense', 'runs', 'full', 'flat'].map((kind, at) => ({
    name: kind === 'flat' ? 'inline' : kind,
    value: info[kind],
    tone: ['array', 'dense', 'run', 'full', 'other'][at],
  }));
  return html`<dl class="figures four card-figures">
      <${Figure} label="Bits set" value=${whole(count)}
        detail=${last >= 0 ? `${percent(count / (last + 1))} of its range` : 'none'} />
      <${Figure} label="First set" value=${first >= 0 ? whole(first) : '–'} />
      <${Figure} label="Last set" value=${last >= 0 ? whole(last) : '–'}
        detail=${`${bytes(Number(info['length-bytes']))} long`} />
      <${Figure} label="Memory" value=${bytes(info['memory-bytes'])}
        title=${`${against(info['redis-bytes'], info['memory-bytes'])} than plain Redis`}
        detail=${`plain Redis: ${bytes(Number(info['redis-bytes']))}`} />
    </dl>
    <h3>Containers of 65,536 bits in ${many(info.segments, 'segment')}</h3>
    <${Stack} parts=${containers} format=${whole} />`;
}

/** Is a bit set? @param {{ name: Bytes }} props */
function Finder({ name }) {
  const [state, setState] = useState(/** @type {any} */ ({}));
  const ask = async (/** @type {any} */ event) => {
    event.preventDefault();
    const offset = String(new FormData(event.target).get('offset')).trim();
    if (!offset) return;
    try {
      const bit = await reply(['GETBIT', name, offset]);
      setState({ offset, bit });
    } catch (error) {
      setState({ offset, error });
    }
  };
  const { offset, bit, error } = state;
  return html`<${Panel} title="Is a bit set?" command=${offset ? ['GETBIT', name, offset] : null}>
    <form class="range-bar" onSubmit=${ask}>
      <input name="offset" inputmode="numeric" placeholder="Offset, such as 4711" aria-label="Offset" />
      <button type="submit">Look</button>
      <span role="status">${bit !== undefined && html`Bit ${whole(offset)} is
        ${' '}<strong>${bit ? 'set' : 'not set'}</strong>.`}</span>
    </form>
    ${error && html`<${Failure} error=${error} />`}
  <//>`;
}
