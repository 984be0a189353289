// The agent: its pages, with the token where it wants one, and its stream of snapshots.

const KEY = 'aqueduct-admin-token';
const SILENCE = 10000; // ms without a snapshot: the connection is taken for lost

export class Refused extends Error {}

// Some browsers keep nothing for a page; then the token lasts as long as the page.
let token = null;
try {
  token = sessionStorage.getItem(KEY);
} catch {}

export function useToken(text) {
  token = text;
  try {
    if (text) sessionStorage.setItem(KEY, text);
    else sessionStorage.removeItem(KEY);
  } catch {}
}

export const hasToken = () => Boolean(token);

async function open(path, signal, action) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  // No page of another site may send it.
  if (action) headers['X-Aqueduct'] = action;
  const method = action ? 'POST' : 'GET';
  const answer = await fetch(path, { method, headers, signal, cache: 'no-store', credentials: 'omit' });
  if (answer.status === 401) throw new Refused('The agent requires its token');
  if (action && answer.status === 409) {
    const { error, problems } = await answer.json();
    throw new Error(error ?? problems.join('; '));
  }
  if (!answer.ok) throw new Error(`${path} returned ${answer.status}: ${(await answer.text()).trim()}`);
  return answer;
}

export const ask = async (path) => (await open(path)).json();

// Changes the agent: stops, starts, drains.
export const change = async (action, query) => (await open(`${action}?${query}`, undefined, action)).json();

// Hands the messages that have come to `each`, until the stream ends, which is an error too, or
// `stop` is aborted. EventSource could not send the token.
export async function stream(path, each, stop = new AbortController()) {
  let timer = setTimeout(() => stop.abort(), SILENCE);
  try {
    const answer = await open(path, stop.signal);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error('the stream has ended');
      text += value;
      const events = text.split('\n\n');
      text = events.pop();
      if (!events.length) continue;
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), SILENCE);
      each(events.map((event) => event.slice('data: '.length)));
    }
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}

// Hands each snapshot to `each`; of several that have come, the last one.
export const follow = (each) => stream('status/events', (messages) => each(JSON.parse(messages.pop())));
