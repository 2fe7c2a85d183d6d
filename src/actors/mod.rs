//! Floor 3: actors, thin shells over the rules.
//!
//! ```text
//!  browser ⇄ Connection<PeerSession> ──AskRooms, PostRooms──► RoomManager ──► Registry (port)
//!            (one per socket)        ◄────────ToPeer──────────   │ SendToNode ▲ PostRooms
//!                                                             ClusterBridge ──► Bus, Leases (ports)
//! ```
//! Actors meet only through the [`messages`], as `Recipient`s: none names another's file. A handler takes its message
//! to the domain and performs each effect; it never blocks, awaits or serialises for a crowd. Every mailbox has a
//! bound, and [`mailbox`] says what happens at it.

pub mod accounts;
pub mod assembly_worker;
pub mod chunk_gate;
pub mod cluster_bridge;
pub mod door;
pub mod export_worker;
pub mod frame_guard;
pub mod intake;
pub mod keeper;
pub mod mailbox;
mod merge_turns;
pub mod merge_worker;
pub mod messages;
pub mod peer_session;
mod posters;
pub mod recorder_session;
pub mod recording_events;
pub mod recording_supervisor;
pub mod room_manager;
pub mod secret;
pub mod socket;
mod work_folder;
