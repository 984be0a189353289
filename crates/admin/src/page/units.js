// Numbers with their units, short enough to read at a glance. `words.json` has examples, which the
// commands format in the same way.

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

export const NONE = '–';

export function count(value) {
  if (!known(value)) return NONE;
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

function scaled(value, step, names) {
  let at = 0;
  while (value >= step && at < names.length - 1) {
    value /= step;
    at += 1;
  }
  const digits = at === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)}\u00a0${names[at]}`;
}

export const bytes = (value) => known(value) ? scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']) : NONE;

export function rate(value) {
  if (!known(value)) return NONE;
  if (value < 10) return `${value.toFixed(value > 0 ? 1 : 0)}\u00a0events/s`;
  return scaled(value, 1000, ['events/s', 'k\u00a0events/s', 'M\u00a0events/s']);
}

export const percent = (ratio) => known(ratio) ? `${(ratio * 100).toFixed(ratio < 0.1 ? 1 : 0)}\u00a0%` : NONE;

// In at most two units, the smaller one cut.
export function seconds(value) {
  if (!known(value)) return NONE;
  const units = [[86400000, 'd'], [3600000, 'h'], [60000, 'm'], [1000, 's'], [1, 'ms']];
  const step = value < 10 ? 1 : 1000;
  let rest = Math.floor(Math.floor(value * 1000) / step) * step;
  const first = units.findIndex(([size]) => rest >= size);
  if (first < 0) return '0s';
  const parts = units.slice(first, first + 2).map(([size, name]) => {
    const number = Math.floor(rest / size);
    rest %= size;
    return number ? `${number}${name}` : '';
  });
  return parts.filter(Boolean).join(' ');
}

// A number of things, in the plural unless it is one.
export function many(number, noun) {
  const ending = number === 1 ? '' : /(ch|s)$/.test(noun) ? 'es' : 's';
  return `${count(number)} ${noun}${ending}`;
}

// The reason of a counter in words, after a number of events.
export const reason = (name) => name.replace(/_events?$/, '').replaceAll('_', ' ');

export const ago = (value) => known(value) ? `${seconds(value)} ago` : NONE;
