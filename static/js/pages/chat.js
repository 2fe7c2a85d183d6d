// The chat: what people in the call write to everyone in it. It is kept by nobody; who comes later starts afresh.

import { el, icon, need, setAttribute, setText } from './dom.js';

/** @typedef {import('../index.js').Call} Call */

const TEXT_CHARS_MAX = 2000;
const LINES_MAX = 500;
const NEAR_END_PX = 80;

/** Shows, sends and counts chat messages. All text is shown as it was typed; nothing in it becomes markup. */
export class Chat {
  /**
   * @param {HTMLElement} panel
   * @param {{ send: (data: object) => Promise<unknown>, nameOf: (userId: string) => string, unread: (count: number) => void, say: (text: string) => void }} options
   */
  constructor(panel, { send, nameOf, unread, say }) {
    this.panel = panel;
    this.send = send;
    this.nameOf = nameOf;
    this.onUnread = unread;
    this.say = say;
    this.unread = 0;
    this.lines = need('[data-part=lines]', HTMLElement, panel);
    this.empty = need('[data-part=empty]', HTMLElement, panel);
    this.form = need('form', HTMLFormElement, panel);
    this.field = need('textarea', HTMLTextAreaElement, panel);
    this.field.maxLength = TEXT_CHARS_MAX;
    /** @type {{ from: string, at: number } | null} */
    this.last = null;
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.form.addEventListener('submit', (event) => (event.preventDefault(), this.#submit()), { signal });
    this.field.addEventListener('keydown', (event) => this.#onKey(event), { signal });
    this.field.addEventListener('input', () => this.#grow(), { signal });
  }

  /**
   * Takes what came over the call, if it is chat.
   *
   * @param {string} from
   * @param {unknown} data
   */
  receive(from, data) {
    const text = chatText(data);
    if (text === null) return;
    this.#add(from, this.nameOf(from), text, false);
    if (!this.panel.hidden) return this.say(`${this.nameOf(from)}: ${text}`);
    this.unread += 1;
    this.onUnread(this.unread);
    this.say(`Chat from ${this.nameOf(from)}: ${text}`);
  }

  /** The panel was opened: everything is read. */
  opened() {
    this.unread = 0;
    this.onUnread(0);
    this.#scrollToEnd();
  }

  /** Forgets the call. */
  clear() {
    this.stop.abort();
    this.lines.replaceChildren();
    this.empty.hidden = false;
    this.onUnread(0);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    const text = this.field.value.trim();
    if (text === '') return;
    this.field.value = '';
    this.#grow();
    const line = this.#add('', 'You', text, true);
    void this.#deliver(line, text);
    this.#scrollToEnd();
  }

  /**
   * @param {HTMLElement} line
   * @param {string} text
   */
  async #deliver(line, text) {
    line.querySelector('.chat-failed')?.remove();
    setAttribute(line, 'data-pending', true);
    try {
      await this.send({ kind: 'chat', text });
    } catch {
      const again = el('button', { type: 'button', class: 'link', onclick: () => void this.#deliver(line, text) }, 'Send again');
      line.append(el('p', { class: 'chat-failed', role: 'alert' }, icon('alert'), 'Not sent. ', again));
    }
    setAttribute(line, 'data-pending', null);
  }

  /**
   * @param {string} from
   * @param {string} name
   * @param {string} text
   * @param {boolean} mine
   * @returns {HTMLElement}
   */
  #add(from, name, text, mine) {
    const atEnd = this.#isAtEnd();
    const at = Date.now();
    const goesOn = this.last !== null && this.last.from === from && at - this.last.at < 120_000;
    this.last = { from, at };
    const head = el('p', { class: 'chat-head' }, el('bdi', { class: 'chat-name' }, name), timeOf(at));
    const line = el('li', { class: 'chat-line', 'data-mine': mine }, !goesOn && head, el('p', { class: 'chat-text', dir: 'auto' }, text));
    this.lines.append(line);
    this.empty.hidden = true;
    while (this.lines.children.length > LINES_MAX) this.lines.firstElementChild?.remove();
    if (atEnd) this.#scrollToEnd();
    return line;
  }

  /** Who reads further up is not pulled down. */
  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.lines;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  #scrollToEnd() {
    this.lines.scrollTop = this.lines.scrollHeight;
  }

  #grow() {
    this.field.style.height = 'auto';
    this.field.style.height = `${Math.min(this.field.scrollHeight + 2, 140)}px`;
  }
}

/**
 * Shows how many messages wait to be read.
 *
 * @param {HTMLButtonElement} button opens the chat
 * @param {number} count
 */
export function showUnread(button, count) {
  const badge = need('.count', HTMLElement, button);
  badge.hidden = count === 0;
  setText(badge, count > 99 ? '99+' : String(count));
  setAttribute(button, 'aria-label', count === 0 ? 'Chat' : `Chat, ${count} unread`);
}

/**
 * @param {unknown} data any JSON that somebody sent
 * @returns {string | null} null where it is no chat
 */
function chatText(data) {
  if (typeof data !== 'object' || data === null) return null;
  const { kind, text } = /** @type {{ kind?: unknown, text?: unknown }} */ (data);
  if (kind !== 'chat' || typeof text !== 'string' || text.trim() === '') return null;
  return text.slice(0, TEXT_CHARS_MAX);
}

/**
 * @param {number} at milliseconds since 1970
 * @returns {HTMLTimeElement}
 */
function timeOf(at) {
  const date = new Date(at);
  return el('time', { datetime: date.toISOString() }, date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
}
