// Page 4: daily, weekly and monthly active users of a family of dated keys, and who came back.
import { reply } from '../lib/api.js';
import { Chart } from '../lib/chart.js';
import { count, daysBetween, families, family, plusDays, toSeconds } from '../lib/dates.js';
import { operand } from '../lib/expression.js';
import { percent, short, whole } from '../lib/format.js';
import { Figure, Loaded, Panel } from '../lib/parts.js';
import { html, useMemo } from '../lib/preact.js';
import { useResource } from '../lib/resource.js';
import { Retention } from './retention.js';

/** Days of a week and of what is called a month here. */
const WEEK = 7;
const MONTH = 28;

/** @param {{ query: URLSearchParams, theme: string }} props */
export function ActivityPage({ query, theme }) {
  const found = useResource(families, ['families']);
  const name = query.get('family') ?? found.data?.[0] ?? '';
  const days = Number(query.get('days') ?? 30);
  const segment = query.get('segment') ?? '';
  if (found.data?.length === 0 && !query.get('family')) return html`<${NoFamily} />`;
  if (!name) return html`<${Panel} resource=${found}>${() => null}<//>`;
  return html`<${Choice} names=${found.data ?? []} name=${name} days=${days} segment=${segment} />
    <${Family} key=${name} name=${name} days=${days} segment=${segment} theme=${theme}
      names=${found.data ?? []} />`;
}

/** What to do when no key has a date in its name. */
function NoFamily() {
  return html`<section class="panel empty">
    <h2>No keys with dates yet</h2>
    <p>This page reads one key for each day, such as dau:2026-11-21. This sets a user's bit in today's:</p>
    <pre><code>redis-cli BM.MARK dau 4711</code></pre>
    <p>Or look at 90 days of a made-up product with 100,000 users:</p>
    <pre><code>bitroster dev --demo</code></pre>
  </section>`;
}

/** @param {{ names: string[], name: string, days: number, segment: string }} props */
function Choice({ names, name, days, segment }) {
  const submit = (/** @type {any} */ event) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const query = new URLSearchParams();
    query.set('family', String(fields.get('family')).replace(/:$/, ''));
    query.set('days', String(fields.get('days')));
    const wanted = String(fields.get('segment')).trim();
    if (wanted) query.set('segment', wanted);
    location.hash = `#/retention?${query}`;
  };
  const chosen = (/** @type {any} */ event) => event.target.form.requestSubmit();
  return html`<form class="toolbar" onSubmit=${submit} key=${`${name} ${days} ${segment}`}>
    <label class="field">Keys <input name="family" value=${name} list="families" spellcheck="false"
      onChange=${chosen} /><code>:date</code></label>
    <datalist id="families">${names.map((one) => html`<option key=${one} value=${one} />`)}</datalist>
    <label class="field">Last <select name="days" value=${String(days)} onChange=${chosen}>
      ${[14, 30, 60, 90].map((value) => html`<option key=${value} value=${value}
        selected=${value === days}>${value} days</option>`)}</select></label>
    <label class="field">Only users in <input name="segment" value=${segment} spellcheck="false"
      placeholder="everybody" onChange=${chosen} aria-label="Segment: an expression over keys" /></label>
  </form>`;
}

/** @param {{ name: string, days: number, segment: string, theme: string, names: string[] }} props */
function Family({ name, days, segment, theme, names }) {
  const dates = useResource((signal) => family(name, signal), ['family', name]);
  return html`<${Loaded} resource=${dates}>${(/** @type {any} */ found) => {
    const all = found.dates.d;
    if (Object.values(found.dates).every((/** @type {string[]} */ dated) => dated.length === 0)) {
      return html`<section class="panel empty"><h2>No dated keys below ${name}:</h2>
        <p>The page reads <code>${name}:2026-11-21</code>, <code>${name}:2026-W47</code> and
          ${' '}<code>${name}:2026-11</code>.</p></section>`;
    }
    return html`${all.length > 0 && html`<${Active} name=${name} all=${all} days=${days}
        segment=${segment} theme=${theme} />`}
      <${Retention} name=${name} dates=${found.dates} segment=${segment} names=${names} />`;
  }}<//>`;
}

/**
 * Users of each day, of the 7 days and of the 28 days up to it; nothing where keys of the window
 * are from before the first.
 * @param {string} name @param {string[]} shown @param {string} first @param {string} segment
 * @param {AbortSignal} signal
 */
async function load(name, shown, first, segment, signal) {
  const [from, to] = [shown[0], shown[shown.length - 1]];
  const windows = (/** @type {number} */ width) => Promise.all(shown.map((day) => {
    const start = plusDays(day, 1 - width);
    if (start < first) return null;
    return segment
      ? count(`${operand(name)}:{${start}..${day}} & (${segment})`, signal)
      : reply(['BM.WINDOW', name, 'FROM', start, 'TO', day], signal);
  }));
  const daily = segment
    ? Promise.all(shown.map((day) => count(`${operand(`${name}:${day}`)} & (${segment})`, signal)))
    : reply(['BM.RETENTION', name, 'FROM', from, 'TO', to, 'HORIZON', 1], signal)
      .then((rows) => rows.map((/** @type {any[]} */ row) => row[1]));
  const [d, w, m] = await Promise.all([daily, windows(WEEK), windows(MONTH)]);
  return { daily: d, weekly: w, monthly: m };
}

/** @param {{ name: string, all: string[], days: number, segment: string, theme: string }} props */
function Active({ name, all, days, segment, theme }) {
  const last = all[all.length - 1];
  const first = all[0];
  const from = plusDays(last, 1 - days) < first ? first : plusDays(last, 1 - days);
  const shown = useMemo(() => daysBetween(from, last), [from, last]);
  const lines = useResource((signal) => load(name, shown, first, segment, signal),
    ['active', name, from, last, segment]);
  const command = ['BM.WINDOW', name, 'FROM', plusDays(last, 1 - MONTH), 'TO', last];
  return html`<${Panel} className="bare" resource=${lines}>${(/** @type {any} */ data) => html`
      <${Newest} data=${data} last=${last} />`}<//>
    <div class="columns">
      <${Panel} title="Active users" note=${segment ? `of ${segment}` : 'by day, UTC'} command=${command}
        resource=${lines}>${(/** @type {any} */ data) => html`<${Lines} data=${data} shown=${shown}
          theme=${theme} />`}<//>
      <${Panel} title="Stickiness" note="how many of the month's users come on a day" resource=${lines}>
        ${(/** @type {any} */ data) => html`<${Stickiness} data=${data} shown=${shown} theme=${theme} />`}<//>
    </div>`;
}

/** @param {{ data: any, last: string }} props */
function Newest({ data, last }) {
  const day = data.daily.at(-1);
  const before = data.daily.at(-8);
  const week = data.weekly.at(-1);
  const month = data.monthly.at(-1);
  const today = last === new Date().toISOString().slice(0, 10);
  const change = before ? (day - before) / before : null;
  return html`<dl class="figures four">
    <${Figure} label=${today ? 'Today so far' : last} value=${whole(day)}
      detail=${change === null ? '' : `${change < 0 ? '−' : '+'}${percent(Math.abs(change))} on a week before`} />
    <${Figure} label="Last 7 days" value=${whole(week)} detail="different users" />
    <${Figure} label="Last 28 days" value=${whole(month)} detail="different users" />
    <${Figure} label="Stickiness" value=${month ? percent(day / month) : '–'} detail="day by 28 days" />
  </dl>`;
}

/** @param {{ data: any, shown: string[], theme: string }} props */
function Lines({ data, shown, theme }) {
  const times = useMemo(() => shown.map(toSeconds), [shown]);
  const lines = useMemo(() => [
    { name: 'day', values: data.daily },
    { name: '7 days', values: data.weekly },
    { name: '28 days', values: data.monthly },
  ], [data]);
  return html`<${Chart} times=${times} lines=${lines} format=${short} days=${true} theme=${theme}
    label="Active users by day, 7 days and 28 days" />`;
}

/** @param {{ data: any, shown: string[], theme: string }} props */
function Stickiness({ data, shown, theme }) {
  const times = useMemo(() => shown.map(toSeconds), [shown]);
  const lines = useMemo(() => {
    const by = (/** @type {(number | null)[]} */ all) =>
      data.daily.map((/** @type {number} */ day, /** @type {number} */ at) => (all[at] ? day / Number(all[at]) : null));
    return [{ name: 'day by 7 days', values: by(data.weekly) }, { name: 'day by 28 days', values: by(data.monthly) }];
  }, [data]);
  return html`<${Chart} times=${times} lines=${lines} format=${percent} days=${true} theme=${theme}
    label="Stickiness by day" />`;
}
