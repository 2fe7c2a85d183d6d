//! How often a video is tried, and after how long again.

use std::time::Duration;

/// The pause before the second try; it doubles with each, up to the longest.
pub const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// No try is further from the next.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Merges that are cut off, by a signal, their time limit or a full disk, before a person must look: over half an hour.
const CUT_OFF_MAX: u32 = 14;

/// Why there is no video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Something that the recording can do nothing for, such as a store that is away.
    Elsewhere,
    /// What may go better another time.
    CutOff,
    /// What goes the same the next time.
    Lasting,
}

/// The tries of one recording that came to nothing, one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tries {
    all: u32,
    cut_off: u32,
}

impl Tries {
    /// One more came to nothing. After how long it is tried again; `None`: no more.
    pub fn failed(&mut self, trouble: Trouble) -> Option<Duration> {
        self.all = self.all.saturating_add(1);
        self.cut_off += u32::from(trouble == Trouble::CutOff);
        let goes_on = match trouble {
            Trouble::Elsewhere => true,
            Trouble::CutOff => self.cut_off < CUT_OFF_MAX,
            Trouble::Lasting => false,
        };
        let pause = FIRST_PAUSE.saturating_mul(1 << (self.all - 1).min(16));
        goes_on.then(|| pause.min(LONGEST_PAUSE))
    }

    /// Whether nothing went wrong before.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.all == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_go_better_is_tried_for_more_than_half_an_hour() {
        let mut tries = Tries::default();
        let mut pauses = Vec::new();
        while let Some(pause) = tries.failed(Trouble::CutOff) {
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses[..9], [2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert!(pauses.iter().sum::<u64>() > 30 * 60, "{pauses:?}");
    }

    #[test]
    fn a_store_that_is_away_for_long_says_nothing_against_a_recording() {
        let mut tries = Tries::default();
        for _ in 0..1000 {
            assert!(tries.failed(Trouble::Elsewhere).is_some_and(|pause| pause <= LONGEST_PAUSE));
        }
        assert!(tries.failed(Trouble::CutOff).is_some(), "nor do its tries count for those that are cut off");
        assert_eq!(tries.failed(Trouble::Lasting), None);
    }
}
