// What an operator changes: parts stop and start, the agent drains; each after a question that says
// what will happen.

import { change } from './agent.js';
import { audit, letters } from './details.js';
import { byId, el, plain, show } from './dom.js';
import { many, seconds } from './units.js';

const STAYS = 'It stays stopped, also over reloads and restarts, until you start it again.';
const WORDS = {
  'stop source': ['Stop', (name) => `Source ${name} stops accepting events: it refuses its senders and stops reading its files. Acknowledged events are still delivered. ${STAYS}`],
  'stop group': ['Stop', (name) => `Group ${name} stops delivering. Its channel keeps its events and fills up; when it is full, the sources wait. ${STAYS}`],
  'start source': ['Start', (name) => `Source ${name} accepts events again, from its position.`],
  'start group': ['Start', (name) => `Group ${name} delivers again, starting with the events in its channel.`],
  'drain agent': ['Drain', () => 'All sources stop, and the groups deliver until the channels are empty. The sources stay stopped until you start them again.'],
  'start all': ['Start all', () => 'All stopped parts start again.'],
  'dlq/replay letters': ['Put back', (reason) => `The events of all dead letters with the reason ${reason} go back into their channels, for the groups that refused them. First fix the cause of the refusal.`],
  'dlq/drop letters': ['Drop', (reason) => `The events of all dead letters with the reason ${reason} are deleted. They are lost.`],
};

let asked = null;

const labelled = (action, role, name, query) => el('button', {
  type: 'button',
  'data-action': action,
  'data-role': role,
  'data-name': name,
  'data-query': query,
  'aria-label': `${WORDS[`${action} ${role}`][0]} ${role} ${name}`,
  'aria-haspopup': 'dialog',
}, WORDS[`${action} ${role}`][0]);

// What stops or starts a part.
export function button(role, { name, state }) {
  const action = state.name === 'held' ? 'start' : 'stop';
  return labelled(action, role, name, `${role}=${encodeURIComponent(name)}`);
}

const DRAINS = {
  draining: (it) => `The agent drains: ${many(it.left_events, 'event')} left`,
  drained: () => 'The channels are empty; the sources stay stopped',
  timed_out: (it) => `Not drained in time: ${many(it.left_events, 'event')} left`,
  ended: () => 'The drain was ended',
};

// What is stopped, and how the last drain does.
export function operation({ held, drain }) {
  const lines = held.map((it) => el('li', {}, `${it.part} has been stopped for ${seconds(it.since_seconds_ago)}, by ${it.by}`));
  const state = drain && `${DRAINS[drain.state](drain)}${drain.why ? `: ${drain.why}` : ''}`;
  byId('start-all').disabled = !held.length;
  show(byId('held'), lines.length ? el('ul', {}, lines) : el('p', { class: 'none' }, 'Nothing is stopped'),
    state ? el('p', {}, state) : null);
}

function question({ action, role, name, query }) {
  const [word, will] = WORDS[`${action} ${role}`];
  asked = { action, query, word };
  byId('confirm-title').textContent = plain(`${word} ${name ? `${role} ${name}` : ''}?`.replace(' ?', '?'));
  byId('confirm-text').textContent = plain(will(name));
  byId('confirm-problem').textContent = '';
  byId('confirm-yes').textContent = word;
  byId('confirm-yes').disabled = false;
  byId('confirm').showModal();
  byId('confirm-no').focus();
}

const outcome = (done) => {
  if (done.changed) return done.changed.join(', ') || 'nothing has changed';
  return `${many(done.letters, 'letter')} with ${many(done.events, 'event')}`;
};

async function act() {
  byId('confirm-yes').disabled = true;
  try {
    const done = await change(asked.action, asked.query);
    byId('operated').textContent = plain(`${asked.word}: ${outcome(done)}`);
    byId('confirm').close();
    if (asked.action.startsWith('dlq/')) letters().catch(() => {});
  } catch (error) {
    byId('confirm-problem').textContent = plain(error.message);
    byId('confirm-yes').disabled = false;
  }
  audit().catch(() => {});
}

document.addEventListener('click', (event) => {
  const pressed = event.target.closest('button[data-action]');
  if (pressed) question(pressed.dataset);
});
byId('confirm-yes').addEventListener('click', act);
byId('confirm-no').addEventListener('click', () => byId('confirm').close());
