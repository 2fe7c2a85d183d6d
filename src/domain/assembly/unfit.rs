//! Why a recording is none of the assembler's.

use serde::{Deserialize, Serialize};

use crate::domain::media::ReadError;

/// What the assembler cannot do; ffmpeg does all of it. The assembler stays at this and says it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unfit {
    /// A segment begins as another kind of file, or as none.
    #[error("a segment is neither Matroska nor MP4")]
    NotMedia,
    /// One segment is Matroska and another MP4.
    #[error("segments are of different kinds")]
    Mixed,
    /// Chunks of a segment came whose beginning did not.
    #[error("the beginning of a segment is missing")]
    NoBeginning,
    /// A segment is over, and its header is not.
    #[error("the header of a segment does not end")]
    NoHeader,
    /// A header says what cannot be, or not be passed on.
    #[error("{0}")]
    Header(String),
    /// A segment counts its time in something else than milliseconds.
    #[error("a segment does not count milliseconds")]
    Scale,
    /// A track goes on in another codec, or in a way that the first header does not describe.
    #[error("a track goes on as {to}, it was {from}")]
    TrackChanged {
        /// As it began.
        from: String,
        /// As it goes on.
        to: String,
    },
    /// A later segment has a track more than the first one with packets.
    #[error("a track of {0} appears that was not there from the beginning")]
    TrackAppeared(String),
    /// Times step back further than the codec allows.
    #[error("times fall")]
    TimesFall,
    /// From one packet to the next an hour passes, or more time than a file can hold.
    #[error("times jump by more than an hour")]
    TimesJump,
    /// Something that has to be held whole is larger than may be held.
    #[error("{0}")]
    TooLarge(String),
    /// A block cannot be put together as it was taken apart.
    #[error("a block contradicts itself")]
    Block,
    /// A fragment does not hold together, or not as fragments are put together here.
    #[error("{0}")]
    Fragment(String),
    /// What was written before is not there any more, or is something else.
    #[error("the file cannot be read back")]
    Unread,
    /// There is more of something than is kept track of.
    #[error("too many {0}")]
    TooMany(String),
    /// Decoding can begin nowhere.
    #[error("there are pictures, but none that decoding can begin at")]
    NoKeyframe,
    /// There is not one packet.
    #[error("it has a header, but not one picture and no sound")]
    Empty,
    /// A chunk came that is not the next one.
    #[error("a chunk came out of order")]
    OutOfOrder,
    /// What was written is not what came: a bug of ours.
    #[error("{written} packets of a track were written, {came} came")]
    NotProven {
        /// Into the file.
        written: u64,
        /// From the recorder.
        came: u64,
    },
}

impl Unfit {
    pub(super) fn times_of_fragment() -> Self {
        Self::Fragment("the times of a fragment do not follow from each other".into())
    }
}

impl From<ReadError> for Unfit {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotMedia(_) => Self::NotMedia,
            ReadError::TooLarge { .. } | ReadError::TooMany { .. } => Self::TooLarge(error.to_string()),
        }
    }
}
