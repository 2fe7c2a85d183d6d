//! How a bench runs: only when it is asked for, with as many open files as there may be, and not for ever.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use tokio::{runtime::Builder, task::LocalSet, time::timeout};

/// Runs a bench, which is given how many files it may open. The whole gives up after `patience`.
pub fn run<F: Future<Output = anyhow::Result<()>>>(
    patience: Duration,
    measure: impl FnOnce(u64) -> F,
) -> anyhow::Result<ExitCode> {
    // `cargo test --all-targets` starts this too, without `--bench`; there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(ExitCode::SUCCESS);
    }
    let files = rlimit::increase_nofile_limit(u64::MAX).context("the limit of open files is unknown")?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async { timeout(patience, measure(files)).await })??;
    Ok(ExitCode::SUCCESS)
}

/// Everything is wanted unless something is named: `cargo bench --bench signaling -- idle stalled`.
pub fn wanted(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}
