// The library page: the list, what is searched for, and the recording that is opened.

import { confirm } from '../dialogs.js';
import { need, setText } from '../dom.js';
import { Announcer, Toasts } from '../feedback.js';
import { copy } from '../invite.js';
import { counted } from '../figures.js';
import { recordingLink, titleOf } from '../playback.js';
import { deleteRecording, listRecordings } from './api.js';
import { Cards } from './cards.js';
import { Watch } from './watch.js';
import { isLive, refusalWords } from './words.js';

/** @typedef {import('../playback.js').Recording} Recording */

const PAGE = 24;
/** As many as the node gives in one answer. */
const LIST_MAX = 100;
const TYPING_MS = 250;
const LIVE_MS = 2500;
const CALM_MS = 30_000;

/** The page, until it is closed. */
class Library {
  constructor() {
    const dialog = need('#watch', HTMLDialogElement);
    this.pageToasts = new Toasts(need('#toasts', HTMLElement));
    this.dialogToasts = new Toasts(need('.toasts', HTMLElement, dialog));
    this.announcer = new Announcer(need('#live', HTMLElement));
    this.find = need('[data-part=find]', HTMLFormElement);
    this.search = need('#q', HTMLInputElement);
    this.state = need('#state', HTMLSelectElement);
    this.problem = need('[data-part=problem]', HTMLElement);
    this.empty = need('[data-part=empty]', HTMLElement);
    this.more = need('[data-act=more]', HTMLButtonElement);
    const acts = {
      open: (/** @type {Recording} */ recording) => this.#open(recording),
      copyLink: (/** @type {Recording} */ recording) => void this.#copyLink(recording),
      remove: (/** @type {Recording} */ recording) => void this.#remove(recording),
    };
    this.cards = new Cards(need('[data-part=list]', HTMLElement), acts);
    this.watch = new Watch(dialog, { ...acts, closed: (id) => this.#closed(id), failed: (error) => this.toasts.show(`There is no MP4 yet. ${refusalWords(error)}`, { tone: 'problem' }) });
    /** @type {Recording[]} */
    this.recordings = [];
    /** @type {string | undefined} */
    this.next = undefined;
    this.timer = 0;
    /** Answers to an older question are thrown away. */
    this.asking = new AbortController();
    this.#listen();
  }

  /** @returns {Toasts} where they are seen: nothing beside an open dialog is */
  get toasts() {
    return this.watch.dialog.open ? this.dialogToasts : this.pageToasts;
  }

  /** Shows what the address asks for. */
  async open() {
    const query = new URLSearchParams(location.search);
    this.search.value = query.get('q') ?? '';
    this.state.value = query.get('state') ?? '';
    if (this.state.selectedIndex < 0) this.state.value = '';
    this.cards.wait();
    const asked = query.get('recording');
    if (asked) void this.watch.show(asked);
    await this.#load();
  }

  #listen() {
    let typing = 0;
    this.find.addEventListener('submit', (event) => (event.preventDefault(), void this.#seek()));
    this.search.addEventListener('input', () => {
      clearTimeout(typing);
      typing = window.setTimeout(() => void this.#seek(), TYPING_MS);
    });
    this.state.addEventListener('change', () => void this.#seek());
    this.more.addEventListener('click', () => void this.#loadMore());
    new IntersectionObserver(([entry]) => entry?.isIntersecting && void this.#loadMore()).observe(this.more);
    need('[data-act=again]', HTMLButtonElement).addEventListener('click', () => void this.#load());
    document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(this.timer) : void this.#load()));
    addEventListener('online', () => void this.#load());
    addEventListener('popstate', () => this.#followAddress());
  }

  /** Another search: the address keeps it, so that a reload shows the same. */
  async #seek() {
    const url = new URL(location.href);
    for (const [key, value] of [['q', this.search.value.trim()], ['state', this.state.value]]) {
      if (value) url.searchParams.set(String(key), value);
      else url.searchParams.delete(String(key));
    }
    history.replaceState(history.state, '', url);
    this.recordings = [];
    await this.#load();
    this.announcer.say(this.recordings.length === 0 ? 'Nothing found.' : `${counted(this.recordings.length, 'recording')}${this.next ? ' and more' : ''}.`);
  }

  /** Asks for what is shown once more, and for more where that is too little. */
  async #load() {
    clearTimeout(this.timer);
    this.asking.abort();
    const asking = (this.asking = new AbortController());
    const limit = Math.min(LIST_MAX, Math.max(PAGE, this.recordings.length));
    try {
      const { recordings, next } = await listRecordings({ ...this.#query(), limit }, asking.signal);
      // Beyond what one answer holds, the rest stays as it was.
      const rest = recordings.length === limit ? this.recordings.slice(limit) : [];
      this.recordings = [...recordings, ...rest.filter(({ recordId }) => !recordings.some((one) => one.recordId === recordId))];
      if (rest.length === 0) this.next = next;
      this.problem.hidden = true;
      this.#render();
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#complain(error);
    }
    this.#again();
  }

  async #loadMore() {
    const cursor = this.next;
    if (!cursor || this.more.disabled) return;
    this.more.disabled = true;
    try {
      const { recordings, next } = await listRecordings({ ...this.#query(), cursor, limit: PAGE });
      const known = new Set(this.recordings.map(({ recordId }) => recordId));
      this.recordings.push(...recordings.filter(({ recordId }) => !known.has(recordId)));
      this.next = next;
    } catch (error) {
      this.toasts.show(`More could not be loaded. ${refusalWords(error)}`, { tone: 'problem' });
    }
    this.more.disabled = false;
    this.#render();
  }

  /** @returns {{ q: string, state: string }} */
  #query() {
    return { q: this.search.value.trim(), state: this.state.value };
  }

  /** While something is recorded or put together the list follows it; else it looks now and then. */
  #again() {
    clearTimeout(this.timer);
    if (document.hidden) return;
    const live = this.recordings.some(isLive) && this.problem.hidden;
    this.timer = window.setTimeout(() => void this.#load(), live ? LIVE_MS : CALM_MS);
  }

  #render() {
    this.cards.sync(this.recordings);
    for (const recording of this.recordings) if (recording.recordId === this.watch.shown) this.watch.update(recording);
    this.more.hidden = !this.next;
    this.#renderEmpty();
  }

  #renderEmpty() {
    const { q, state } = this.#query();
    const sought = q !== '' || state !== '';
    this.empty.hidden = this.recordings.length > 0;
    const part = (/** @type {string} */ name) => need(`[data-part=${name}]`, HTMLElement, this.empty);
    setText(part('empty-title'), sought ? 'Nothing found' : 'No recordings yet');
    setText(part('empty-text'), sought ? 'No recording has that in its title or room, or is in that state.' : 'What you record, alone or in a call, is kept here: to watch again, to download, to pass on.');
    const act = part('empty-act');
    setText(act, sought ? 'Show all recordings' : 'Make a recording');
    act.setAttribute('href', sought ? '/library' : '/recorder');
  }

  /** @param {unknown} error */
  #complain(error) {
    if (this.recordings.length === 0) this.cards.sync([]);
    this.empty.hidden = true;
    setText(need('[data-part=problem-text]', HTMLElement, this.problem), `The recordings could not be loaded. ${refusalWords(error)}`);
    this.problem.hidden = false;
  }

  /** @param {Recording} recording */
  #open(recording) {
    const url = new URL(location.href);
    url.searchParams.set('recording', recording.recordId);
    history.pushState({ opened: true }, '', url);
    void this.watch.show(recording.recordId, recording);
  }

  /** @param {string} recordId */
  #closed(recordId) {
    this.dialogToasts.clear();
    this.cards.focus(recordId);
    const url = new URL(location.href);
    if (!url.searchParams.has('recording')) return;
    if (history.state?.opened) return history.back();
    url.searchParams.delete('recording');
    history.replaceState(null, '', url);
  }

  /** The way back closes what was opened. */
  #followAddress() {
    const asked = new URLSearchParams(location.search).get('recording');
    if (asked && asked !== this.watch.shown) void this.watch.show(asked, this.recordings.find(({ recordId }) => recordId === asked));
    if (!asked && this.watch.shown) this.watch.dialog.close();
  }

  /** @param {Recording} recording */
  async #copyLink(recording) {
    const link = recordingLink(recording.recordId);
    if (await copy(link)) this.toasts.show('Link copied.', { icon: 'check' });
    else this.toasts.show(`This browser does not let the page copy. The link is ${link}`);
  }

  /** @param {Recording} recording */
  async #remove(recording) {
    const name = titleOf(recording);
    const sure = await confirm(need('#confirm', HTMLDialogElement), {
      title: `Delete “${name}”?`,
      text: 'It is deleted from the server, and its link stops working for everyone. This cannot be undone.',
      yes: 'Delete',
    });
    if (!sure) return;
    try {
      await deleteRecording(recording.recordId);
    } catch (error) {
      return this.toasts.show(`“${name}” could not be deleted. ${refusalWords(error)}`, { tone: 'problem' });
    }
    this.recordings = this.recordings.filter(({ recordId }) => recordId !== recording.recordId);
    if (this.watch.shown === recording.recordId) this.watch.dialog.close();
    this.#render();
    this.toasts.show(`“${name}” was deleted.`, { icon: 'trash' });
  }
}

void new Library().open();
