//! Logs: structured, to standard error, as text or JSON. And a panic is logged like everything else.

use std::panic;

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Config, LogFormat};

/// Starts logging for the process.
///
/// # Errors
/// One sentence when `LOG_LEVEL` cannot be read.
pub fn start(config: &Config) -> Result<(), String> {
    // The HTTP library calls it an error when somebody connects who speaks no HTTP.
    let filter = EnvFilter::try_new(format!("actix_http=off,{}", config.log_level))
        .map_err(|error| format!("LOG_LEVEL cannot be \"{}\": {error}.", config.log_level))?;
    let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true);
    match config.log_format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {}", info.payload_as_str().unwrap_or("no message"));
    }));
    Ok(())
}
