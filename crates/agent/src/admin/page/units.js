// Numbers with their units, short enough to read at a glance.

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

export function seconds(value) {
  if (!known(value)) return NONE;
  if (value < 1) return `${Math.round(value * 1000)}\u00a0ms`;
  const whole = Math.floor(value);
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([size]) => whole >= size);
  const [size, name] = parts[first];
  const next = parts[first + 1];
  const text = `${Math.floor(whole / size)}\u00a0${name}`;
  const rest = next ? Math.floor((whole % size) / next[0]) : 0;
  return rest ? `${text} ${rest}\u00a0${next[1]}` : text;
}

export const ago = (value) => known(value) ? `${seconds(value)} ago` : NONE;
