// The frame around the pages: routes, session, theme, and what is wrong with the cluster.
import { call, onLoginNeeded } from './lib/api.js';
import { theme as shownTheme } from './lib/colour.js';
import { whole } from './lib/format.js';
import { Failure } from './lib/parts.js';
import { html, render, useCallback, useEffect, useState } from './lib/preact.js';
import { reloadAll, useResource } from './lib/resource.js';
import { Login } from './login.js';
import { ActivityPage } from './pages/activity.js';
import { ClusterPage } from './pages/cluster.js';
import { KeysPage } from './pages/keys.js';
import { MemoryPage } from './pages/memory.js';
import { OperationsPage } from './pages/operations.js';
import { QueryPage } from './pages/query.js';

/** How often the cluster's state and the charts are loaded again. */
export const POLL_MS = 5000;

/** @type {Record<string, [string, any, string]>} title, page, path of its icon */
const PAGES = {
  cluster: ['Cluster', ClusterPage, 'M3 4h14v4H3zM3 12h14v4H3zM6 6h.01M6 14h.01'],
  keys: ['Keys', KeysPage, 'M3 4h4M3 10h4M3 16h4M10 4h7M10 10h7M10 16h4'],
  query: ['Query', QueryPage, 'M8 10a4.500 4.500 0 1 1 0 .01M12 10a4.500 4.500 0 1 0 0 .01'],
  retention: ['Active users', ActivityPage, 'M3 17h14M5 14V9M10 14V4M15 14v-3'],
  memory: ['Memory', MemoryPage, 'M3 3h8v14H3zM11 3h6v6h-6zM11 9h6v8h-6z'],
  operations: ['Operations', OperationsPage, 'M10 3v4M10 10l4 3M10 17a7 7 0 1 1 7-7'],
};

/** The page and the query part of the address. */
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  return { page: path in PAGES ? path : 'cluster', query: new URLSearchParams(query ?? '') };
}

function App() {
  const [{ page, query }, setRoute] = useState(route);
  const [theme, setTheme] = useState(shownTheme);
  const [locked, setLocked] = useState(false);
  const session = useResource((signal) => call('session', { signal }), ['session']);
  const user = session.data?.user ?? null;

  useEffect(() => {
    const moved = () => setRoute(route());
    addEventListener('hashchange', moved);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    const changed = () => setTheme(shownTheme());
    scheme.addEventListener('change', changed);
    const forget = onLoginNeeded(() => setLocked(true));
    return () => {
      removeEventListener('hashchange', moved);
      scheme.removeEventListener('change', changed);
      forget();
    };
  }, []);
  useEffect(() => {
    document.title = `${PAGES[page][0]} · Bitroster`;
  }, [page]);

  const entered = useCallback(() => {
    setLocked(false);
    reloadAll();
  }, []);
  const turnTheme = () => {
    const next = theme === 'dark' ? 'light' : 'dark';
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem('bitroster-theme', next);
    } catch {
      // It then holds for this page only.
    }
    setTheme(next);
  };
  const leave = async () => {
    await call('logout', { body: {} }).catch(() => {});
    reloadAll();
  };

  const needsLogin = locked || (session.data?.login_required && user === null);
  return html`<a class="skip" href="#main" onClick=${skip}>To the content</a>
    <${Sidebar} page=${page} theme=${theme} turnTheme=${turnTheme} session=${session.data}
      leave=${leave} enter=${() => setLocked(true)} />
    <main id="main" tabindex="-1">
      ${session.error && !session.data && html`<${Failure} error=${session.error}
        retry=${session.retry} busy=${session.loading} what="The router does not answer" />`}
      ${needsLogin
        ? html`<${Login} entered=${entered} cancel=${session.data && (user !== null
          ? () => setLocked(false) : null)} />`
        : session.data && html`<${Inside} page=${page} query=${query} theme=${theme}
            session=${session.data} />`}
    </main>`;
}

/** @param {any} event */
function skip(event) {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

/** @param {{ page: string, query: URLSearchParams, theme: string, session: any }} props */
function Inside({ page, query, theme, session }) {
  const cluster = useResource((signal) => call('cluster', { signal }), ['cluster'], POLL_MS);
  const [title, Page] = PAGES[page];
  return html`<h1>${title}</h1>
    <${Trouble} cluster=${cluster} />
    <${Page} key=${page} query=${query} theme=${theme} cluster=${cluster} session=${session} />`;
}

/** Says on every page what does not answer. @param {{ cluster: any }} props */
function Trouble({ cluster }) {
  const { data, error } = cluster;
  if (error && data) {
    return html`<div class="trouble" role="alert"><span class="mark" aria-hidden="true">!</span>
      <p><strong>This router does not answer now.</strong> What you see is older.</p></div>`;
  }
  const groups = (data?.groups ?? []).filter((/** @type {any} */ group) => group.leader === null);
  const nodes = (data?.nodes ?? []).filter((/** @type {any} */ node) => !node.alive);
  if (groups.length === 0 && nodes.length === 0) return null;
  const names = groups.map((/** @type {any} */ group) => group.id).join(', ');
  const lost = data.slots - data.slots_served;
  return html`<div class="trouble ${groups.length ? 'down' : ''}" role="alert">
    <span class="mark" aria-hidden="true">!</span>
    <div>
      ${groups.length > 0 && html`<p><strong>${
        groups.length === 1 ? `Group ${names} has` : `Groups ${names} have`} no leader.</strong> ${lost > 0 && `${whole(lost)} of
        ${whole(data.slots)} slots are not served: commands on their keys answer CLUSTERDOWN until a
        majority of the replicas is back. ${
        groups.length < data.groups.length ? 'The other groups serve on.' : ''}`}</p>`}
      ${nodes.map((/** @type {any} */ node) => html`<p><strong>Node ${node.id}</strong>${' '}
        (${node.address}) does not answer${node.error ? `: ${node.error}` : ''}.
        ${groups.length === 0 && ' Every group has a leader, so nothing is refused.'}</p>`)}
    </div>
  </div>`;
}

/** @param {any} props */
function Sidebar({ page, theme, turnTheme, session, leave, enter }) {
  return html`<nav class="sidebar" aria-label="Pages">
    <a class="brand" href="#/cluster"><img src="icon.svg" width="26" height="26" alt="" />Bitroster</a>
    <ul>${Object.entries(PAGES).map(([name, [title, , icon]]) => html`<li>
      <a href="#/${name}" aria-current=${name === page ? 'page' : undefined}>
        <svg viewBox="0 0 20 20" aria-hidden="true"><path d=${icon} /></svg>${title}</a></li>`)}</ul>
    <div class="foot">
      <button type="button" class="quiet" onClick=${turnTheme}
        aria-label="Switch to the ${theme === 'dark' ? 'light' : 'dark'} theme">
        ${theme === 'dark' ? '☀ Light' : '☾ Dark'}</button>
      ${session?.user && html`<span class="who" title="You are logged in as this user">${session.user}
        <button type="button" class="quiet" onClick=${session.user === 'default' ? enter : leave}>
          ${session.user === 'default' ? 'Log in as …' : 'Log out'}</button></span>`}
      ${session && html`<span class="version" title=${`commit ${session.commit}`}>
        ${session.version}${session.write ? '' : ' · read-only'}</span>`}
    </div>
  </nav>`;
}

render(html`<${App} />`, /** @type {Element} */ (document.getElementById('app')));
