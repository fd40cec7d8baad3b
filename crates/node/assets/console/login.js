// The form that is shown when the server asks for a user.
import { call } from './lib/api.js';
import { Failure } from './lib/parts.js';
import { html, useState } from './lib/preact.js';

/** @param {{ entered: () => void, cancel: (() => void) | null }} props */
export function Login({ entered, cancel }) {
  const [state, setState] = useState(/** @type {{ busy: boolean, error: any }} */ ({ busy: false, error: null }));
  const submit = async (/** @type {any} */ event) => {
    event.preventDefault();
    const fields = new FormData(event.target);
    setState({ busy: true, error: null });
    try {
      await call('login', { body: { user: fields.get('user'), password: fields.get('password') } });
      entered();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<form class="panel login" onSubmit=${submit}>
    <h2>Log in</h2>
    <p>With a user of this cluster, as for <code>AUTH</code>. You see what that user may read.</p>
    <label>User<input name="user" required autocomplete="username" value="default" /></label>
    <label>Password<input name="password" type="password" autocomplete="current-password" /></label>
    ${state.error && html`<${Failure} error=${state.error} />`}
    <button type="submit" class="primary" disabled=${state.busy}>
      ${state.busy ? 'Logging in …' : 'Log in'}</button>
    ${cancel && html`<button type="button" class="quiet" onClick=${cancel}>Cancel</button>`}
  </form>`;
}
