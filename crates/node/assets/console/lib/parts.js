// What every page is made of: panels, figures, notes, copies of commands, a tooltip.
import { explain } from './api.js';
import { forPython, forShell } from './bytes.js';
import { html, useEffect, useErrorBoundary, useRef, useState } from './preact.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {(Bytes | number)[]} Args */

/** Seconds after which a panel says that it still waits. */
const SLOW_S = 2;

/**
 * A titled part of a page with its own loading, failure and retry. `children` is called with the
 * data once there is some; what was loaded before stays on the screen while it is loaded again.
 * @param {{ title?: string, note?: any, actions?: any, command?: Args | null, resource?: any,
 *   className?: string, id?: string, children: any }} props
 */
export function Panel({ title, note, actions, command, resource, className, id, children }) {
  const body = resource ? html`<${Loaded} resource=${resource}>${children}<//>` : children;
  return html`<section class="panel ${className ?? ''}" id=${id} aria-label=${title}
    aria-busy=${resource ? resource.loading && resource.data === undefined : undefined}>
    ${title && html`<header>
      <h2>${title}</h2>
      ${note && html`<span class="note">${note}</span>`}
      <div class="actions">${actions}${command && html`<${CopyAs} args=${command} />`}</div>
    </header>`}
    <${Guarded}>${body}<//>
  </section>`;
}

/** Keeps a fault of one part from taking the page down. @param {{ children: any }} props */
function Guarded({ children }) {
  const [error, again] = useErrorBoundary((fault) => console.error(fault));
  if (!error) return children;
  return html`<${Failure} error=${error} retry=${again} what="This part of the page failed" />`;
}

/** @param {{ resource: any, children: any }} props */
export function Loaded({ resource, children }) {
  const { data, error, loading, retry } = resource;
  if (data === undefined) {
    return error
      ? html`<${Failure} error=${error} retry=${retry} busy=${loading} />`
      : html`<${Waiting} since=${resource.since} />`;
  }
  return html`${error && html`<${Failure} error=${error} retry=${retry} busy=${loading}
      what="Could not refresh; what you see is older" />`}
    ${typeof children === 'function' ? children(data) : children}`;
}

/** @param {{ since: number }} props */
function Waiting({ since }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.floor((now - since) / 1000);
  return html`<div class="waiting" role="status">
    <span class="bar" aria-hidden="true"></span>
    <span>${seconds >= SLOW_S ? `Still waiting for an answer, ${seconds} s …` : 'Loading …'}</span>
  </div>`;
}

/** @param {{ error: any, retry?: () => void, busy?: boolean, what?: string }} props */
export function Failure({ error, retry, busy, what }) {
  return html`<div class="failure" role="alert">
    <span class="mark" aria-hidden="true">!</span>
    <div>${what && html`<strong>${what}.</strong> `}${explain(error)}</div>
    ${retry && html`<button type="button" onClick=${retry} disabled=${busy}>
      ${busy ? 'Trying …' : 'Try again'}</button>`}
  </div>`;
}

/**
 * A labelled figure.
 * @param {{ label: string, value: any, detail?: any, tone?: string, title?: string }} props
 */
export function Figure({ label, value, detail, tone, title }) {
  return html`<div class="figure ${tone ?? ''}" title=${title}>
    <dt>${label}</dt>
    <dd>${value}${detail !== undefined && html`<small>${detail}</small>`}</dd>
  </div>`;
}

/** A command as other clients would send it. @param {{ args: Args, label?: string }} props */
export function CopyAs({ args, label }) {
  const [open, setOpen] = useState(false);
  const place = useRef(/** @type {any} */ (null));
  useEffect(() => {
    if (!open) return undefined;
    const away = (/** @type {any} */ event) => {
      if (event.key === 'Escape') {
        setOpen(false);
        place.current?.querySelector('button')?.focus();
      } else if (event.type === 'pointerdown' && !place.current?.contains(event.target)) {
        setOpen(false);
      }
    };
    document.addEventListener('pointerdown', away);
    document.addEventListener('keydown', away);
    return () => {
      document.removeEventListener('pointerdown', away);
      document.removeEventListener('keydown', away);
    };
  }, [open]);
  return html`<div class="copy-as" ref=${place}>
    <button type="button" class="quiet" aria-expanded=${open} aria-haspopup="dialog"
      onClick=${() => setOpen(!open)}>${label ?? 'Copy as …'}</button>
    ${open && html`<div class="popover" role="dialog" aria-label="The command behind this">
      ${forms(args).map(([name, text]) => html`<${CopyLine} key=${name} name=${name} text=${text} />`)}
    </div>`}
  </div>`;
}

/** @param {Args} args @returns {[string, string][]} */
export function forms(args) {
  const bytes = args.map((arg) => (typeof arg === 'number' ? String(arg) : arg));
  const address = new URL('../api/v1/command', location.href).href;
  const body = JSON.stringify({ args: bytes });
  return [
    ['redis-cli', `redis-cli ${bytes.map(forShell).join(' ')}`],
    ['Python', `redis.Redis().execute_command(${bytes.map(forPython).join(', ')})`],
    ['curl', `curl -s ${forShell(address)} -H 'Content-Type: application/json' -d ${forShell(body)}`],
  ];
}

/** @param {{ name: string, text: string }} props */
function CopyLine({ name, text }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    setCopied(await toClipboard(text));
    setTimeout(() => setCopied(false), 1500);
  };
  return html`<div class="copy-line">
    <span>${name}</span><code tabindex="0">${text}</code>
    <button type="button" onClick=${copy} aria-label="Copy for ${name}">
      ${copied ? 'Copied' : 'Copy'}</button>
  </div>`;
}

/** @param {string} text */
async function toClipboard(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return true;
  }
  // Pages that came over plain HTTP from another machine have no clipboard.
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}

/** A file of text for the reader to keep. @param {string} name @param {string} text */
export function download(name, text) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** A share as a bar. @param {{ share: number, inner?: number, label?: string }} props */
export function Bar({ share, inner, label }) {
  const width = (/** @type {number} */ part) => ({ width: `${Math.max(0, Math.min(1, part)) * 100}%` });
  return html`<span class="bar-track" role="img" aria-label=${label}>
    <span class="bar-outer" style=${width(share)}>
      ${inner !== undefined && html`<span class="bar-inner" style=${width(inner)}></span>`}
    </span>
  </span>`;
}

/**
 * A bar of parts with a legend.
 * @param {{ parts: { name: string, value: number, tone: string }[],
 *   format: (value: number) => string }} props
 */
export function Stack({ parts, format }) {
  const total = parts.reduce((sum, part) => sum + part.value, 0);
  const shown = parts.filter((part) => part.value > 0);
  return html`<div class="stack">
    <div class="stack-bar" role="img" aria-label=${shown.map((part) => `${part.name} ${format(part.value)}`).join(', ')}>
      ${shown.map((part) => html`<span class="tone-${part.tone}"
        style=${{ flexGrow: part.value / total }} title="${part.name}: ${format(part.value)}"></span>`)}
    </div>
    <ul class="legend">${parts.map((part) => html`<li>
      <i class="tone-${part.tone}"></i>${part.name}<b>${format(part.value)}</b></li>`)}</ul>
  </div>`;
}

/** What a page says before there is any key. */
export function NoKeys() {
  return html`<section class="panel empty">
    <h2>No keys yet</h2>
    <p>Set a first bit with any Redis client:</p>
    <pre><code>redis-cli SETBIT dau:2026-11-21 4711 1</code></pre>
    <p>Or look at 90 days of a made-up product with 100,000 users:</p>
    <pre><code>bitroster dev --demo</code></pre>
  </section>`;
}
