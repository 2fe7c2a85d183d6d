/**
 * Greenroom's browser library: rooms, peers and their media over a Greenroom node. See README.md beside this file.
 *
 * Start with `Call`. `SignalingClient` alone is for applications that bring their own media; `PeerLink` is what `Call`
 * keeps for each participant.
 * @module
 */
export { Call } from './call.js';
export { SignalError } from './errors.js';
export { Participant } from './participant.js';
export { PeerLink, SLOTS } from './peer.js';
export { SignalingClient } from './signaling.js';

/** @typedef {import('./types.d.ts').CallEvents} CallEvents */
/** @typedef {import('./types.d.ts').CallState} CallState */
/** @typedef {import('./types.d.ts').Ended} Ended */
/** @typedef {import('./types.d.ts').LinkState} LinkState */
/** @typedef {import('./types.d.ts').Me} Me */
/** @typedef {import('./types.d.ts').Metadata} Metadata */
/** @typedef {import('./types.d.ts').Quality} Quality */
/** @typedef {import('./types.d.ts').Slot} Slot */
