/** What `GET /api/cluster` answers, and what the status page makes of it. Types only. */

export interface ClusterNode {
  node_id: string;
  /** Which life of the node; rises with each. */
  incarnation: number;
  state: 'live' | 'draining' | 'dead';
  /** Unit: ms. */
  lease_left_ms: number;
  sessions: number;
}

export interface ClusterParticipant {
  user_id: string;
  username: string;
  state: 'present' | 'suspect';
  node_id: string;
}

export interface ClusterRoom {
  room_name: string;
  locked: boolean;
  participants: ClusterParticipant[];
}

export interface ClusterPicture {
  /** Who answers. */
  node_id: string;
  mode: 'local' | 'cluster' | 'isolated';
  nodes: ClusterNode[];
  rooms: ClusterRoom[];
  /** There are more rooms than these. */
  truncated: boolean;
}

/** `gone`: it is not listed any more. */
export type NodeState = ClusterNode['state'] | 'gone';

export interface Column {
  id: string;
  state: NodeState;
  /** null: of a node that is known by its participants only. */
  incarnation: number | null;
  /** Unit: ms. */
  leaseLeftMs: number;
  /** Of the longest lease that was seen, 0 to 1. */
  leaseShare: number;
  sessions: number;
}

/** What is different between two pictures. */
export interface Changes {
  nodes: NodeChange[];
  participants: ParticipantChange[];
}
export interface NodeChange {
  kind: 'came' | 'restarted' | 'draining' | 'died' | 'revived' | 'cleared' | 'stopped' | 'vanished';
  node: string;
}
export interface ParticipantChange {
  kind: 'joined' | 'suspect' | 'returned' | 'left' | 'lost' | 'moved';
  /** Where it was, or is if it has joined. */
  node: string;
  /** Where it has moved to. */
  to?: string;
  room: string;
  name: string;
}

/** A part of a line of the log: our own words, or a name that others chose. */
export type Part = string | { name: string };
export interface Line {
  tone: 'good' | 'info' | 'warning' | 'danger';
  parts: Part[];
}
