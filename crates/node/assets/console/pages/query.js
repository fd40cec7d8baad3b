// Page 3: count any expression over keys, without temporary keys.
import { ApiError, reply, run } from '../lib/api.js';
import { families, family, plainKeys, plusDays } from '../lib/dates.js';
import { faultAt, operand, operands } from '../lib/expression.js';
import { latency, percent, whole } from '../lib/format.js';
import { Bar, CopyAs, Failure, Loaded, Panel } from '../lib/parts.js';
import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { useResource } from '../lib/resource.js';

/** Operands whose shares are counted. */
const SHARES_MAX = 12;
const SAMPLE = 20;
const HISTORY_MAX = 8;

/** @param {{ query: URLSearchParams }} props */
export function QueryPage({ query }) {
  const expression = query.get('q') ?? '';
  const universe = query.get('universe') ?? '';
  const [turn, setTurn] = useState(0);
  return html`<${Ask} expression=${expression} universe=${universe} again=${() => setTurn(turn + 1)} />
    ${expression && html`<${Answer} key=${`${turn} ${expression} ${universe}`} expression=${expression}
      universe=${universe} />`}`;
}

/** @param {string} expression @param {string} universe */
function address(expression, universe) {
  const within = universe ? `&universe=${encodeURIComponent(universe)}` : '';
  return `#/query?q=${encodeURIComponent(expression)}${within}`;
}

/** @param {{ expression: string, universe: string, again: () => void }} props */
function Ask({ expression, universe, again }) {
  const form = useRef(/** @type {any} */ (null));
  const [text, setText] = useState(expression);
  useEffect(() => setText(expression), [expression]);
  const submit = (/** @type {any} */ event) => {
    event?.preventDefault();
    const wanted = text.trim();
    if (!wanted) return;
    remember(wanted);
    const next = address(wanted, form.current.elements.universe.value.trim());
    if (location.hash === next) again();
    else location.hash = next;
  };
  const keys = (/** @type {any} */ event) => {
    if (event.key === 'Enter' && !event.shiftKey) submit(event);
  };
  return html`<${Panel} className="query" title="Expression"
    note="& and · | or · ^ one of · - without · ~ not · ( ) · {from..to} any of these dates">
    <form ref=${form} onSubmit=${submit}>
      <textarea name="expression" aria-label="Expression" spellcheck="false" autocapitalize="off"
        placeholder="(dau:{2026-11-15..2026-11-21} & premium) - churned" value=${text}
        onInput=${(/** @type {any} */ event) => setText(event.target.value)} onKeyDown=${keys}></textarea>
      <div class="under">
        <button type="submit" class="primary">Count</button>
        <label class="field">Universe of ~ <input name="universe" value=${universe} spellcheck="false"
          placeholder="a key, if needed" /></label>
        <span class="quiet-note">Enter counts</span>
      </div>
    </form>
    <${Examples} choose=${setText} />
  <//>`;
}

/** Examples made of the keys that are there. @param {{ choose: (text: string) => void }} props */
function Examples({ choose }) {
  const made = useResource(examples, ['examples']);
  const past = recall();
  const all = [...new Set([...past, ...(made.data ?? [])])].slice(0, HISTORY_MAX);
  return html`<div class="examples" aria-label="Examples and past queries">
    ${all.map((text) => html`<button type="button" key=${text} title=${text}
      onClick=${() => choose(text)}>${text}</button>`)}</div>`;
}

/** @param {AbortSignal} signal @returns {Promise<string[]>} */
async function examples(signal) {
  const [named, plain] = await Promise.all([families(signal), plainKeys(signal)]);
  const [first, second] = plain.map(operand);
  const found = [];
  if (named[0]) {
    const { dates } = await family(named[0], signal);
    const last = dates.d.at(-1);
    if (last) {
      const week = `${named[0]}:{${plusDays(last, -6)}..${last}}`;
      found.push(week, `${named[0]}:${plusDays(last, -1)} & ${named[0]}:${last}`);
      if (first) found.push(`${week} & ${first}`);
      if (second) found.push(`(${week} & ${first}) - ${second}`);
    }
  } else if (second) {
    found.push(`${first} & ${second}`, `${first} - ${second}`);
  }
  return found;
}

const STORED = 'bitroster-queries';

/** @returns {string[]} */
function recall() {
  try {
    return JSON.parse(localStorage.getItem(STORED) ?? '[]');
  } catch {
    return [];
  }
}

/** @param {string} text */
function remember(text) {
  const next = [text, ...recall().filter((old) => old !== text)].slice(0, HISTORY_MAX / 2);
  try {
    localStorage.setItem(STORED, JSON.stringify(next));
  } catch {
    // The examples then show no past queries.
  }
}

/** @param {{ expression: string, universe: string }} props */
function Answer({ expression, universe }) {
  const within = universe ? ['UNIVERSE', universe] : [];
  const args = ['BM.QUERY', 'COUNT', expression, ...within];
  const count = useResource((signal) => run(args, signal), args);
  if (count.error && !count.data) {
    return html`<section class="panel"><${Fault} error=${count.error} expression=${expression} />
      <${Failure} error=${count.error} retry=${count.retry} busy=${count.loading} /></section>`;
  }
  return html`<${Panel} title="Answer" resource=${count} command=${args}>
      ${(/** @type {any} */ { reply: bits, seconds }) => html`<div class="answer">
        <output aria-label="Count">${whole(bits)}</output>
        <span class="quiet-note">bits set · answered in ${latency(seconds)} · no temporary key</span></div>
        <${Shares} expression=${expression} within=${within} total=${Number(bits)} />`}
    <//>
    ${count.data && html`<${Sample} expression=${expression} within=${within} />`}`;
}

/** Shows where in the expression the server stopped. @param {{ error: any, expression: string }} props */
function Fault({ error, expression }) {
  const at = error instanceof ApiError ? faultAt(error.message) : null;
  if (at === null) return null;
  // The server counts bytes.
  const before = new TextDecoder().decode(new TextEncoder().encode(expression).slice(0, at));
  return html`<div class="caret">${`${expression}\n${' '.repeat(before.length)}`}<b>▲</b></div>`;
}

/** @param {{ expression: string, within: string[], total: number }} props */
function Shares({ expression, within, total }) {
  const named = operands(expression).slice(0, SHARES_MAX);
  const shares = useResource(async (signal) => {
    const counted = await Promise.all(named.flatMap((name) => [
      reply(['BM.QUERY', 'COUNT', name], signal),
      reply(['BM.QUERY', 'COUNT', `(${name}) & (${expression})`, ...within], signal),
    ]));
    return named.map((name, at) => ({ name, all: Number(counted[2 * at]), kept: Number(counted[2 * at + 1]) }));
  }, ['shares', expression, ...within, total]);
  if (named.length < 2) return null;
  return html`<h3>Operands, and how much of each is in the answer</h3>
    <${Loaded} resource=${shares}>${(/** @type {any[]} */ rows) => {
      const most = Math.max(1, ...rows.map((row) => row.all));
      return html`<div class="operands">${rows.map((row) => html`
        <code title=${row.name}>${row.name}</code>
        <${Bar} share=${row.all / most} inner=${row.all ? row.kept / row.all : 0}
          label="${row.name}: ${whole(row.kept)} of ${whole(row.all)} in the answer" />
        <span>${whole(row.kept)} of ${whole(row.all)}
          <small> ${row.all ? percent(row.kept / row.all) : '–'}</small></span>`)}</div>`;
    }}<//>`;
}

/** @param {{ expression: string, within: string[] }} props */
function Sample({ expression, within }) {
  const args = ['BM.QUERY', 'SAMPLE', expression, ...within, 'LIMIT', SAMPLE];
  const sample = useResource((signal) => reply(args, signal), args);
  const store = ['BM.QUERY', 'STORE', 'my-segment', expression, ...within];
  return html`<${Panel} title="Sample" note="ids spread evenly over the answer" command=${args} resource=${sample}
    actions=${html`<${CopyAs} args=${store} label="Store as …" />`}>
    ${(/** @type {any[]} */ ids) => ids.length === 0
      ? html`<p class="quiet-note">Nothing is in the answer.</p>`
      : html`<ul class="ids">${ids.map((id) => html`<li key=${id}>${id}</li>`)}</ul>`}
  <//>`;
}
