// Finds and builds elements with their types kept. Text is always set as text, never parsed as markup.

/** @typedef {Node | string | null | undefined | false} Child */
/** @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * Builds an element. A key that begins with `on` is a listener, `true` is an empty attribute, and
 * `false`, `null` or `undefined` is no attribute at all.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children strings become text nodes
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(key.slice(2), value);
    else setAttribute(node, key, value);
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

/**
 * Finds the element that the page is built around; a page without it is a bug, so it throws.
 *
 * @template {Element} T
 * @param {string} selector
 * @param {{ new (): T }} type
 * @param {ParentNode} [root]
 * @returns {T}
 */
export function need(selector, type, root = document) {
  const found = root.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} at ${selector}`);
  return found;
}

/**
 * Where an icon is: in the page itself, because what there is to say while the node is away needs its icon too.
 *
 * @param {string} name
 */
export const iconOf = (name) => `#icon-${name}`;

/**
 * Builds a picture from the icon sheet. It is decoration: the words stand beside it or in the label.
 *
 * @param {string} name a symbol of `static/img/icons.svg`, which is in the page
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', iconOf(name));
  svg.append(use);
  return svg;
}

/**
 * Changes which icon a button or label shows.
 *
 * @param {Element} holder an element with one icon inside
 * @param {string} name
 */
export function setIcon(holder, name) {
  const use = holder.querySelector('use');
  const href = iconOf(name);
  if (use && use.getAttribute('href') !== href) use.setAttribute('href', href);
}

/**
 * Sets or removes an attribute, touching the document only where something changes, so that a
 * screen reader is not told the same again.
 *
 * @param {Element} node
 * @param {string} key
 * @param {string | number | boolean | null | undefined} value
 */
export function setAttribute(node, key, value) {
  if (value === false || value === null || value === undefined) {
    if (node.hasAttribute(key)) node.removeAttribute(key);
    return;
  }
  const text = value === true ? '' : String(value);
  if (node.getAttribute(key) !== text) node.setAttribute(key, text);
}

/**
 * Sets the text of an element where it differs.
 *
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
