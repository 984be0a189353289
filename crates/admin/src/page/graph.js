// The flow as a graph: senders, sources, channels, groups of sinks. The tables hold the same.

import { el, svg } from './dom.js';
import { sender } from './tables.js';
import { bytes, count, many, percent, rate, seconds } from './units.js';

const WIDTH = 210;
const GAP = 130;
const LINE = 17;
const SPACE = 18;
const LETTERS = 28;
const MEMBERS_MAX = 8;
const SENDERS_MAX = 5;

const brief = (text, most = LETTERS) => text.length > most ? `${text.slice(0, most - 1)}…` : text;

// How bad it is with these components, as the agent judges.
const worst = (snapshot, ...components) => {
  const found = snapshot.troubles.filter((it) => components.includes(it.component)).map((it) => it.level);
  return ['bad', 'warn'].find((it) => found.includes(it)) ?? 'good';
};

function box(column, title, lines, of, fill) {
  return { column, title, lines, level: of, fill, height: 30 + lines.length * LINE + (fill === undefined ? 0 : 12) };
}

function nodes(snapshot) {
  const senders = snapshot.sources.filter((it) => it.senders_total > 0).map((source) => {
    const names = source.senders.slice(0, SENDERS_MAX).map((it) => brief(sender(it)));
    const more = source.senders_total - names.length;
    const title = many(source.senders_total, 'sender');
    return { ...box(0, title, more ? [...names, `and ${count(more)} more`] : names, 'good'), to: source.name };
  });
  const sources = snapshot.sources.map((source) => {
    const { files } = source;
    const followed = files ? [`${many(files.followed, 'file')}, ${bytes(files.unread_bytes)} unread`] : [];
    const lines = [source.kind, source.state.name, ...followed];
    return { ...box(1, source.name, lines, worst(snapshot, `source ${source.name}`)), of: source };
  });
  const channels = snapshot.channels.map((channel) => {
    const full = worst(snapshot, `channel ${channel.name}`);
    const oldest = channel.oldest_event_seconds === null ? [] : [`oldest ${seconds(channel.oldest_event_seconds)}`];
    const lines = [channel.kind, `${many(channel.depth_events, 'event')}, ${percent(channel.fill_ratio)}`, ...oldest];
    return { ...box(2, channel.name, lines, full, channel.fill_ratio), of: channel };
  });
  // In the order of their channels, so that fewer lines cross.
  const at = (group) => snapshot.channels.findIndex((it) => it.name === group.channel);
  const groups = [...snapshot.groups].sort((one, other) => at(one) - at(other)).map((group) => {
    const members = group.members.filter((it) => it.state.name !== 'absent');
    const lines = members.slice(0, MEMBERS_MAX).map((it) => {
      const sign = { bad: '✕', warn: '…', good: '✓' }[worst(snapshot, `sink ${it.sink}`)];
      return brief(`${sign} ${it.sink} ${it.peer ?? it.kind}`);
    });
    if (members.length > MEMBERS_MAX) lines.push(`and ${members.length - MEMBERS_MAX} more`);
    const of = worst(snapshot, `group ${group.name}`, ...members.map((it) => `sink ${it.sink}`));
    return { ...box(3, group.name, [group.processor, ...lines], of), of: group };
  });
  return { senders, sources, channels, groups };
}

// Places the boxes of each column below each other, in the middle.
function place(all) {
  const columns = [0, 1, 2, 3].map((column) => all.filter((it) => it.column === column));
  const used = columns[0].length ? columns : columns.slice(1);
  const heights = used.map((boxes) => boxes.reduce((sum, it) => sum + it.height + SPACE, 0));
  const height = Math.max(...heights, 60);
  used.forEach((boxes, at) => {
    let y = (height - heights[at] + SPACE) / 2;
    for (const it of boxes) {
      Object.assign(it, { x: at * (WIDTH + GAP) + 1, y });
      y += it.height + SPACE;
    }
  });
  return { width: used.length * WIDTH + (used.length - 1) * GAP + 2, height: height + 2 };
}

function draw(it) {
  const text = (y, content, kind) => svg('text', { x: it.x + 10, y, class: kind }, content);
  const lines = it.lines.map((content, at) => text(it.y + 39 + at * LINE, content, 'line'));
  const bar = it.fill === undefined ? [] : [
    svg('rect', { class: 'bar', x: it.x + 10, y: it.y + it.height - 12, width: WIDTH - 20, height: 6 }),
    svg('rect', { class: `full ${it.level}`, x: it.x + 10, y: it.y + it.height - 12, width: Math.min(it.fill, 1) * (WIDTH - 20), height: 6 }),
  ];
  const frame = svg('rect', { class: `box ${it.level}`, x: it.x, y: it.y, width: WIDTH, height: it.height, rx: 6 });
  return svg('g', {}, frame, text(it.y + 21, brief(it.title, 24), 'name'), lines, bar);
}

function edge(from, to, label, kind) {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + from.height / 2, to.x, to.y + to.height / 2];
  const bend = (x2 - x1) / 2;
  const path = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  const name = svg('text', { class: `rate ${kind}`, x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 6, 'text-anchor': 'middle' }, label);
  return [svg('path', { class: `edge ${kind}`, d: path }), name];
}

const KINDS = { open: 'good', optional: 'optional', stopped: 'bad' };

function edges(flow, { senders, sources, channels, groups }) {
  const named = (boxes, name) => boxes.find((it) => it.of.name === name);
  const label = (it) => rate(it.events_per_second);
  return [
    ...senders.map((it) => edge(it, named(sources, it.to), '', 'good')),
    ...flow.into_channels.map((it) =>
      edge(named(sources, it.from), named(channels, it.to), it.state === 'stopped' ? 'back-pressure' : label(it), KINDS[it.state])),
    ...flow.out_of_channels.map((it) => edge(named(channels, it.from), named(groups, it.to), label(it), KINDS[it.state])),
  ];
}

export function graph(snapshot) {
  const all = nodes(snapshot);
  const { senders, sources, channels, groups } = all;
  const boxes = [...senders, ...sources, ...channels, ...groups];
  const { width, height } = place(boxes);
  const label = `${sources.length} sources, ${channels.length} channels, ${groups.length} groups of sinks`;
  const frame = { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': label, class: 'graph' };
  return el('div', {}, svg('svg', frame, edges(snapshot.flow, all), boxes.map(draw)));
}
