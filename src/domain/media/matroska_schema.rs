//! Which elements are read, and where they have to stand for it. Source: RFC 9559 §5.

use super::{
    ebml,
    matroska_header::{CODEC_PRIVATE_MAX, STRING_MAX},
};

/// What is done with an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Others stand in it.
    Master,
    /// Its value is gathered, up to so many bytes.
    Field { max: u64, what: &'static str },
    /// A Block or SimpleBlock.
    Block,
    /// It passes by.
    Skip,
}

const NUMBER: Kind = Kind::Field { max: 8, what: "a number" };

/// What is done with an element that stands in `parent`; 0 is the file itself.
pub fn kind(parent: u32, id: u32) -> Kind {
    match (parent, id) {
        (0, ebml::EBML | ebml::SEGMENT)
        | (ebml::SEGMENT, ebml::INFO | ebml::TRACKS | ebml::CLUSTER | ebml::CUES)
        | (ebml::TRACKS, ebml::TRACK_ENTRY)
        | (ebml::TRACK_ENTRY, ebml::VIDEO | ebml::AUDIO)
        | (ebml::CLUSTER, ebml::BLOCK_GROUP)
        | (ebml::CUES, ebml::CUE_POINT)
        | (ebml::CUE_POINT, ebml::CUE_TRACK_POSITIONS) => Kind::Master,
        (ebml::CLUSTER, ebml::SIMPLE_BLOCK) | (ebml::BLOCK_GROUP, ebml::BLOCK) => Kind::Block,
        (ebml::TRACK_ENTRY, ebml::CODEC_PRIVATE) => {
            Kind::Field { max: CODEC_PRIVATE_MAX, what: "a track's CodecPrivate" }
        }
        (ebml::EBML, ebml::DOC_TYPE) | (ebml::TRACK_ENTRY, ebml::CODEC_ID) => {
            Kind::Field { max: STRING_MAX, what: "a name in the header" }
        }
        (ebml::EBML, ebml::MAX_ID_LENGTH | ebml::MAX_SIZE_LENGTH)
        | (ebml::INFO, ebml::TIMESTAMP_SCALE | ebml::DURATION)
        | (
            ebml::TRACK_ENTRY,
            ebml::TRACK_NUMBER | ebml::TRACK_TYPE | ebml::DEFAULT_DURATION | ebml::CODEC_DELAY,
        )
        | (ebml::VIDEO, ebml::PIXEL_WIDTH | ebml::PIXEL_HEIGHT | ebml::ALPHA_MODE)
        | (ebml::AUDIO, ebml::SAMPLING_FREQUENCY | ebml::CHANNELS)
        | (ebml::CLUSTER, ebml::TIMESTAMP)
        | (ebml::BLOCK_GROUP, ebml::BLOCK_DURATION | ebml::REFERENCE_BLOCK)
        | (ebml::CUE_POINT, ebml::CUE_TIME)
        | (ebml::CUE_TRACK_POSITIONS, ebml::CUE_TRACK | ebml::CUE_CLUSTER_POSITION) => NUMBER,
        _ => Kind::Skip,
    }
}
