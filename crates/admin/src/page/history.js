// The last five minutes, kept in this page alone, and drawn small.

import { svg, el } from './dom.js';
import { bytes, rate, seconds, NONE } from './units.js';

const LENGTH = 300; // snapshots, one a second

const points = [];

const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

export function remember(snapshot) {
  const accepted = sum(snapshot.sources, (it) => it.accepted.events_per_second);
  const delivered = sum(snapshot.groups, (it) => it.delivered.events_per_second);
  const latencies = new Map();
  for (const member of snapshot.groups.flatMap((it) => it.members)) {
    latencies.set(member.sink, { stored: member.stored_after, committed: member.committed_after });
  }
  points.push({
    accepted,
    delivered,
    held: sum(snapshot.channels, (it) => it.depth_bytes),
    depths: new Map(snapshot.channels.map((it) => [it.name, it.depth_events])),
    latencies,
  });
  if (points.length > LENGTH) points.shift();
}

// Nothing of before: another agent, or another life of it.
export const forget = () => points.splice(0);

function line(values, label, width = 240, height = 48) {
  const most = Math.max(...values, 0) || 1;
  const x = (at) => width - (values.length - 1 - at) * width / (LENGTH - 1);
  const y = (value) => height - 1 - value * (height - 4) / most;
  const path = values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  const frame = { viewBox: `0 0 ${width} ${height}`, class: 'line', role: 'img', 'aria-label': label };
  return svg('svg', frame, svg('polyline', { points: path }));
}

function figure(title, values, show) {
  const now = values[values.length - 1];
  const most = Math.max(...values);
  const label = `${title}: ${show(now)} now, at most ${show(most)}`;
  return el('figure', {}, el('figcaption', {}, el('b', {}, title), ` ${show(now)}, at most ${show(most)}`), line(values, label));
}

export function figures() {
  return [
    figure('Accepted', points.map((it) => it.accepted), rate),
    figure('Delivered', points.map((it) => it.delivered), rate),
    figure('Space used by channels', points.map((it) => it.held), bytes),
  ];
}

export function depthLine(channel) {
  const values = points.map((it) => it.depths.get(channel) ?? 0);
  return line(values, `events in channel ${channel} over the last 5 minutes`, 120, 24);
}

// The time that a part of the batches stayed below, spread evenly within a bucket, as Prometheus
// works it out.
function quantile(ends, batches, part) {
  const wanted = sum(batches, (it) => it) * part;
  let below = 0;
  for (let at = 0; at < batches.length; at += 1) {
    if (batches[at] > 0 && below + batches[at] >= wanted) {
      const lower = at ? ends[at - 1] : 0;
      const upper = ends[at] ?? lower;
      return lower + (upper - lower) * (wanted - below) / batches[at];
    }
    below += batches[at];
  }
  return null;
}

// p50 and p99 of the last five minutes; without a batch in them, of all.
export function latency(sink, stage, now) {
  if (!now) return NONE;
  const then = points.find((it) => it.latencies.has(sink))?.latencies.get(sink)?.[stage];
  const recent = now.bucket_batches.map((batches, at) => batches - (then?.bucket_batches[at] ?? 0));
  const both = recent.some((batches) => batches > 0)
    ? [0.5, 0.99].map((part) => quantile(now.bucket_seconds, recent, part))
    : [now.p50_seconds, now.p99_seconds];
  return `${seconds(both[0])} / ${seconds(both[1])}`;
}
