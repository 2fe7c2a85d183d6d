/**
 * What crosses the wire between a page and a node (`GET /ws`, one JSON text frame for each message), and the
 * shapes that the library hands to an application. Types only: nothing here exists at run time.
 *
 * Wire names are snake_case, as sent. Ids are 1–64 characters of `A-Z a-z 0-9 _ -`.
 */

/** What a participant says about itself to the others; any JSON, bounded by the node. */
export type Metadata = Record<string, unknown>;
export type Role = 'moderator' | 'participant';
/** `suspect`: its socket or its node was lost, and its grace runs. */
export type Presence = 'present' | 'suspect';
/** The four things a participant can send. The order of this list is the order of the m-lines. */
export type Slot = 'audio' | 'video' | 'screen' | 'screenAudio';
/** State of the media connection with one participant. */
export type LinkState = 'new' | 'connecting' | 'connected' | 'reconnecting' | 'failed';
export type Quality = 'good' | 'fair' | 'poor' | 'unknown';
export type CallState = 'idle' | 'connecting' | 'joined' | 'reconnecting' | 'left';
export type SignalingState = 'idle' | 'connecting' | 'joined' | 'reconnecting' | 'closed';
/** Answers a command; chosen by the sender, given back by the node. */
export type CommandId = string | number;

export interface WireUser {
  user_id: string;
  username: string;
  role: Role;
  state: Presence;
  metadata: Metadata;
}

/** What a node allows on one connection; other limits may stand beside these. */
export interface Limits {
  message_bytes?: number;
  messages_per_sec?: number;
  messages_burst?: number;
  /** How long a session without a socket is waited for. Unit: ms. */
  grace_ms?: number;
}

/** Where a session begins, or begins again: the whole roster, and what a page must know of the node. */
export interface Roster {
  room_name: string;
  user_id: string;
  session_id: string;
  /** Secret of this session; whoever holds it can resume it, at any node. Opaque. */
  resume_token: string;
  role: Role;
  /** Everyone else. */
  participants: WireUser[];
  ice_servers: RTCIceServer[];
  node_id: string;
  limits?: Limits;
  /** Silence after which a page should ping. Unit: ms. */
  heartbeat_ms: number;
  locked: boolean;
  recording: boolean;
  /** The node is cut off from its cluster: the roster is what it last knew, and people at other nodes follow later. */
  isolated?: boolean;
}

export type RoomJoined = { type: 'RoomJoined'; seq: number } & Roster;
export type Resumed = { type: 'Resumed'; seq: number } & ({ outcome: 'full' } | ({ outcome: 'snapshot' } & Roster));
export interface WireError {
  type: 'Error';
  seq: number;
  code: string;
  message: string;
  id?: CommandId;
  retryable: boolean;
  retry_after_ms?: number;
}

/** What a node sends. Each carries `seq`, which rises by one within a session. */
export type NodeMessage =
  | RoomJoined
  | Resumed
  | WireError
  | { type: 'UserJoined' | 'UserUpdated'; seq: number; room_name: string; user: WireUser }
  | { type: 'UserLeft'; seq: number; room_name: string; user_id: string; reason: LeaveReason }
  | { type: 'RoomState'; seq: number; room_name: string; locked: boolean; recording: boolean }
  | { type: 'Muted'; seq: number; room_name: string; kind: string; by: string }
  | { type: 'Offer' | 'Answer'; seq: number; room_name: string; from_user_id: string; sdp: string }
  | { type: 'IceCandidate'; seq: number; room_name: string; from_user_id: string; candidate: RTCIceCandidateInit | null }
  | { type: 'Message'; seq: number; room_name: string; from_user_id: string; data: unknown }
  | { type: 'Accepted'; seq: number; id: CommandId }
  | { type: 'Draining'; seq: number; reconnect_after_ms: number }
  | { type: 'Pong'; seq: number; id?: CommandId };

export type LeaveReason = 'left' | 'timeout' | 'kicked' | 'replaced';
type Having<M, T> = M extends { type: infer U } ? (T extends U ? M : never) : never;
export type NodeMessageOf<T extends NodeMessage['type']> = Having<NodeMessage, T>;
/** Offer, answer or candidate from one participant. */
export type Signal = NodeMessageOf<'Offer'> | NodeMessageOf<'IceCandidate'>;

/** What a page asks of a node within a room; `SignalingClient.send` adds the `id`. */
export type Command =
  | { type: 'Offer' | 'Answer'; target_user_id: string; sdp: string }
  | { type: 'IceCandidate'; target_user_id: string; candidate: RTCIceCandidateInit | null }
  | { type: 'Message'; data: unknown; target_user_id?: string }
  | { type: 'Update'; metadata: Metadata }
  | { type: 'Kick'; target_user_id: string }
  | { type: 'Lock'; locked: boolean }
  | { type: 'Mute'; target_user_id: string; kind: string };

/** A signal before its receiver is named. */
export type PeerCommand =
  | { type: 'Offer' | 'Answer'; sdp: string }
  | { type: 'IceCandidate'; candidate: RTCIceCandidateInit | null };

export interface JoinOptions {
  room: string;
  /** Default: the id this window had in this room, else one the node makes. */
  userId?: string;
  username?: string;
  metadata?: Metadata;
  /** Only where the node asks for one. */
  token?: string;
}

/**
 * The end of a session, final.
 * `code`: a WebSocket close code (1000 left, 4401 unauthorised, 4403 forbidden or banned, 4409 opened elsewhere,
 * 4410 kicked), or the `code` of the node's error where the way back in was refused (`room_full`).
 */
export interface Ended {
  code: number | string;
  reason: string;
  /** Whether a new `join` by the same person has a chance. */
  mayReturn: boolean;
}

/** Events of `SignalingClient`: each message of the node under its own type, and three of its own. */
export type SignalingEvents = { [T in NodeMessage['type']]: NodeMessageOf<T> } & {
  /** A command was taken by the node, and did not arrive (everywhere): it was lost on its way to another node. */
  undelivered: { type: Command['type']; target?: string; error: import('./errors.js').SignalError };
  state: { state: SignalingState };
  ended: Ended;
};

/** Who this window is in the room. */
export interface Me {
  userId: string;
  username: string;
  role: Role;
  metadata: Metadata;
  sessionId: string;
}

type ParticipantClass = import('./participant.js').Participant;

/** Events of `Call`; each is a `CustomEvent` with this `detail`. */
export interface CallEvents {
  state: { state: CallState };
  /** The roster is complete and current. `full`: nothing was missed; `snapshot`, `joined`: compared anew. */
  joined: { outcome: 'joined' | 'full' | 'snapshot' };
  participant: { kind: 'joined' | 'updated' | 'left'; participant: ParticipantClass; reason?: LeaveReason };
  /** The tracks of `stream` or `screen` changed. */
  media: { participant: ParticipantClass };
  /** `from`: the sender's user id. */
  message: { from: string; data: unknown };
  room: { locked: boolean; recording: boolean };
  /** The node is cut off from its cluster, or no longer: people at other nodes may not be seen, and do not see. */
  isolated: { isolated: boolean };
  /** This participant's own role, name or metadata changed. */
  me: { me: Me };
  /** A moderator asks this participant to mute; the application does it. `by`: user id. */
  muted: { kind: string; by: string };
  /** Something was refused or went wrong, and the call goes on. */
  problem: { code: string; message: string };
  ended: Ended;
}
