//! The `greenroom` binary: a checklist.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use greenroom::{
    app::{self, App},
    config::{self, Config, Request},
    telemetry,
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match config::load() {
        Ok(Request::Run(config)) => report(run(&config)),
        Ok(Request::Health { address }) => report(ask_health(address)),
        Ok(Request::ImportCatalog { from, to }) => report(import(&from, &to)),
        Ok(Request::Print(text)) => {
            report(std::io::stdout().write_all(text.as_bytes()).context("cannot print"))
        }
        Err(error) => report(Err(error.into())),
    }
}

fn report(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "greenroom: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: &Config) -> anyhow::Result<()> {
    telemetry::start(config).map_err(anyhow::Error::msg)?;
    // Each connection takes two descriptors; the usual soft limit of 1,024 is for programs from another time.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    actix_web::rt::System::new().block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("no signals")?;
        let mut node = App::start(config).await?;
        node.announce();
        let outcome = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            why = node.outdone() => Err(why),
        };
        node.stop().await;
        outcome
    })
}

/// `--import-catalog`: takes rows along to another catalog.
fn import(from: &str, to: &str) -> anyhow::Result<()> {
    let imported = actix_web::rt::System::new().block_on(app::import_catalog(from, to))?;
    let app::Imported { taken, passed_by } = imported;
    let words = format!("greenroom: {taken} rows taken; of {passed_by} there were newer ones\n");
    std::io::stdout().write_all(words.as_bytes()).context("cannot print")
}

/// `--health`: asks the node on this machine, so that a container needs no other program to know.
fn ask_health(address: SocketAddr) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let mut node = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("nothing answers at {address}"))?;
    node.set_read_timeout(Some(PATIENCE))?;
    node.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    node.read_to_string(&mut answer).context("no answer in time")?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200 "), "the node is not alive");
    Ok(())
}
