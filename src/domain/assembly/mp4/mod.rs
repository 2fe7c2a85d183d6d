//! An MP4 file that is written while it comes, and is a plain one in the end.
//!
//! ```text
//!  while it comes:  ftyp │ free, 16 bytes │ moov for fragments │ moof mdat │ moof mdat │ free mdat …
//!  in the end:      ftyp │ mdat: all of this, as far as the tables ………………………………………………………… │ moov with tables
//!                              └ patched last of all
//! ```
//! A fragment's data are written as they come, behind a free box of the size that its description will have. With its last
//! byte the description takes the place of the free box; where the rest is missing it is never written. So nothing of the
//! media is held, and behind `settled()` nothing changes.
//!
//! The tables are made at the end of the fragments' own descriptions, which are read back from the file: nothing that grows
//! with the recording has to be remembered (decision 21).
//!
//! What it is not: a muxer. Samples are copied as they are, between the borders that their recorder gave them.
//!
//! Next: `incoming` (one segment's fragments), `fragments` (the file), `movie` and `moof` (what is written of tracks and of
//! samples), `tables` (the end), `prover` (the file read back).

mod boxes;
mod fragments;
mod incoming;
mod moof;
mod movie;
mod prover;
mod tables;

pub use self::{
    fragments::Fragments,
    incoming::{Incoming, Surroundings},
    prover::FragmentProver,
};

#[cfg(test)]
#[path = "mp4_tests.rs"]
mod tests;
