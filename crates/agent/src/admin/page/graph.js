// The flow as a graph: senders, sources, channels, groups of sinks. The tables hold the same.

import { el, svg } from './dom.js';
import { count, percent, rate, seconds } from './units.js';

const WIDTH = 210;
const GAP = 130;
const LINE = 17;
const SPACE = 18;
const LETTERS = 28;
const MEMBERS_MAX = 8;
const SENDERS_MAX = 5;

const brief = (text, most = LETTERS) => text.length > most ? `${text.slice(0, most - 1)}…` : text;

const LEVELS = { failing: 'bad', waiting: 'warn', starting: 'warn' };
const level = (state) => LEVELS[state.name] ?? 'good';

function box(column, title, lines, of, fill) {
  return { column, title, lines, level: of, fill, height: 30 + lines.length * LINE + (fill === undefined ? 0 : 12) };
}

function nodes(snapshot) {
  const senders = snapshot.sources.filter((it) => it.senders_total > 0).map((source) => {
    const names = source.senders.slice(0, SENDERS_MAX).map((it) => brief(`${it.agent} ${it.peer}`));
    const more = source.senders_total - names.length;
    const title = source.senders_total === 1 ? '1 sender' : `${count(source.senders_total)} senders`;
    return { ...box(0, title, more ? [...names, `and ${count(more)} more`] : names, 'good'), to: source.name };
  });
  const sources = snapshot.sources.map((source) =>
    ({ ...box(1, source.name, [source.kind, source.state.name], level(source.state)), of: source }));
  const channels = snapshot.channels.map((channel) => {
    const full = channel.intake_stopped ? 'bad' : channel.fill_ratio >= 0.8 ? 'warn' : 'good';
    const oldest = channel.oldest_event_seconds === null ? [] : [`oldest ${seconds(channel.oldest_event_seconds)}`];
    const lines = [channel.kind, `${count(channel.depth_events)} events, ${percent(channel.fill_ratio)}`, ...oldest];
    return { ...box(2, channel.name, lines, full, channel.fill_ratio), of: channel };
  });
  // In the order of their channels, so that fewer lines cross.
  const at = (group) => snapshot.channels.findIndex((it) => it.name === group.channel);
  const groups = [...snapshot.groups].sort((one, other) => at(one) - at(other)).map((group) => {
    const members = group.members.filter((it) => it.state.name !== 'absent');
    const lines = members.slice(0, MEMBERS_MAX).map((it) => {
      const sign = { bad: '✕', warn: '…', good: '✓' }[level(it.state)];
      return brief(`${sign} ${it.sink} ${it.peer ?? it.kind}`);
    });
    if (members.length > MEMBERS_MAX) lines.push(`and ${members.length - MEMBERS_MAX} more`);
    const worst = [group.state, ...members.map((it) => it.state)].map(level);
    const of = worst.includes('bad') ? 'bad' : worst.includes('warn') ? 'warn' : 'good';
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

function edges({ senders, sources, channels, groups }) {
  const found = [];
  const named = (boxes, name) => boxes.find((it) => it.of.name === name);
  for (const it of senders) found.push(edge(it, named(sources, it.to), '', 'good'));
  for (const source of sources) {
    const { channels: required, optional_channels: optional, accepted, state } = source.of;
    const waits = state.name === 'waiting';
    for (const name of [...required, ...optional]) {
      const channel = named(channels, name);
      if (!channel) continue;
      // How a source shares its events out is not counted: the channel says what it got.
      const part = required.length + optional.length === 1 ? accepted : channel.of.stored;
      const stopped = channel.of.intake_stopped || (waits && required.includes(name));
      const kind = stopped ? 'bad' : optional.includes(name) ? 'optional' : 'good';
      found.push(edge(source, channel, stopped ? 'back-pressure' : rate(part.events_per_second), kind));
    }
  }
  for (const group of groups) {
    const channel = named(channels, group.of.channel);
    if (!channel) continue;
    const kind = ['failing', 'waiting'].includes(group.of.state.name) ? 'bad' : 'good';
    found.push(edge(channel, group, rate(group.of.delivered.events_per_second), kind));
  }
  return found;
}

export function graph(snapshot) {
  const all = nodes(snapshot);
  const { senders, sources, channels, groups } = all;
  const boxes = [...senders, ...sources, ...channels, ...groups];
  const { width, height } = place(boxes);
  const label = `${sources.length} sources, ${channels.length} channels, ${groups.length} groups of sinks`;
  const frame = { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': label, class: 'graph' };
  return el('div', {}, svg('svg', frame, edges(all), boxes.map(draw)));
}
