//! What the kernel says of a process in `/proc`.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// Ticks of `/proc/<pid>/stat` in a second, on every Linux that this runs on.
const TICK: Duration = Duration::from_millis(10);

/// CPU that a process has used, threads that have ended included: user and system.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// By itself.
    pub own: Duration,
    /// By the programs that it has started and that have ended.
    pub children: Duration,
}

impl Cpu {
    /// So far. Source: `proc_pid_stat(5)`, fields 14 to 17.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let fields = stat(pid)?;
        let ticks = |at: usize| -> anyhow::Result<Duration> {
            let ticks: u32 = fields.get(at - 3).context("a short stat")?.parse()?;
            Ok(TICK * ticks)
        };
        Ok(Self { own: ticks(14)? + ticks(15)?, children: ticks(16)? + ticks(17)? })
    }

    /// Of both.
    pub fn and(self, other: Self) -> Self {
        Self { own: self.own + other.own, children: self.children + other.children }
    }

    /// What was used since.
    pub fn since(self, before: Self) -> Self {
        Self {
            own: self.own.saturating_sub(before.own),
            children: self.children.saturating_sub(before.children),
        }
    }
}

/// The fields after the name, which may hold spaces: the first is field 3.
fn stat(pid: u32) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("a stat without a name")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

/// CPU of the calling thread, to the nanosecond.
pub fn thread_cpu() -> anyhow::Result<Duration> {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat")
        .context("this kernel keeps no scheduler statistics")?;
    let run_ns = statistics.split_whitespace().next().context("empty scheduler statistics")?;
    Ok(Duration::from_nanos(run_ns.parse()?))
}

/// Resident memory now. Unit: bytes.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    status(pid, "VmRSS:")
}

/// Most resident memory since the process began, or since [`forget_peak`]. Unit: bytes.
pub fn peak(pid: u32) -> anyhow::Result<u64> {
    status(pid, "VmHWM:")
}

/// What a process has sent to the disk, its page cache counted when it was written to. Unit: bytes.
pub fn written(pid: u32) -> anyhow::Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:")).context("no such count")?;
    Ok(line.trim().parse()?)
}

/// From now on the peak is that of what follows.
pub fn forget_peak(pid: u32) -> anyhow::Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn status(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such memory")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// What a process has started and has not ended: numbers and names.
pub fn children(parent: u32) -> Vec<(u32, String)> {
    let Ok(listing) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| stat(pid).is_ok_and(|fields| fields.get(1) == Some(&parent.to_string())))
        .map(|pid| {
            (pid, fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned())
        })
        .collect()
}

/// Load averages of the machine.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
