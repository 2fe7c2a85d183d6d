// What a person does in a call, from the buttons and from the keys.

import { confirm } from './dialogs.js';
import { need } from './dom.js';
import { invite } from './invite.js';
import { explainBriefly } from './words.js';

/** @typedef {import('./callscreen.js').Scene} Scene */
/** @typedef {import('./people.js').Person} Person */

/** Carries out what the person wants and says so where it cannot be seen. */
export class Acts {
  /**
   * @param {Scene} scene
   * @param {import('./tiles.js').Tiles} tiles
   * @param {() => void} left the person leaves the call
   */
  constructor(scene, tiles, left) {
    this.scene = scene;
    this.tiles = tiles;
    this.left = left;
  }

  /** @returns {Record<import('./controls.js').Act, () => void>} */
  byName() {
    return {
      audio: () => void this.toggle('audio'),
      video: () => void this.toggle('video'),
      share: () => void this.share(),
      leave: () => this.leave(),
      invite: () => void this.invite(),
      lock: () => void this.lock(),
      record: () => void this.record(),
      settings: () => this.scene.settings.show(),
      help: () => this.scene.showHelp(),
    };
  }

  /**
   * Turns the microphone or the camera on or off.
   *
   * @param {'audio' | 'video'} kind
   */
  async toggle(kind) {
    const { media, toasts, announcer } = this.scene;
    const on = kind === 'audio' ? media.micOn : media.cameraOn;
    await media.set(kind, !on);
    const problem = media.problems[kind];
    if (!on && problem) return toasts.show(explainBriefly(problem, kind), { tone: 'problem' });
    announcer.say(`${kind === 'audio' ? 'Microphone' : 'Camera'} ${on ? 'off' : 'on'}`);
  }

  /** Begins or ends screen sharing. */
  async share() {
    const { media, toasts, announcer } = this.scene;
    if (!media.canShareScreen) return;
    if (media.screen) {
      media.stopScreen();
      return announcer.say('Screen sharing ended');
    }
    const outcome = await media.shareScreen();
    if (outcome === 'shared') announcer.say('You are sharing your screen');
    if (outcome === 'failed') toasts.show('The screen could not be shared. Check that the system lets this browser record the screen, then try again.', { tone: 'problem' });
  }

  /** Leaves, without asking: coming back is one press. */
  leave() {
    // What was recorded is sent from the page that comes now.
    this.scene.recordings.leave();
    this.scene.call.leave();
    this.left();
  }

  /** Hands out the invite link. */
  async invite() {
    const { room, toasts, showLink } = this.scene;
    const outcome = await invite(room);
    if (outcome === 'copied') toasts.show('Invite link copied. Send it to whoever should join.', { icon: 'check' });
    if (outcome === 'failed') showLink();
  }

  /** Locks or unlocks the room. */
  async lock() {
    const { call } = this.scene;
    await this.#try(call.lock(!call.locked), 'The room could not be ' + (call.locked ? 'unlocked.' : 'locked.'));
  }

  /** Records the call, after a question, or ends the recording. */
  record() {
    return this.scene.recordings.toggle(this.scene, this.tiles);
  }

  /**
   * Asks somebody's page to mute.
   *
   * @param {Person} person
   * @param {'audio' | 'video'} kind
   */
  async mute(person, kind) {
    const { call, toasts } = this.scene;
    const done = await this.#try(call.mute(person.id, kind), `${person.name} could not be muted.`);
    if (done) toasts.show(kind === 'audio' ? `${person.name} is asked to mute.` : `${person.name} is asked to turn off the camera.`);
  }

  /**
   * Removes somebody, after a question.
   *
   * @param {Person} person
   */
  async remove(person) {
    const { call } = this.scene;
    const sure = await confirm(need('#confirm', HTMLDialogElement), {
      title: `Remove ${person.name}?`,
      text: 'They leave the call at once. To keep others out as well, lock the room.',
      yes: 'Remove',
    });
    if (sure) await this.#try(call.kick(person.id), `${person.name} could not be removed.`);
  }

  /**
   * @param {Promise<unknown>} command
   * @param {string} failure
   * @returns {Promise<boolean>} whether the node took the command
   */
  async #try(command, failure) {
    try {
      await command;
      return true;
    } catch (error) {
      this.scene.toasts.show(`${failure} ${whyNot(error)}`, { tone: 'problem' });
      return false;
    }
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
function whyNot(error) {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'forbidden') return 'Only the moderator may do that.';
  if (code === 'not_joined' || code === 'unreachable' || code === 'outcome_unknown') return 'You are not connected; try again in a moment.';
  if (code === 'rate_limited') return 'That was too often; wait a moment.';
  return 'Try again.';
}
