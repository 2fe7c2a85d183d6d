//! The new file, of either kind.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        media::{Container, Summary, Track, TrackKind},
        merge::Family,
    },
    Rules, Unfit,
    clusters::Clusters,
    mp4::Fragments,
    writes::{ReadBack, Writes},
};

/// What has been written, and what is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Output {
    Matroska(Box<Clusters>),
    Mp4(Box<Fragments>),
}

impl Output {
    pub fn container(&self) -> Container {
        self.family().container()
    }

    pub fn family(&self) -> Family {
        match self {
            Self::Matroska(clusters) => clusters.family,
            Self::Mp4(_) => Family::Mp4,
        }
    }

    /// Pictures first.
    pub fn tracks(&self) -> &[Track] {
        match self {
            Self::Matroska(clusters) => &clusters.tracks,
            Self::Mp4(fragments) => &fragments.tracks,
        }
    }

    /// What was written, as a reader will find it.
    pub fn written(&self) -> &Summary {
        match self {
            Self::Matroska(clusters) => &clusters.written,
            Self::Mp4(fragments) => &fragments.written,
        }
    }

    /// Whether a packet of this kind was written.
    pub fn has(&self, kind: TrackKind) -> bool {
        let mut of_kind = self.tracks().iter().filter(|track| track.kind == kind);
        of_kind.any(|track| self.written().packets.contains_key(&track.number))
    }

    /// So many bytes at its beginning are patched at its end.
    pub fn head_bytes(&self) -> u64 {
        match self {
            Self::Matroska(clusters) => clusters.head.bytes,
            Self::Mp4(fragments) => fragments.head.bytes,
        }
    }

    /// What stands until its end where it is patched then, and where.
    pub fn begun(&self) -> Vec<(u64, Vec<u8>)> {
        match self {
            Self::Matroska(clusters) => clusters.head.begun().into(),
            Self::Mp4(fragments) => vec![fragments.head.begun()],
        }
    }

    /// Clusters or fragments.
    pub fn clusters(&self) -> u64 {
        match self {
            Self::Matroska(clusters) => clusters.clusters,
            Self::Mp4(fragments) => fragments.count,
        }
    }

    /// Entries of the index, or places that the tables lead to.
    pub fn cues(&self) -> usize {
        match self {
            Self::Matroska(clusters) => clusters.index.cues().len(),
            Self::Mp4(fragments) => fragments.tables.map_or(0, |(_, chunks)| chunks),
        }
    }

    /// Behind which everything that is written may still change.
    pub fn open_from(&self) -> Option<u64> {
        match self {
            Self::Matroska(clusters) => clusters.open_from(),
            Self::Mp4(fragments) => fragments.open_from(),
        }
    }

    /// Takes what was appended since into the sum.
    pub fn sum_up(&mut self, out: &mut Writes) {
        match self {
            Self::Matroska(clusters) => clusters.sum_up(out),
            Self::Mp4(fragments) => fragments.sum_up(out),
        }
    }

    /// A segment is over.
    pub fn close(&mut self, out: &mut Writes) {
        if let Self::Matroska(clusters) = self {
            clusters.close(out);
        }
    }

    /// Appends the index and completes the head.
    pub fn end(
        &mut self,
        duration_us: i64,
        rules: &Rules,
        disk: ReadBack<'_>,
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        match self {
            Self::Matroska(clusters) => clusters.end(duration_us, out),
            Self::Mp4(fragments) => fragments.end(duration_us, rules, disk, out),
        }
    }
}
