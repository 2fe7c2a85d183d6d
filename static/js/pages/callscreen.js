// One call on screen, from joining to its end. It joins the parts together; the rules of each part, and what
// is said and done, are in their own files.

import { Acts } from './acts.js';
import { boundSenders, captureFor, smallVideoAsked } from './capture.js';
import { Chat, showUnread } from './chat.js';
import { Controls } from './controls.js';
import { need, setText } from './dom.js';
import { tellHappenings } from './happenings.js';
import { LevelMeter } from './level.js';
import { inviteLink } from './names.js';
import { Outbound } from './outbound.js';
import { Panels } from './panels.js';
import { People } from './people.js';
import { RecordButton } from './recording/recordbutton.js';
import { Roster } from './roster.js';
import { listenForKeys } from './shortcuts.js';
import { Sound } from './sound.js';
import { watchSpeaking } from './speaking.js';
import { Tiles } from './tiles.js';
import { keepAwake } from './wakelock.js';

/** @typedef {import('../index.js').Call} Call */
/** @typedef {import('../types.d.ts').Ended} Ended */
/**
 * What outlives a call on the room page.
 *
 * @typedef {object} Stage
 * @property {string} room
 * @property {import('./media.js').LocalMedia} media
 * @property {Sound} sound
 * @property {import('./feedback.js').Toasts} toasts
 * @property {import('./feedback.js').Announcer} announcer
 * @property {import('./feedback.js').Banner} banner
 * @property {import('./dialogs.js').Settings} settings
 * @property {import('./recording/recordings.js').Recordings} recordings
 * @property {() => void} showHelp
 * @property {() => void} showLink for copying by hand
 * @property {() => boolean} shortcutsOn
 */
/** What the parts of one call share. @typedef {Stage & { call: Call, people: People }} Scene */

/** How loud this person's own microphone is when they speak, 0 to 1. */
const OWN_VOICE = 0.55;

/** The screen of one call. */
export class CallScreen {
  /**
   * @param {HTMLElement} screen
   * @param {Call} call not joined yet, so that nothing it tells is missed
   * @param {Stage} stage
   */
  constructor(screen, call, stage) {
    /** @type {Scene} */
    this.scene = { ...stage, call, people: new People(call, stage.media) };
    this.screen = screen;
    this.over = new AbortController();
    this.drawing = 0;
    this.ownLevel = 0;
    this.bounded = '';
    this.meter = new LevelMeter((level) => (this.ownLevel = level));
    /** @type {(ended: Ended) => void} */
    this.finish = () => {};
    /** @type {Promise<Ended>} settles when the call is over, however that came */
    this.ended = new Promise((resolve) => (this.finish = resolve));
    this.outbound = new Outbound(call, stage.media, () => {
      stage.toasts.show('Your camera or microphone could not be sent. Turn it off and on again.', { tone: 'problem' });
    });

    const { signal } = this.over;
    const part = (/** @type {string} */ selector) => need(selector, HTMLElement, screen);
    const chatButton = need('button[data-panel=chat]', HTMLButtonElement, screen);
    this.tiles = new Tiles(part('#floor'), part('#stage'), part('#grid'), part('#alone'));
    const acts = new Acts(this.scene, this.tiles, () => this.finish({ code: 1000, reason: 'left', mayReturn: true }));
    this.roster = new Roster(part('#people'), {
      mute: (person, kind) => void acts.mute(person, kind),
      remove: (person) => void acts.remove(person),
    });
    this.chat = new Chat(part('#chat'), {
      send: (data) => call.sendMessage(data),
      nameOf: (userId) => this.scene.people.nameOf(userId),
      unread: (count) => showUnread(chatButton, count),
      say: (text) => stage.announcer.say(text),
    });
    this.panels = new Panels(screen, (open) => open === 'chat' && this.chat.opened(), signal);
    this.controls = new Controls(screen, acts.byName(), signal);
    this.recordButton = new RecordButton(screen);
    this.#listen(acts.byName());
  }

  /** Sends what is on already, so that others see it from the first moment. */
  prepare() {
    this.outbound.sync();
  }

  /** Shows the call; called once, after it was joined. */
  start() {
    const { room, call, announcer, media } = this.scene;
    const title = need('[data-part=room]', HTMLElement, this.screen);
    setText(title, room);
    title.focus();
    need('[data-part=link]', HTMLInputElement, this.screen).value = inviteLink(room);
    document.title = `${room} · Greenroom`;
    const speaksNow = () => media.micOn && this.ownLevel > OWN_VOICE;
    this.stops = [keepAwake(), watchSpeaking(call, speaksNow, (speaking) => this.tiles.setSpeaking(speaking))];
    tellHappenings(this.scene, this.over.signal);
    this.outbound.sync();
    this.#draw();
    void this.scene.recordings.goOn(this.scene, this.tiles);
    const others = call.participants.size;
    announcer.say(others === 0 ? 'You are in the call. Nobody else is here yet.' : `You are in the call with ${others} other${others === 1 ? '' : 's'}.`);
  }

  /** Takes everything of this call off the screen. */
  stop() {
    this.over.abort();
    this.scene.recordings.leave();
    cancelAnimationFrame(this.drawing);
    for (const stop of this.stops ?? []) stop();
    this.meter.stop();
    this.panels.show(null);
    this.controls.closeMenu();
    this.scene.sound.stop();
    this.tiles.clear();
    this.roster.clear();
    this.chat.clear();
    this.scene.banner.hide();
  }

  /** @param {Record<import('./controls.js').Act, () => void>} acts */
  #listen(acts) {
    const { call, media, sound, banner, recordings, shortcutsOn } = this.scene;
    const { signal } = this.over;
    for (const type of /** @type {const} */ (['participant', 'media', 'me', 'joined', 'state', 'room', 'isolated'])) {
      call.addEventListener(type, () => this.#drawSoon(), { signal });
    }
    call.addEventListener('message', ({ detail }) => this.chat.receive(detail.from, detail.data), { signal });
    call.addEventListener('ended', ({ detail }) => this.finish(detail), { signal });
    recordings.addEventListener('change', () => this.#drawRecording(), { signal });
    media.addEventListener('change', () => (this.outbound.sync(), this.#drawSoon()), { signal });
    const hear = () => (banner.hide(), void sound.resume());
    sound.addEventListener('blocked', () => banner.show('info', 'Your browser holds the sound back until you click.', { label: 'Hear the others', act: hear }), { signal });
    const keys = { m: acts.audio, v: acts.video, s: acts.share, i: acts.invite, r: acts.record, '?': acts.help };
    listenForKeys({ ...keys, c: () => this.panels.toggle('chat'), p: () => this.panels.toggle('people') }, shortcutsOn, signal);
  }

  /** Draws once for all that changes in one frame. */
  #drawSoon() {
    if (this.drawing !== 0 || this.over.signal.aborted) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.#draw();
    });
  }

  #draw() {
    const { call, media, people, sound } = this.scene;
    const list = people.list();
    this.tiles.sync(list);
    this.roster.sync(list);
    sound.sync(list);
    this.meter.watch(media.micOn ? media.tracks.audio : null);
    this.controls.render({
      micOn: media.micOn,
      cameraOn: media.cameraOn,
      sharing: media.screen !== null,
      canShare: media.canShareScreen,
      micProblem: media.problems.audio !== null,
      cameraProblem: media.problems.video !== null,
      moderator: call.me?.role === 'moderator',
      locked: call.locked,
      isolated: call.isolated,
      people: list.length,
      connected: call.state === 'joined',
    });
    this.scene.recordings.running?.sync(list);
    this.#drawRecording();
    void this.#fitPicture(list.length);
  }

  #drawRecording() {
    const { call, recordings } = this.scene;
    this.recordButton.render({ mine: recordings.running !== null, ms: recordings.running?.watch.ms ?? 0, anyone: call.recording });
  }

  /**
   * Sends a picture that suits the number of people.
   *
   * @param {number} count
   */
  async #fitPicture(count) {
    const { call, media } = this.scene;
    const capture = captureFor(count, smallVideoAsked());
    await media.fit(capture);
    const connections = [...call.participants.values()].map(({ peer }) => peer?.pc).filter((pc) => pc !== null && pc !== undefined);
    await boundSenders(connections, media, capture);
  }
}
