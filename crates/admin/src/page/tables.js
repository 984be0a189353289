// The tables: everything that the graph shows, and more.

import { el, table } from './dom.js';
import { depthLine, latency } from './history.js';
import { button } from './operate.js';
import { ago, bytes, count, many, percent, rate, reason, seconds, NONE } from './units.js';

// How a sender is called: by its word, by what its certificate or token proves, by its address.
export const sender = (it) =>
  [it.agent, it.proved && `${it.proved.name} (${it.proved.by})`, it.peer].filter(Boolean).join(' ');

const LEVELS = { failing: 'bad', waiting: 'warn', starting: 'warn', held: 'warn', running: 'good' };

function state(of) {
  const mark = el('span', { class: `state ${LEVELS[of.name] ?? 'off'}` }, of.name);
  const why = of.last_error ?? of.waits_for ?? (of.by && `stopped by ${of.by}`);
  const since = of.since_seconds_ago === undefined ? '' : ` for ${seconds(of.since_seconds_ago)}`;
  return why ? el('div', { class: 'why' }, mark, `${since}: ${why}`) : mark;
}

const reasons = (counts) =>
  Object.entries(counts).map(([name, events]) => `${count(events)} ${reason(name)}`).join(', ') || NONE;

const atMost = (now, max) => max === null ? now : `${now} of ${max}`;

const limited = (it) => Object.entries(it.limited)
  .map(([limit, of]) => `${count(of.times)} by ${limit}, since ${seconds(of.first_seconds_ago)}, last ${ago(of.last_seconds_ago)}`)
  .join('; ');

const tenant = (source, it) => [
  it.name,
  source,
  atMost(count(it.connections), it.connections_max === null ? null : count(it.connections_max)),
  atMost(rate(it.events_per_second), it.events_per_second_max === null ? null : rate(it.events_per_second_max)),
  `${atMost(bytes(it.bytes_per_second), it.bytes_per_second_max === null ? null : bytes(it.bytes_per_second_max))}/s`,
  `${bytes(it.in_work_bytes)} of ${bytes(it.share_bytes)}`,
  it.backlog_bytes === null ? NONE : atMost(bytes(it.backlog_bytes), bytes(it.backlog_max_bytes)),
  count(it.weight),
  bytes(it.message_max_bytes),
  limited(it) ? el('span', { class: 'state warn' }, limited(it)) : NONE,
];

// What shares the sources, the ones that give most first.
function tenants(snapshot) {
  const rows = snapshot.sources.flatMap((source) => source.tenants.map((it) => tenant(source.name, it)));
  if (!rows.length) return [];
  const more = snapshot.sources.reduce((sum, it) => sum + it.tenants_total - it.tenants.length, 0);
  const title = more ? `Tenants of sources; ${count(more)} more are not listed` : 'Tenants of sources';
  return [table(title, ['Tenant', 'Source', 'Connections', 'Rate', 'Bytes', 'In work', 'In the channels', 'Weight', 'Largest message', 'Held back'], rows)];
}

export const sources = (snapshot) => [table(
  'Sources and their events',
  ['Source', 'Type', 'State', 'Rate', 'Bytes', 'Accepted', 'Last', 'Files', 'Channels', 'Dropped', 'Senders', 'Change'],
  snapshot.sources.map((it) => [
    it.name,
    it.kind,
    state(it.state),
    rate(it.accepted.events_per_second),
    `${bytes(it.accepted.bytes_per_second)}/s`,
    many(it.accepted.events_total, 'event'),
    ago(it.accepted.last_seconds_ago),
    it.files ? `${many(it.files.followed, 'file')}, ${bytes(it.files.unread_bytes)} unread` : NONE,
    [...it.channels, ...it.optional_channels.map((name) => `${name} (optional)`)].join(', '),
    reasons(it.dropped_events),
    it.senders.map(sender).join(', ') || NONE,
    button('source', it),
  ]),
), ...tenants(snapshot)];

// Delivered events occupy space until their segment is deleted.
function space(it) {
  const used = `${bytes(it.depth_bytes)} of ${bytes(it.capacity_bytes)}`;
  return it.depth_events === 0 && it.depth_bytes > 0 ? `${used}, delivered` : used;
}

export const channels = (snapshot) => table(
  'Channels and their events',
  ['Channel', 'Type', 'Events', 'Space used', 'Full', 'Oldest', 'In', 'Full in', 'Empty in', 'In flight', 'Dropped', 'Resent', '5 minutes'],
  snapshot.channels.map((it) => [
    it.name,
    it.kind,
    count(it.depth_events),
    space(it),
    it.intake_stopped ? el('span', { class: 'state bad' }, `${percent(it.fill_ratio)}, stopped`) : percent(it.fill_ratio),
    seconds(it.oldest_event_seconds),
    rate(it.stored.events_per_second),
    seconds(it.until_full_seconds),
    seconds(it.until_empty_seconds),
    many(it.in_flight_events, 'event'),
    reasons(it.dropped_events),
    it.resent_events ? `${many(it.resent_events, 'event')}, stored once` : NONE,
    depthLine(it.name),
  ]),
);

// An agent that cannot store events is shown where others send to it, too.
const reached = (it) => it.unable && it.state.name === 'running'
  ? { name: 'waiting', waits_for: `${it.unable.agent.address} cannot store events: ${it.unable.cause}`, since_seconds_ago: it.unable.since_seconds_ago }
  : it.state;

const member = (group, it) => [
  it.sink,
  group.name,
  it.kind,
  state(reached(it)),
  many(it.delivered_events, 'event'),
  ago(it.last_delivery_seconds_ago),
  `${many(it.in_hand_batches, 'batch')}, ${bytes(it.unacknowledged_bytes)}`,
  seconds(it.penalty_seconds),
  latency(it.sink, 'stored', it.stored_after),
  latency(it.sink, 'committed', it.committed_after),
  it.open_files === null ? NONE : count(it.open_files),
  it.last_commit ?? NONE,
  it.peer ?? NONE,
];

export function sinks(snapshot) {
  const groups = table(
    'Groups of sinks',
    ['Group', 'Channel', 'Processor', 'State', 'Rate', 'Delivered', 'In flight', 'Last', 'Change'],
    snapshot.groups.map((it) => [
      it.name,
      it.channel,
      it.processor,
      state(it.state),
      rate(it.delivered.events_per_second),
      many(it.delivered.events_total, 'event'),
      many(it.in_flight_events, 'event'),
      ago(it.delivered.last_seconds_ago),
      button('group', it),
    ]),
  );
  const members = snapshot.groups.flatMap((group) =>
    group.members.filter((it) => it.state.name !== 'absent').map((it) => member(group, it)));
  const heads = ['Sink', 'Group', 'Type', 'State', 'Delivered', 'Last', 'In hand', 'Penalty',
    'Stored p50 / p99', 'Committed p50 / p99', 'Open files', 'Last commit', 'Peer'];
  return [groups, table('Sinks', heads, members)];
}

export function conservation(snapshot) {
  const sum = snapshot.conservation;
  const isUnbalanced = snapshot.troubles.some((it) => it.component === 'conservation');
  const terms = (all) => all.filter(([, events], at) => at === 0 || events > 0)
    .map(([name, events]) => `${count(events)} ${reason(name)}`).join(' + ');
  const came = terms([['accepted', sum.accepted_events], ['held at start', sum.held_at_start_events],
    ['copied', sum.copied_events], ['put again', sum.put_again_events], ['replayed', sum.replayed_events]]);
  const went = terms([['delivered', sum.delivered_events], ['held', sum.held_events],
    ['dead letters', sum.dead_letter_events],
    ['dead letters of the next agents', sum.downstream_dead_letter_events], ['resent', sum.resent_events],
    ...Object.entries(sum.dropped_events)]);
  const off = sum.difference_events;
  const kind = isUnbalanced ? 'bad' : off === 0 ? 'good' : 'off';
  const text = off === 0 ? 'it adds up' : isUnbalanced ? `difference ${count(off)}` : `difference ${count(off)} on the way`;
  return el('p', {}, `Events since the start: ${came} = ${went}; `, el('span', { class: `state ${kind}` }, text));
}

export const bulletin = (snapshot) => table(
  'Failures of sources and sinks, the newest first',
  ['Component', 'What happened', 'Times', 'Last', 'First'],
  snapshot.bulletin.map((it) => [
    `${it.role} ${it.name}`, it.text, count(it.times), ago(it.last_seconds_ago), ago(it.first_seconds_ago),
  ]),
);

export function lettersCount(snapshot) {
  const { events, batches, added_events: added } = snapshot.dead_letters;
  if (!events) return el('p', { class: 'none' }, 'None');
  const from = Object.entries(added).map(([name, number]) => `${count(number)} from ${name}`).join(', ');
  return el('p', {}, `${many(events, 'event')} of ${many(batches, 'batch')}${from ? `; since the start ${from}` : ''}`);
}
