//! Arithmetic on what was measured.

use std::{fmt, time::Duration};

/// What several rounds say of one figure: the median, and the lowest and the highest; of a single one, itself.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    median: f64,
    range: Option<(f64, f64)>,
}

impl Spread {
    /// Of one figure for each round.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = rounds.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (count, last) = (sorted.len(), sorted.len().saturating_sub(1));
        let median = f64::midpoint(at(last / 2), at(count / 2));
        Self { median, range: (last > 0).then(|| (at(0), at(last))) }
    }
}

impl fmt::Display for Spread {
    /// With as many decimals as the format asks for, two if it does not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(2);
        let Self { median, range } = self;
        let text = match range {
            Some((low, high)) => format!("{median:.decimals$} ({low:.decimals$}-{high:.decimals$})"),
            None => format!("{median:.decimals$}"),
        };
        f.write_str(&format!("{text:<width$}", width = f.width().unwrap_or(0)))
    }
}

/// The value that so many of a hundred stay below. Unit: milliseconds.
pub fn percentile_ms(durations: &[Duration], percent: usize) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1e3)
}

/// Unit: MB, a million bytes.
pub fn mb(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1000.0
}

/// Unit: MiB.
pub fn mib(bytes: u64) -> f64 {
    kib(bytes) / 1024.0
}

/// Unit: KiB.
pub fn kib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX))
}
