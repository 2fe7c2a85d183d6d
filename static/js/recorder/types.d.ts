/**
 * What crosses `/recording` between a page and a node, and the shapes that the recorder hands to an application. Types
 * only. Wire names are camelCase, as sent.
 */

/** Where chunks wait. `memory` survives nothing. */
export type StorageKind = 'opfs' | 'indexeddb' | 'memory';
export type RecorderState = 'idle' | 'recording' | 'paused' | 'stopping' | 'finalising' | 'ready' | 'failed';
/** `waiting`: for the next attempt to connect. */
export type ConnectionState = 'connecting' | 'open' | 'waiting' | 'closed';

/** What is known of a recording here, across visits. */
export interface RecordingMeta {
  /** Its name in browser storage. */
  key: string;
  /** Given by the node; null until it answered. */
  recordId: string | null;
  /** Secret: whoever holds it can add to the recording. */
  uploadToken: string | null;
  shelf: StorageKind;
  title?: string;
  room?: string;
  owner?: string;
  mimeType: string;
  /** Unit: ms since 1970. */
  startedAt: number;
  /** At least so many indices are given and bytes recorded; chunks that are still stored may say more. */
  nextIndex: number;
  bytesRecorded: number;
}

/** A stored chunk. */
export interface Piece {
  index: number;
  /** Bytes of payload recorded up to and with this one. */
  end: number;
  /** Of its payload. */
  bytes: number;
  /** When it was recorded. Unit: ms since 1970. */
  at: number;
}

/** A recording of an earlier visit that this browser still holds chunks of. */
export interface Leftover extends RecordingMeta {
  /** Not acknowledged by the node. */
  chunks: number;
  /** Of those chunks. */
  bytes: number;
  /** When the last of them was recorded. Unit: ms since 1970. */
  last: number;
}

export interface Counts {
  /** Chunks that have an index. */
  recorded: number;
  /** Chunks that browser storage has or had. */
  stored: number;
  /** Chunks that were sent at least once. */
  sent: number;
  /** Chunks that the node holds durably. */
  acked: number;
  bytesRecorded: number;
  bytesAcked: number;
  /** Recorded and not acknowledged. */
  waiting: number;
}

export interface Started {
  type: 'started';
  recordId: string;
  uploadToken: string;
  nextIndex: number;
  missing: number[];
  limits: { maxChunkBytes: number; maxInFlight: number; maxDurationMs?: number };
  graceMs: number;
  state: 'recording' | 'finalising' | 'ready' | 'failed';
  /** Without merging chunks are saved all the same. */
  merging?: 'available' | 'unavailable';
}

export interface RecordingReady {
  type: 'recordingReady';
  recordId: string;
  key: string;
  downloadUrl: string;
  posterUrl?: string | null;
  durationMs: number;
  sizeBytes: number;
  mimeType: string;
  sha256: string | null;
  /** False: `gaps` are missing from it. */
  complete: boolean;
  gaps: { fromMs: number; toMs: number; chunks: number[] }[];
  version: number;
}

export interface RecordingError {
  type: 'recordingError';
  recordId?: string;
  code: string;
  error: string;
  missingChunks?: number[];
  totalExpected?: number;
  retryable: boolean;
  retryAfterMs?: number;
}

export interface ChunkError {
  type: 'chunkError';
  recordId?: string;
  index?: number;
  code: string;
  error: string;
  retryable: boolean;
  retryAfterMs?: number;
}

export type RecordingMessage =
  | Started
  | RecordingReady
  | RecordingError
  | ChunkError
  | { type: 'chunkAck'; recordId: string; index: number; status: 'success' }
  | { type: 'finished'; recordId: string; chunks: number }
  | { type: 'mergeProgress'; recordId: string; percent: number };

/** Something went wrong. `fatal`: nothing more is sent, and what was not acknowledged stays in browser storage. */
export interface Trouble {
  code: string;
  message: string;
  fatal: boolean;
  /** The recording stops by itself: the node takes no more of it, and makes a video of what it has. */
  ends?: boolean;
  /** Where it is about one chunk. */
  index?: number;
  /** With `recording_over`: the node has everything that was recorded until then. */
  saved?: boolean;
  /** With `chunks_missing`: what the node lacks. */
  missing?: number[];
}

export interface StorageReport {
  kind: StorageKind;
  /** Unit: bytes. Undefined where the browser does not tell. */
  usage?: number;
  quota?: number;
  /** Whether the browser may clear it by itself when the disk is full; ask with `navigator.storage.persist()`. */
  persisted: boolean;
  /** More than 80 % of the quota is used. */
  nearFull: boolean;
}

/** Events of an upload, which `Recorder` passes on. */
export interface UploadEvents {
  connection: { state: ConnectionState; retryInMs?: number };
  started: Started;
  /** One more chunk was sent for the first time, or acknowledged. */
  moved: {};
  finished: { chunks: number };
  progress: { percent: number };
  ready: RecordingReady;
  error: Trouble;
}

/** Events of `Recorder`; each is a `CustomEvent` with this `detail`. */
export interface RecorderEvents {
  state: { state: RecorderState };
  counts: Counts;
  connection: { state: ConnectionState; retryInMs?: number };
  /** The node took the recording (again, after each lost connection). */
  started: Started;
  progress: { percent: number };
  ready: RecordingReady;
  error: Trouble;
  /** A track ended by itself: "Stop sharing", or a device that was unplugged. */
  'ended-track': { kind: string; label: string };
  storage: StorageReport;
}
