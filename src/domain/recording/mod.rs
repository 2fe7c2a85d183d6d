//! The account of one recording: what came, what is missing, who records, what is due, and who may finalise.
//!
//! ```text
//!             stop, nothing missing                 claim           published        settled
//!  recording ─────────────────────────► finalising ───────► (claimed) ──────► ready ─────────► ready ──► forgotten
//!      ▲   └── deadline passed ───────────►│                    │ cannot be made (claimed)
//!      │                                   │                    ▼
//!      └────── its recorder is back ───────┴──── (not stopped) ── failed
//! ```
//! **Deadlines instead of bookkeeping.** A recording has one deadline. Whoever serves its recorder keeps pushing it; a
//! lost socket sets it to the end of the grace; a node that died simply no longer pushes. What is due is claimed under
//! a new fence, so a closed browser and a killed node are one path. A claim has its term too, which whoever works under it
//! keeps pushing: one whose node died is claimed anew, and whatever was done under it stands or is done again.
//!
//! What it is not: it holds no bytes and does nothing by itself. It is the truth that nodes share: one lock around it in
//! memory is a ledger, and a script on a server that keeps to it is one too. Time comes in, from the ledger's own clock.

mod finished;
mod manifest;
mod outcome;
mod record;
mod tries;

pub use self::{
    finished::{Finished, VideoFacts},
    manifest::{Fault, Manifest},
    outcome::{Attached, Claim, ClaimedWork, Kept, Noted, Number, Placed, StopRefused, StopTaken, Unplaced},
    record::{
        CAREFUL_FROM, CAUTION_MAX_MS, CAUTION_MS, KEPT_MIN, LATE_STOP_MS, NUMBER_TERM_MS, RecordingRecord,
        RecordingRules, UNHEARD_MAX, caution_ms, kept_for,
    },
    tries::{FIRST_PAUSE, LONGEST_PAUSE, Tries, Trouble},
};
