// Elements out of data. Texts come from events, servers and files: they are set as text, never read
// as markup, and hold no character that changes the order or the look of what is around them.

const SVG = 'http://www.w3.org/2000/svg';
const TEXT_MAX = 4096;

// Control characters, and those that turn the direction of writing.
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

export function plain(text) {
  const whole = String(text);
  const kept = whole.length > TEXT_MAX ? whole.slice(0, TEXT_MAX) + '…' : whole;
  return kept.replace(ODD, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, plain(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined) continue;
    node.append(child instanceof Node ? child : document.createTextNode(plain(child)));
  }
  return node;
}

export const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

// Makes the children of `parent` what `wanted` is, and touches what differs alone: what is selected,
// focused or scrolled stays so.
export function show(parent, ...wanted) {
  const nodes = wanted.flat(Infinity).filter(Boolean);
  nodes.forEach((node, at) => {
    const old = parent.childNodes[at];
    if (!old) parent.append(node);
    else if (!alike(old, node)) old.replaceWith(node);
    else take(old, node);
  });
  while (parent.childNodes.length > nodes.length) parent.lastChild.remove();
}

const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName;

function take(old, node) {
  if (node.nodeType === Node.TEXT_NODE) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!node.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of node.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  show(old, [...node.childNodes]);
}

// A table; a cell is a text or a node. With a title, for those that hear the page.
export function table(title, heads, rows) {
  if (!rows.length) return el('p', { class: 'none' }, 'None');
  const head = heads.map((text) => el('th', { scope: 'col' }, text));
  const body = rows.map((cells) => {
    const all = cells.map((cell, at) => at === 0 ? el('th', { scope: 'row' }, cell) : el('td', {}, cell));
    return el('tr', {}, all);
  });
  return el('table', {}, el('caption', {}, title), el('thead', {}, el('tr', {}, head)), el('tbody', {}, body));
}
