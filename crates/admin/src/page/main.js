// The page: follows the agent, asks for the token where it is wanted, and shows each snapshot.

import { follow, hasToken, Refused, useToken } from './agent.js';
import { byId, el, plain, show } from './dom.js';
import { audit, configuration, letters } from './details.js';
import { graph } from './graph.js';
import { figures, forget, remember } from './history.js';
import { operation } from './operate.js';
import { bulletin, channels, conservation, lettersCount, sinks, sources } from './tables.js';
import { places } from './tap.js';
import { seconds } from './units.js';

const LEVELS = { good: '✓', warn: '!', bad: '✕', note: 'i' };
const COMPARE_EVERY = 60000; // ms
const PAUSE_MAX = 15000; // ms

const OLD_AFTER = 5000; // ms; the agent sends a snapshot each second

let uptime = 0;
let pause = 1000;
let heard = null; // when the last snapshot came
let lost = null; // why none comes

function say({ level, text }, agent) {
  const line = byId('word');
  line.className = level;
  const whole = `${LEVELS[level]} ${plain(text)}`;
  // Read aloud when it changes, and not otherwise.
  if (line.textContent !== whole) line.textContent = whole;
  document.title = plain(`${LEVELS[level]} ${agent ?? 'Aqueduct'}`);
}

const link = (address, text) => /^https?:\/\//.test(address)
  ? el('a', { href: address, target: '_blank', rel: 'noopener noreferrer' }, text)
  : null;

// A root cause comes with what to do, and with links to the run book and to the agent that has it.
function trouble(it) {
  const main = el('div', {}, `${LEVELS[it.level]} ${it.text}`);
  const help = it.caused_by || !it.remedy ? null : el('div', { class: 'help' }, `${it.remedy}: `,
    link(it.runbook, 'run book'), it.agent && it.agent.page ? ['; ', link(it.agent.page, `status of ${it.agent.address}`)] : null);
  return el('li', { class: it.level }, main, help);
}

// Says how old the data is when no more comes; the findings stay.
function showAge() {
  const age = heard === null ? 0 : Date.now() - heard;
  const isOld = heard !== null && (lost !== null || age > OLD_AFTER);
  byId('live').classList.toggle('stale', isOld);
  byId('stale').hidden = !isOld;
  if (!isOld) return;
  const why = lost === null ? '' : `: ${lost}`;
  byId('stale').textContent = plain(`The data below is ${seconds(Math.floor(age / 1000))} old. The agent does not answer${why}`);
}

function render(snapshot) {
  pause = 1000;
  heard = Date.now();
  lost = null;
  showAge();
  if (snapshot.uptime_seconds < uptime) forget();
  uptime = snapshot.uptime_seconds;
  remember(snapshot);
  say(snapshot.verdict, snapshot.agent);
  show(byId('troubles'), snapshot.troubles.map(trouble));
  byId('access').hidden = true;
  byId('live').hidden = false;
  show(byId('agent'), document.createTextNode(plain(snapshot.agent)));
  const ready = snapshot.ready ? 'ready' : 'not ready';
  show(byId('about'), document.createTextNode(plain(`version ${snapshot.version}, up ${seconds(snapshot.uptime_seconds)}, ${ready}`)));
  show(byId('graph'), graph(snapshot));
  show(byId('history'), figures());
  show(byId('sources'), sources(snapshot));
  show(byId('channels'), channels(snapshot));
  show(byId('sinks'), sinks(snapshot));
  show(byId('sum'), conservation(snapshot));
  show(byId('bulletin'), bulletin(snapshot));
  operation(snapshot);
  places(snapshot);
  show(byId('letters-count'), lettersCount(snapshot));
}

function askForToken() {
  if (hasToken()) byId('access-problem').textContent = 'This is not the token of this agent. Try again.';
  useToken(null);
  say({ level: 'warn', text: 'The agent requires its token' });
  show(byId('troubles'));
  byId('live').hidden = true;
  byId('access').hidden = false;
  byId('token').focus();
}

async function compare() {
  try {
    await configuration();
  } catch (error) {
    if (!(error instanceof Refused)) show(byId('config-state'), el('p', {}, error.message));
  }
}

async function run() {
  for (;;) {
    try {
      compare();
      await follow(render);
    } catch (error) {
      if (error instanceof Refused) {
        askForToken();
        return;
      }
      lost = error.message;
      say({ level: 'bad', text: 'The agent does not answer' });
      if (heard === null) show(byId('troubles'), el('li', { class: 'bad' }, error.message));
      showAge();
    }
    await new Promise((wake) => setTimeout(wake, pause));
    pause = Math.min(pause * 2, PAUSE_MAX);
  }
}

byId('access').addEventListener('submit', (event) => {
  event.preventDefault();
  const field = byId('token');
  useToken(field.value.trim());
  field.value = '';
  run();
});

byId('config-load').addEventListener('click', compare);

for (const [name, load] of [['letters', letters], ['audit', audit]]) {
  byId(`${name}-load`).addEventListener('click', async () => {
    const place = byId(name);
    place.setAttribute('aria-busy', 'true');
    try {
      await load();
    } catch (error) {
      show(place, el('p', { class: 'state bad' }, error.message));
    }
    place.setAttribute('aria-busy', 'false');
  });
}

setInterval(showAge, 1000);

setInterval(() => {
  if (!byId('live').hidden && !document.hidden) compare();
}, COMPARE_EVERY);

run();
