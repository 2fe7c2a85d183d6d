//! What everything is compared with: the same bytes made durable by nobody's program, on the same disk.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{node::folder, process::thread_cpu, stretch::Stretch};

/// How a loop writes.
#[derive(Debug, Clone, Copy)]
pub struct Loop {
    /// Folders to write to.
    pub folders: usize,
    /// Writers for each folder.
    pub writers: usize,
    /// Of one file. Unit: bytes.
    pub bytes: usize,
    /// Most files of one folder.
    pub most: usize,
}

impl Loop {
    /// Makes files durable as a careful program does, one after the other in each thread: write, fsync, rename, fsync
    /// of the folder.
    pub fn run(self, stretch: Duration) -> anyhow::Result<Stretch> {
        let folder = folder("loop")?;
        let content = vec![0x5a; self.bytes];
        for number in 0..self.folders {
            fs::create_dir(folder.path().join(number.to_string()))?;
        }
        let began = Instant::now();
        let mut total = Stretch::default();
        thread::scope(|scope| {
            let mut writers = Vec::new();
            for number in 0..self.folders * self.writers {
                let folder = folder.path().join((number % self.folders).to_string());
                let content = &content;
                writers.push(scope.spawn(move || self.write(&folder, number, content, began + stretch)));
            }
            for writer in writers {
                total.absorb(&writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??);
            }
            anyhow::Ok(())
        })?;
        total.wall = began.elapsed();
        Ok(total)
    }

    fn write(self, folder: &Path, writer: usize, content: &[u8], end: Instant) -> anyhow::Result<Stretch> {
        let mut done = Stretch::default();
        while Instant::now() < end && done.latencies.len() < self.most / self.writers {
            let began = Instant::now();
            let name = folder.join(format!("{writer}-{}", done.latencies.len()));
            let partial = name.with_extension("partial");
            let mut file = OpenOptions::new().write(true).create_new(true).open(&partial)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&partial, &name)?;
            File::open(folder)?.sync_all()?;
            done.latencies.push(began.elapsed());
            done.bytes += content.len() as u64;
        }
        done.cpu = thread_cpu()?;
        Ok(done)
    }
}

/// How `dd` makes bytes durable.
#[derive(Debug, Clone, Copy)]
pub enum Durable {
    /// Each block before the next is written: `oflag=dsync`.
    EachBlock,
    /// All of them once they are written: `conv=fsync`.
    AtTheEnd,
}

/// Writes so many blocks by `dd`. Returns how long that took.
pub fn dd(block_bytes: usize, blocks: usize, durable: Durable) -> anyhow::Result<Duration> {
    let folder = folder("dd")?;
    let how = match durable {
        Durable::EachBlock => "oflag=dsync",
        Durable::AtTheEnd => "conv=fsync",
    };
    let began = Instant::now();
    let status = Command::new("dd")
        .args(["if=/dev/zero", "of=dd.out", how, "status=none"])
        .args([format!("bs={block_bytes}"), format!("count={blocks}")])
        .current_dir(folder.path())
        .status()?;
    ensure!(status.success(), "dd fails");
    Ok(began.elapsed())
}

/// Runs a line of shell in a folder. Returns how long that took.
pub fn shell(line: &str, folder: &Path) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let status = Command::new("sh").args(["-c", line]).current_dir(folder).stdin(Stdio::null()).status()?;
    ensure!(status.success(), "this fails: {line}");
    Ok(began.elapsed())
}

/// Waits until the disk has nothing left to do of what came before.
pub fn settle() -> anyhow::Result<()> {
    shell("sync", Path::new("/")).map(drop)
}

/// Takes a folder's files out of the page cache, as if they had been written long ago.
pub fn cool(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            let file = File::open(path)?;
            rustix::fs::fadvise(&file, 0, 0, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// Space left on the disk of the build. Unit: bytes.
pub fn free_bytes() -> anyhow::Result<u64> {
    let space = rustix::fs::statvfs(env!("CARGO_TARGET_TMPDIR"))?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}
