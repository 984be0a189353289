// What is wrong, from a snapshot: the first thing that an operator wants to know. `brief` stays the
// same while the trouble does, so that it is read aloud once; `text` has the times as well.

import { count, percent, seconds } from './units.js';

const NEARLY_FULL = 0.8;
const SOON_FULL = 1800; // s
const BACKLOG = 60; // s; without one the space of what was delivered is not free yet, and it will be
const UNBALANCED = 30; // snapshots in a row

function ofState(role, name, state, add) {
  if (state.name === 'failing') {
    const next = state.retry_in_seconds === null ? 'it is tried again now' : `next try in ${seconds(state.retry_in_seconds)}`;
    add('bad', `${role} ${name} fails: ${state.last_error}`, `for ${seconds(state.since_seconds_ago)}; ${next}`);
  } else if (state.name === 'waiting') {
    add('warn', `${role} ${name} waits for ${state.waits_for}`, `for ${seconds(state.since_seconds_ago)}`);
  } else if (state.name === 'starting') {
    add('warn', `${role} ${name} is not open yet`);
  }
}

function ofChannel(channel, add) {
  const { name, fill_ratio: fill, until_full_seconds: left, oldest_event_seconds: oldest } = channel;
  if (channel.intake_stopped) {
    add('bad', `channel ${name} takes nothing in`, `${percent(fill)} full`);
  } else if (fill >= NEARLY_FULL) {
    add('warn', `channel ${name} is nearly full`, `${percent(fill)}, ${count(channel.depth_events)} events`);
  } else if (left !== null && left < SOON_FULL && oldest > BACKLOG) {
    add('warn', `channel ${name} fills`, `full in ${seconds(left)} at the present rates`);
  }
}

// While events move the difference goes to and fro: each part is counted at another moment.
export function isUnbalanced(history) {
  const last = history.slice(-UNBALANCED);
  if (last.length < UNBALANCED) return false;
  const idle = last.every((it) => it.isIdle && it.difference === last[0].difference);
  return idle && last[0].difference !== 0;
}

export function troubles(snapshot, history, configuration) {
  const found = [];
  const add = (level, brief, more) => found.push({ level, brief, text: more ? `${brief} (${more})` : brief });
  for (const source of snapshot.sources) ofState('source', source.name, source.state, add);
  for (const channel of snapshot.channels) ofChannel(channel, add);
  for (const group of snapshot.groups) {
    for (const member of group.members) ofState('sink', member.sink, member.state, add);
    // It waits for its sinks, and they are named above.
    const isSaid = group.state.name === 'waiting' && group.members.some((it) => it.state.name === 'failing');
    if (!isSaid) ofState('group', group.name, group.state, add);
  }
  if (isUnbalanced(history)) {
    const difference = snapshot.conservation.difference_events;
    const what = difference > 0 ? 'are not accounted for' : 'left more often than they came';
    add('bad', `${count(Math.abs(difference))} events ${what}`);
  }
  // What the agent says itself and the above does not.
  if (!snapshot.ready && !found.some((it) => it.level === 'bad')) {
    snapshot.reasons.forEach((reason) => add('bad', reason.replace(/ \d+ s\b/g, ' some time')));
  }
  const letters = snapshot.dead_letters.events;
  if (letters > 0) add('warn', 'there are dead letters', `${count(letters)} events`);
  if (configuration?.name === 'differs') add('note', 'the file of the configuration says something else than what runs', configuration.changed.join(', '));
  if (configuration?.name === 'wrong') add('warn', 'the file of the configuration is wrong: the next start would fail', configuration.problems[0]);
  const order = ['bad', 'warn', 'note'];
  return found.sort((one, other) => order.indexOf(one.level) - order.indexOf(other.level));
}

export function word(found) {
  const real = found.filter((it) => it.level !== 'note');
  if (!real.length) return { level: 'good', text: 'All is well' };
  const more = real.length > 1 ? `, and ${real.length - 1} more` : '';
  const lead = real[0].level === 'bad' ? 'Something is wrong' : 'Look after this';
  return { level: real[0].level, text: `${lead}: ${real[0].brief}${more}` };
}
