// The two panels beside the call, chat and people: one open at a time, opened and closed by their buttons,
// by keys, by their own close button and by Escape.

import { need, setAttribute } from './dom.js';

/** @typedef {'chat' | 'people'} PanelName */

/** Opens and closes the panels and keeps the focus where the person expects it. */
export class Panels {
  /**
   * @param {HTMLElement} screen its attribute `data-panel` names the open panel, for the layout
   * @param {(open: PanelName | null) => void} changed
   * @param {AbortSignal} signal ends it
   */
  constructor(screen, changed, signal) {
    this.screen = screen;
    this.changed = changed;
    /** @type {PanelName | null} */
    this.open = null;
    this.panels = {
      chat: need('#chat', HTMLElement, screen),
      people: need('#people', HTMLElement, screen),
    };
    this.buttons = {
      chat: need('button[data-panel=chat]', HTMLButtonElement, screen),
      people: need('button[data-panel=people]', HTMLButtonElement, screen),
    };
    for (const name of /** @type {PanelName[]} */ (['chat', 'people'])) {
      const close = need('[data-act=close]', HTMLButtonElement, this.panels[name]);
      this.buttons[name].addEventListener('click', () => this.toggle(name), { signal });
      close.addEventListener('click', () => this.show(null), { signal });
      this.panels[name].addEventListener('keydown', (event) => event.key === 'Escape' && this.show(null), { signal });
    }
  }

  /** @param {PanelName} name */
  toggle(name) {
    this.show(this.open === name ? null : name);
  }

  /**
   * Opens one panel and moves the focus into it, or closes the open one and gives the focus back.
   *
   * @param {PanelName | null} name
   */
  show(name) {
    const before = this.open;
    if (name === before) return;
    this.open = name;
    for (const each of /** @type {PanelName[]} */ (['chat', 'people'])) {
      this.panels[each].hidden = each !== name;
      setAttribute(this.buttons[each], 'aria-expanded', each === name ? 'true' : 'false');
    }
    setAttribute(this.screen, 'data-panel', name);
    this.changed(name);
    if (name) need('[data-focus]', HTMLElement, this.panels[name]).focus();
    else if (before) this.buttons[before].focus();
  }
}
