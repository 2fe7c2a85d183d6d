// The room page: the way in, the call, and what stands in its place when there is none. One of three
// screens is seen at a time.

import { Call } from '../index.js';
import { CallScreen } from './callscreen.js';
import { Settings, prepareHelp } from './dialogs.js';
import { need } from './dom.js';
import { Announcer, Banner, Toasts } from './feedback.js';
import { OtherTabs, become, becomeNew, userIdFor } from './identity.js';
import { LocalMedia } from './media.js';
import { roomOfPath } from './names.js';
import { noticeFor, showNotice } from './notices.js';
import { recall, recallInTab, rememberInTab } from './preferences.js';
import { Prejoin } from './prejoin.js';
import { AfterCall } from './recording/aftercall.js';
import { Recordings } from './recording/recordings.js';
import { Sound } from './sound.js';

/** @typedef {import('./callscreen.js').Stage} Stage */
/** @typedef {{ notice: string, detail?: string }} Outcome */

const SCREENS = {
  prejoin: need('#prejoin', HTMLElement),
  call: need('#call', HTMLElement),
  notice: need('#notice', HTMLElement),
};

/**
 * Shows one screen and hides the others.
 *
 * @param {keyof typeof SCREENS} name
 */
function showScreen(name) {
  document.body.dataset.screen = name;
  for (const [each, screen] of Object.entries(SCREENS)) screen.hidden = each !== name;
}

/** Runs the page of one room until the document is closed. */
class RoomPage {
  /** @param {string} room */
  constructor(room) {
    this.room = room;
    this.media = new LocalMedia();
    this.sound = new Sound();
    this.tabs = new OtherTabs(room);
    this.recordings = new Recordings();
    this.afterCall = new AfterCall(need('#after-recording', HTMLElement));
    this.stage = this.#stage();
    this.prejoin = new Prejoin(SCREENS.prejoin, room, this.media, (speaker) => this.sound.useSpeaker(speaker));
    this.media.addEventListener('change', () => this.#rememberToggles());
  }

  /** Prejoin, call, what comes after; again and again. */
  async run() {
    // A reload in the middle of a call goes straight back into it, as muted as it was.
    let straight = this.#wasInCall();
    for (;;) {
      const { notice, detail } = straight ? await this.#return() : await this.#enter();
      this.media.close();
      showScreen('notice');
      this.afterCall.show(this.recordings.last);
      await showNotice(SCREENS.notice, notice, { room: this.room, detail });
      // Whatever button was pressed there, it asks for the call itself; the name is known by now.
      straight = true;
    }
  }

  /** @returns {Promise<Outcome>} */
  async #enter() {
    showScreen('prejoin');
    document.title = `Join ${this.room} · Greenroom`;
    void this.media.open();
    const other = this.tabs.find();
    const { name, takeOver } = await this.prejoin.show(other.then((userId) => userId !== null));
    const otherId = await other;
    if (otherId && takeOver) become(this.room, otherId);
    else if (otherId && otherId === userIdFor(this.room)) becomeNew(this.room);
    this.prejoin.waiting();
    return this.#call(name);
  }

  /** @returns {Promise<Outcome>} */
  async #return() {
    showScreen('prejoin');
    this.prejoin.leave();
    this.prejoin.waiting();
    void this.media.open();
    return this.#call(recall('name'));
  }

  /**
   * Joins and stays until the end.
   *
   * @param {string} username
   * @returns {Promise<Outcome>}
   */
  async #call(username) {
    const { media, room } = this;
    const metadata = { audio: media.micOn, video: media.cameraOn, screen: false };
    const call = new Call({ room, username, userId: userIdFor(room), metadata });
    window.greenroomCall = call;
    this.recordings.forget();
    const screen = new CallScreen(SCREENS.call, call, this.stage);
    screen.prepare();
    try {
      await call.join();
      this.tabs.present = call.me?.userId ?? null;
      rememberInTab('in-call', room);
      this.prejoin.leave();
      showScreen('call');
      screen.start();
      const { code, reason } = await screen.ended;
      return { notice: noticeFor([code, reason], 'lost'), detail: detailOf(code, reason) };
    } catch (error) {
      return refused(error);
    } finally {
      this.tabs.present = null;
      rememberInTab('in-call', '');
      this.prejoin.leave();
      this.stage.toasts.clear();
      screen.stop();
    }
  }

  /** @returns {Stage} */
  #stage() {
    const toasts = new Toasts(need('#toasts', HTMLElement));
    let shortcutsOn = true;
    const help = prepareHelp(need('#help', HTMLDialogElement), (on) => (shortcutsOn = on));
    shortcutsOn = help.shortcutsOn;
    const link = need('#link', HTMLDialogElement);
    return {
      room: this.room,
      media: this.media,
      sound: this.sound,
      recordings: this.recordings,
      toasts,
      announcer: new Announcer(need('#live', HTMLElement)),
      banner: new Banner(need('#banner', HTMLElement)),
      settings: new Settings(need('#settings', HTMLDialogElement), this.media, (speaker) => this.sound.useSpeaker(speaker)),
      showHelp: help.show,
      showLink: () => {
        const field = need('input', HTMLInputElement, link);
        field.value = location.origin + location.pathname;
        link.showModal();
        field.select();
      },
      shortcutsOn: () => shortcutsOn,
    };
  }

  /** @returns {boolean} whether this document is a reload of a call */
  #wasInCall() {
    const [visit] = performance.getEntriesByType('navigation');
    // A tab that the browser brings back tomorrow must not switch a camera on by itself.
    const reloaded = visit instanceof PerformanceNavigationTiming && visit.type === 'reload';
    if (!reloaded || recallInTab('in-call') !== this.room || recall('name') === '') return false;
    this.media.wanted = { audio: recallInTab('mic') !== 'off', video: recallInTab('camera') !== 'off' };
    return true;
  }

  #rememberToggles() {
    rememberInTab('mic', this.media.wanted.audio ? '' : 'off');
    rememberInTab('camera', this.media.wanted.video ? '' : 'off');
  }
}

/**
 * @param {unknown} error
 * @returns {Outcome}
 */
function refused(error) {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'other';
  const message = error instanceof Error ? error.message : String(error);
  return { notice: noticeFor([code], 'other'), detail: detailOf(code, message) };
}

/**
 * @param {string | number} code
 * @param {string} reason
 * @returns {string} for support, shown small
 */
function detailOf(code, reason) {
  return reason === '' ? String(code) : `${code}: ${reason}`;
}

async function main() {
  const room = roomOfPath(location.pathname);
  if (room === null || typeof RTCPeerConnection !== 'function') {
    showScreen('notice');
    await showNotice(SCREENS.notice, room === null ? 'bad_room' : 'unsupported', { room });
    return;
  }
  await new RoomPage(room).run();
}

void main();
