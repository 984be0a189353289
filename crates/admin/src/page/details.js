// What is read from the agent's disk, when it is asked for: dead letters and the configuration.

import { ask } from './agent.js';
import { byId, el, show, table } from './dom.js';
import { bytes, count, many } from './units.js';

export const time = (ms) => new Date(ms).toISOString().replace('T', ' ').slice(0, 19) + ' UTC';

export function event(it) {
  const headers = it.headers.map(([name, value]) => el('div', { class: 'header' }, el('b', {}, name), `: ${value}`));
  const hidden = it.headers_total - it.headers.length;
  const kind = it.text === null ? 'hexadecimal' : 'text';
  const more = it.is_cut ? ', cut' : '';
  return el('div', { class: 'event' }, headers,
    hidden ? el('div', {}, `and ${many(hidden, 'more header')}`) : null,
    el('div', { class: 'note' }, `body, ${bytes(it.body_bytes)}, ${kind}${more}`),
    el('pre', {}, it.text ?? it.hexadecimal));
}

function letter(it) {
  const way = it.source ? `source ${it.source}, interceptor ${it.interceptor}` : `${it.channel} → ${it.group} → ${it.sink}`;
  const hidden = it.events_total - it.events.length;
  return el('article', { class: 'letter' },
    el('h3', {}, `${it.reason.replaceAll('_', ' ')}: ${many(it.events_total, 'event')}`),
    el('p', {}, `${time(it.at_ms)}, ${way}`),
    el('p', {}, it.detail),
    it.events.map(event),
    hidden ? el('p', { class: 'note' }, `and ${many(hidden, 'more event')}: aqueduct dlq show`) : null);
}

// What puts the letters of a reason back, or drops them; operate.js asks before it does.
const lettersButtons = (reason) => el('span', {}, [['dlq/replay', 'Put back'], ['dlq/drop', 'Drop']].map(([action, word]) => el('button', {
  type: 'button',
  'data-action': action,
  'data-role': 'letters',
  'data-name': reason,
  'data-query': `reason=${encodeURIComponent(reason)}`,
  'aria-label': `${word} letters ${reason}`,
  'aria-haspopup': 'dialog',
}, word)));

export async function letters() {
  const found = await ask('dead-letters?newest=20');
  const rows = Object.entries(found.by_reason).map(([reason, it]) =>
    [reason.replaceAll('_', ' '), count(it.letters), count(it.events), lettersButtons(reason)]);
  show(byId('letters'), table('By reason', ['Reason', 'Letters', 'Events', 'Actions'], rows), found.newest.map(letter));
}

const OUTCOMES = { done: 'good', unchanged: 'off', failed: 'bad', refused: 'warn' };

// What operators have changed, or wanted to.
export async function audit() {
  const lines = await ask('audit?newest=50');
  show(byId('audit'), table('The newest first', ['Time', 'Outcome', 'Action', 'By', 'More'], lines.map((it) => [
    it.at.replace('T', ' ').slice(0, 19) + ' UTC',
    el('span', { class: `state ${OUTCOMES[it.outcome] ?? 'off'}` }, it.outcome),
    it.part ? `${it.action} ${it.part}` : it.action,
    it.address ? `${it.by} at ${it.address}` : it.by,
    [it.detail, it.left_out ? `${count(it.left_out)} earlier refused calls are not listed` : null].filter(Boolean).join('; '),
  ])));
}

const WORDS = {
  none: 'The agent was started without a configuration file.',
  same: 'The file is the same as the running configuration.',
  differs: 'The file differs from the running configuration:',
  wrong: 'The file is invalid; the next start would fail:',
};

export async function configuration() {
  const { file, running, on_disk: disk } = await ask('config');
  const items = (disk.changed ?? disk.problems ?? []).map((text) => el('li', {}, text));
  const kind = { wrong: 'bad', differs: 'warn', same: 'good' }[disk.name] ?? 'off';
  show(byId('config-state'),
    el('p', {}, el('span', { class: `state ${kind}` }, disk.name), ` ${file}: ${WORDS[disk.name]}`),
    items.length ? el('ul', {}, items) : null);
  const text = byId('config');
  if (text.textContent !== running) text.textContent = running;
}
