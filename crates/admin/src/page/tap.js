// Live events: what passes at a source, a channel or a sink, as text.

import { stream } from './agent.js';
import { event, time } from './details.js';
import { byId, el, show } from './dom.js';
import { count } from './units.js';

const KEPT = 50;

let watching = null;

// What can be looked at. The choice stays while it is there.
export function places(snapshot) {
  const members = snapshot.groups.flatMap((group) => group.members.filter((it) => it.state.name !== 'absent'));
  const kinds = [['source', snapshot.sources], ['channel', snapshot.channels], ['sink', members]];
  const options = kinds.flatMap(([kind, list]) => list.map(({ name }) => {
    const option = el('option', {}, `${kind} ${name}`);
    option.value = `${kind}=${encodeURIComponent(name)}`;
    return option;
  }));
  const place = byId('tap-place');
  const before = [...place.options].map((it) => it.value).join('&');
  if (before === options.map((it) => it.value).join('&')) return;
  const chosen = place.value;
  place.replaceChildren(...options);
  if (options.some((it) => it.value === chosen)) place.value = chosen;
}

function query() {
  const conditions = [];
  const header = byId('tap-header').value;
  const pattern = byId('tap-pattern').value;
  if (header || pattern) {
    conditions.push({ ...(header && { header }), ...(pattern && { matches: pattern }) });
  }
  const where = encodeURIComponent(JSON.stringify(conditions));
  return `tap?${byId('tap-place').value}&rate=${byId('tap-rate').value}&where=${where}`;
}

function state({ passed, matched, shown, missed, gone }) {
  const parts = [`${count(passed)} passed`, `${count(matched)} match`, `${count(shown)} shown`];
  if (missed) parts.push(`${count(missed)} passed faster than they were read`);
  if (gone) parts.push(gone);
  byId('tap-state').textContent = parts.join(', ');
}

async function watch() {
  watching?.abort();
  const mine = new AbortController();
  watching = mine;
  byId('tap-end').disabled = false;
  byId('tap-state').textContent = 'Waiting for events';
  let kept = [];
  show(byId('tap'));
  try {
    await stream(query(), (messages) => {
      if (watching !== mine) return;
      for (const message of messages.map((text) => JSON.parse(text))) {
        kept = [...message.events.toReversed(), ...kept].slice(0, KEPT);
        state(message);
      }
      show(byId('tap'), kept.map((it) => el('article', { class: 'letter' },
        el('h3', {}, time(it.at_ms), it.identity ? `, batch ${it.identity}` : ''), event(it))));
    }, mine);
  } catch (error) {
    if (watching === mine) byId('tap-state').textContent += `. Ended: ${error.message}`;
  }
  if (watching === mine) byId('tap-end').disabled = true;
}

byId('tap-form').addEventListener('submit', (submitted) => {
  submitted.preventDefault();
  watch();
});

byId('tap-end').addEventListener('click', () => {
  const ended = watching;
  watching = null;
  ended?.abort();
  byId('tap-end').disabled = true;
});
