// The bar below the call and the line above it: buttons that say what is on, and the menu with the rest.

import { need, setAttribute, setIcon, setText } from './dom.js';

/** @typedef {'audio' | 'video' | 'share' | 'leave' | 'invite' | 'lock' | 'record' | 'settings' | 'help'} Act */

/**
 * @typedef {object} ControlState
 * @property {boolean} micOn
 * @property {boolean} cameraOn
 * @property {boolean} sharing
 * @property {boolean} canShare
 * @property {boolean} micProblem
 * @property {boolean} cameraProblem
 * @property {boolean} moderator
 * @property {boolean} locked
 * @property {boolean} isolated
 * @property {number} people
 * @property {boolean} connected commands reach the node now
 */

/** Shows the state of the call on its buttons; each press goes to the one handler of its act. */
export class Controls {
  /**
   * @param {HTMLElement} screen
   * @param {Record<Act, () => void>} acts
   * @param {AbortSignal} signal ends it
   */
  constructor(screen, acts, signal) {
    this.screen = screen;
    this.menu = need('#more-menu', HTMLElement, screen);
    this.more = need('button[popovertarget=more-menu]', HTMLButtonElement, screen);
    for (const button of screen.querySelectorAll('button[data-act]')) {
      const act = acts[/** @type {Act} */ (button.getAttribute('data-act'))];
      if (!act) continue;
      button.addEventListener(
        'click',
        () => {
          if (this.menu.contains(button)) this.closeMenu();
          act();
        },
        { signal },
      );
    }
    this.menu.addEventListener('toggle', (event) => this.#onMenu(event), { signal });
  }

  /** @param {ControlState} state */
  render(state) {
    this.#toggle('audio', state.micOn, 'mic', state.micProblem, state.micOn ? 'Mute (M)' : 'Unmute (M)');
    this.#toggle('video', state.cameraOn, 'camera', state.cameraProblem, state.cameraOn ? 'Camera off (V)' : 'Camera on (V)');
    for (const button of this.#all('share')) {
      button.hidden = !state.canShare;
      setAttribute(button, 'aria-pressed', state.sharing ? 'true' : 'false');
      setAttribute(button, 'data-tip', state.sharing ? 'Stop sharing (S)' : 'Share your screen (S)');
    }
    for (const button of this.#all('lock')) {
      button.hidden = !state.moderator;
      setAttribute(button, 'aria-pressed', state.locked ? 'true' : 'false');
      setIcon(button, state.locked ? 'lock' : 'unlock');
      setText(need('span', HTMLElement, button), state.locked ? 'Unlock the room' : 'Lock the room');
      button.disabled = !state.connected;
    }
    need('[data-badge=locked]', HTMLElement, this.screen).hidden = !state.locked;
    need('[data-badge=isolated]', HTMLElement, this.screen).hidden = !state.isolated;
    const people = need('button[data-panel=people]', HTMLButtonElement, this.screen);
    setText(need('.count', HTMLElement, people), String(state.people));
    setAttribute(people, 'aria-label', `People, ${state.people} in the call`);
  }

  /** Closes the menu, if it is open. */
  closeMenu() {
    if (this.menu.matches(':popover-open')) this.menu.hidePopover();
  }

  /**
   * @param {Act} act
   * @param {boolean} on
   * @param {string} picture
   * @param {boolean} problem
   * @param {string} tip
   */
  #toggle(act, on, picture, problem, tip) {
    for (const button of this.#all(act)) {
      setAttribute(button, 'aria-pressed', on ? 'true' : 'false');
      setAttribute(button, 'data-problem', problem);
      setAttribute(button, 'data-tip', tip);
      setIcon(button, on ? picture : `${picture}-off`);
    }
  }

  /**
   * @param {Act} act
   * @returns {NodeListOf<HTMLButtonElement>}
   */
  #all(act) {
    return this.screen.querySelectorAll(`button[data-act=${act}]`);
  }

  /** @param {Event} event */
  #onMenu(event) {
    const open = /** @type {ToggleEvent} */ (event).newState === 'open';
    setAttribute(this.more, 'aria-expanded', open ? 'true' : 'false');
    if (!open) return;
    // The first that is seen: some entries are for narrow windows only.
    const first = [...this.menu.querySelectorAll('button')].find((button) => button.checkVisibility());
    first?.focus();
  }
}
