// What a call tells, in words: who came and went, what the moderator did, what became of the connection.

/** @typedef {import('./callscreen.js').Scene} Scene */
/** @typedef {import('./media.js').LostDevice} LostDevice */
/** @typedef {import('../types.d.ts').CallEvents} CallEvents */

/**
 * Listens to a call and tells the person.
 *
 * @param {Scene} scene
 * @param {AbortSignal} signal ends it
 */
export function tellHappenings(scene, signal) {
  const { call, media, toasts } = scene;
  const options = { signal };
  const connection = new ConnectionWords(scene);
  call.addEventListener('state', () => connection.render(), options);
  addEventListener('offline', () => connection.render(), options);
  addEventListener('online', () => connection.render(), options);
  call.addEventListener('participant', ({ detail }) => tellParticipant(scene, detail), options);
  call.addEventListener('participant', unconnectedWords(scene), options);
  call.addEventListener('room', roomWords(scene), options);
  if (call.isolated) tellIsolated(scene, { isolated: true });
  call.addEventListener('isolated', ({ detail }) => tellIsolated(scene, detail), options);
  call.addEventListener('me', moderatorWords(scene), options);
  call.addEventListener('muted', ({ detail }) => void obeyMute(scene, detail), options);
  call.addEventListener('problem', ({ detail }) => tellProblem(scene, detail), options);
  media.addEventListener('lost', (event) => tellLost(scene, /** @type {CustomEvent<LostDevice>} */ (event).detail), options);
  media.addEventListener('screen-ended', () => toasts.show('Screen sharing ended.', { icon: 'screen' }), options);
}

/** What the banner says about the connection to the node. */
class ConnectionWords {
  /** @param {Scene} scene */
  constructor(scene) {
    this.scene = scene;
    this.lost = false;
  }

  render() {
    const { call, banner } = this.scene;
    if (call.state === 'reconnecting') {
      this.lost = true;
      banner.show(
        'warning',
        navigator.onLine
          ? 'Connection lost. Reconnecting… Your place is kept for a moment; if this lasts, check your network.'
          : 'You are offline. Check your Wi-Fi or cable: the call goes on by itself when the network is back.',
      );
    } else if (call.state === 'joined' && this.lost) {
      this.lost = false;
      banner.pass('You are connected again.');
    }
  }
}

/**
 * @param {Scene} scene
 * @param {CallEvents['participant']} detail
 */
function tellParticipant({ people, toasts, announcer }, { kind, participant, reason }) {
  const name = people.nameOf(participant.userId);
  if (kind === 'joined') announcer.say(`${name} joined`);
  if (kind !== 'left') return;
  if (reason === 'kicked') return toasts.show(`${name} was removed.`, { icon: 'remove-person' });
  announcer.say(reason === 'timeout' ? `${name} lost the connection and left` : `${name} left`);
}

/**
 * Says once for each participant that no media connection with them can be made.
 *
 * @param {Scene} scene
 * @returns {(event: CustomEvent<CallEvents['participant']>) => void}
 */
function unconnectedWords({ people, toasts }) {
  /** @type {Set<string>} */
  const told = new Set();
  return ({ detail: { participant } }) => {
    const { userId, link, state } = participant;
    if (link !== 'failed' || state === 'suspect' || told.has(userId)) return;
    told.add(userId);
    const name = people.nameOf(userId);
    toasts.show(`No picture or sound from ${name}: a network between you blocks calls. Another network, such as a phone’s, may help.`, { tone: 'problem' });
  };
}

/**
 * @param {Scene} scene
 * @returns {(event: CustomEvent<CallEvents['room']>) => void}
 */
function roomWords(scene) {
  const { call, toasts } = scene;
  let { locked, recording } = call;
  if (recording && !scene.recordings.running) toasts.show('This call is being recorded.', { icon: 'record' });
  return ({ detail }) => {
    if (detail.locked !== locked) {
      toasts.show(detail.locked ? 'The room is locked: nobody else can join.' : 'The room is open again.', { icon: detail.locked ? 'lock' : 'unlock' });
    }
    if (detail.recording !== recording) {
      toasts.show(detail.recording ? recordingWords(scene) : 'Nobody records this call any more.', { icon: 'record' });
    }
    ({ locked, recording } = detail);
  };
}

/**
 * @param {Scene} scene
 * @returns {string} who has begun to record, as far as they have said so
 */
function recordingWords({ call, people, recordings }) {
  if (recordings.running) return 'You are recording this call. Everyone in it sees that.';
  const who = [...call.participants.values()].find(({ metadata }) => metadata?.recording === true);
  return `${who ? people.nameOf(who.userId) : 'Somebody'} is recording this call.`;
}

/**
 * @param {Scene} scene
 * @param {CallEvents['isolated']} detail
 */
function tellIsolated({ toasts }, { isolated }) {
  if (isolated) toasts.show('This server is cut off from the others. People on other servers may be missing until it is back; you need not do anything.', { icon: 'offline' });
  else toasts.show('The servers are together again.', { icon: 'check' });
}

/**
 * @param {Scene} scene
 * @returns {(event: CustomEvent<CallEvents['me']>) => void}
 */
function moderatorWords({ call, toasts }) {
  let role = call.me?.role;
  return ({ detail }) => {
    if (role === 'participant' && detail.me.role === 'moderator') {
      toasts.show('You are the moderator now: you can mute, remove and lock.', { icon: 'people' });
    }
    role = detail.me.role;
  };
}

/**
 * @param {Scene} scene
 * @param {CallEvents['muted']} detail
 */
async function obeyMute({ media, people, toasts }, { kind, by }) {
  if (kind !== 'audio' && kind !== 'video') return;
  if (!(kind === 'audio' ? media.micOn : media.cameraOn)) return;
  await media.set(kind, false);
  const name = people.nameOf(by);
  const done = kind === 'audio' ? `${name} muted your microphone.` : `${name} turned off your camera.`;
  const label = kind === 'audio' ? 'Unmute' : 'Turn on';
  toasts.show(done, { icon: kind === 'audio' ? 'mic-off' : 'camera-off', action: { label, act: () => void media.set(kind, true) } });
}

/**
 * @param {Scene} scene
 * @param {CallEvents['problem']} detail
 */
function tellProblem({ toasts }, { code, message }) {
  if (code === 'peer_unreachable' || code === 'superseded') return;
  if (code === 'undelivered') return toasts.show('Something that you wrote may not have reached everyone.', { tone: 'problem', icon: 'chat' });
  toasts.show(code === 'rate_limited' ? 'That was too much at once; some of it was not sent.' : `Something did not work: ${message}`, { tone: 'problem' });
}

/**
 * @param {Scene} scene
 * @param {LostDevice} lost
 */
function tellLost({ toasts }, { kind, label, recovered }) {
  const what = kind === 'audio' ? 'microphone' : 'camera';
  const named = label === '' ? `Your ${what}` : `The ${what} “${label}”`;
  const now = recovered ? `Another ${what} is used now.` : kind === 'audio' ? 'Nobody hears you: choose another one in the settings.' : 'Others see your initials now.';
  toasts.show(`${named} is gone. ${now}`, { tone: 'problem', icon: `${kind === 'audio' ? 'mic' : 'camera'}-off` });
}
