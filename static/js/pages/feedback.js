// Tells a person what just happened: toasts that pass, one banner that stays, and a voice for screen readers.

import { el, icon, need, setIcon, setText } from './dom.js';

const TOAST_MS = 6000;
const TOASTS_MAX = 3;
const BACK_AGAIN_MS = 4000;

/**
 * @typedef {object} ToastOptions
 * @property {string} [icon] a symbol of the icon sheet
 * @property {'info' | 'problem'} [tone]
 * @property {{ label: string, act: () => void }} [action]
 */

/** Short messages at the lower edge. They pass by themselves, but not while they are pointed at or focused. */
export class Toasts {
  /** @param {HTMLElement} holder */
  constructor(holder) {
    this.holder = holder;
  }

  /**
   * @param {string} text
   * @param {ToastOptions} [options]
   */
  show(text, options = {}) {
    for (const shown of this.holder.children) {
      if (shown instanceof HTMLElement && shown.dataset.text === text) shown.remove();
    }
    const { action } = options;
    const toast = el(
      'div',
      { class: 'toast', 'data-tone': options.tone ?? 'info', 'data-text': text },
      icon(options.icon ?? (options.tone === 'problem' ? 'alert' : 'info')),
      el('p', {}, text),
      action && el('button', { type: 'button', class: 'link', onclick: () => (action.act(), toast.remove()) }, action.label),
      el('button', { type: 'button', class: 'toast-close', 'aria-label': 'Dismiss', onclick: () => toast.remove() }, icon('close')),
    );
    this.holder.append(toast);
    while (this.holder.children.length > TOASTS_MAX) this.holder.firstElementChild?.remove();
    this.#passAfter(toast);
  }

  /** Removes all of them. */
  clear() {
    this.holder.replaceChildren();
  }

  /** @param {HTMLElement} toast */
  #passAfter(toast) {
    const timer = setInterval(() => {
      if (toast.matches(':hover, :focus-within') && toast.isConnected) return;
      clearInterval(timer);
      toast.remove();
    }, TOAST_MS);
  }
}

/** The one line above the call that says what is wrong with it now, until it is not. */
export class Banner {
  /** @param {HTMLElement} holder */
  constructor(holder) {
    this.holder = holder;
    this.text = need('[data-part=text]', HTMLElement, holder);
    this.button = need('button', HTMLButtonElement, holder);
    this.timer = 0;
    /** @type {() => void} */
    this.act = () => {};
    this.button.addEventListener('click', () => this.act());
  }

  /**
   * @param {'warning' | 'good' | 'info'} tone
   * @param {string} text
   * @param {{ label: string, act: () => void }} [action]
   */
  show(tone, text, action) {
    clearTimeout(this.timer);
    this.holder.dataset.tone = tone;
    setIcon(this.holder, tone === 'good' ? 'check' : tone === 'warning' ? 'alert' : 'info');
    this.button.hidden = !action;
    if (action) {
      setText(this.button, action.label);
      this.act = action.act;
    }
    this.holder.hidden = false;
    setText(this.text, text);
  }

  /**
   * Says that all is well again, then goes.
   *
   * @param {string} text
   */
  pass(text) {
    this.show('good', text);
    this.timer = window.setTimeout(() => this.hide(), BACK_AGAIN_MS);
  }

  /** Takes the banner away. */
  hide() {
    clearTimeout(this.timer);
    this.holder.hidden = true;
    setText(this.text, '');
  }
}

/** Speaks politely through a live region; what comes in one breath is said together. */
export class Announcer {
  /** @param {HTMLElement} region */
  constructor(region) {
    this.region = region;
    /** @type {string[]} */
    this.waiting = [];
  }

  /** @param {string} text */
  say(text) {
    this.waiting.push(text);
    if (this.waiting.length > 1) return;
    setTimeout(() => {
      this.region.replaceChildren(...this.waiting.map((line) => el('p', {}, line)));
      this.waiting = [];
    }, 400);
  }
}
