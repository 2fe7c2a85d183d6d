/**
 * Greenroom's browser library: rooms, peers and their media over a Greenroom node. See README.md beside this file.
 *
 * Start with `Call`. `SignalingClient` alone is for applications that bring their own media; `PeerLink` is what `Call`
 * keeps for each participant. `Recorder` records a stream, and needs no call.
 * @module
 */
export { Call } from './call.js';
export { SignalError } from './errors.js';
export { Participant } from './participant.js';
export { PeerLink, SLOTS } from './peer.js';
export { Leftovers } from './recorder/leftovers.js';
export { Recorder } from './recorder/recorder.js';
export { ChunkStore } from './recorder/store.js';
export { supported } from './recorder/support.js';
export { SignalingClient } from './signaling.js';

/** @typedef {import('./types.d.ts').CallEvents} CallEvents */
/** @typedef {import('./types.d.ts').CallState} CallState */
/** @typedef {import('./types.d.ts').Ended} Ended */
/** @typedef {import('./types.d.ts').LinkState} LinkState */
/** @typedef {import('./types.d.ts').Me} Me */
/** @typedef {import('./types.d.ts').Metadata} Metadata */
/** @typedef {import('./types.d.ts').Quality} Quality */
/** @typedef {import('./types.d.ts').Slot} Slot */
/** @typedef {import('./recorder/types.d.ts').Counts} Counts */
/** @typedef {import('./recorder/types.d.ts').Leftover} Leftover */
/** @typedef {import('./recorder/types.d.ts').RecorderEvents} RecorderEvents */
/** @typedef {import('./recorder/types.d.ts').RecorderState} RecorderState */
/** @typedef {import('./recorder/types.d.ts').RecordingReady} RecordingReady */
