//! One run of ffmpeg or ffprobe: fed, watched, limited, and never left over.
//!
//! Arguments are a list, never a shell's line. The program is in a group of its own, so that a terminal's Ctrl-C ends
//! the node and not the merge first; it dies with its future, and with the node however that ends: `setpriv` asks the
//! kernel for it, because a closed standard input alone does not end a step that reads files. The kernel does so when
//! the *thread* that started it ends, so merges run on threads that live as long as the node.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::LazyLock,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::tail::{Progress, Tail};
use crate::adapters::{crash, ports::MergeError};

/// Most of what a program writes to its standard output that is kept. Unit: bytes.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// How long a program that has ended is listened to: something that it started may hold its pipes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The furthest that a program can stand back.
const NICE_LAST: u8 = 19;

/// How programs are started on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Through `setpriv`, `prlimit` and `nice` of util-linux and coreutils.
    Guarded {
        /// Most memory that it may take. Unit: bytes.
        memory_bytes: u64,
        /// How far it stands back for others (`nice`).
        nice: u8,
    },
    /// As they are: one of those is not there.
    Plain,
}

impl Guard {
    /// The same, behind everything else that is at work.
    #[must_use]
    pub fn last(self) -> Self {
        match self {
            Self::Guarded { memory_bytes, .. } => Self::Guarded { memory_bytes, nice: NICE_LAST },
            Self::Plain => Self::Plain,
        }
    }
}

/// What is to be run.
#[derive(Debug)]
pub struct Task<'a> {
    /// Which program.
    pub program: &'a Path,
    /// What it is told.
    pub args: Vec<String>,
    /// Where it runs: names without a folder are in here.
    pub folder: &'a Path,
    /// For how long.
    pub limit: Duration,
    /// How it is started.
    pub guard: Guard,
}

/// What came of a run that ended well.
#[derive(Debug, Default)]
pub struct Output {
    /// What it wrote, where it was asked to be kept.
    pub stdout: Vec<u8>,
    /// The end of its complaints.
    pub stderr: String,
}

/// What its standard output is for.
pub enum Listen<'a> {
    /// It is kept.
    Keep,
    /// It tells how far it is: microseconds of media done.
    Progress(&'a (dyn Fn(u64) + Send + Sync)),
}

/// Runs a program that reads files.
///
/// # Errors
/// [`MergeError::Unavailable`] where it does not start, [`MergeError::Interrupted`] where it was killed, ran out of
/// time or of space, [`MergeError::Impossible`] where it says so.
pub async fn run(task: Task<'_>, listen: Listen<'_>) -> Result<Output, MergeError> {
    feed(task, listen, async |_| Ok(())).await
}

/// Runs a program whose standard input is written by `feeder`; what that returns early counts for the whole run.
///
/// # Errors
/// As [`run`], and what the feeder says.
pub async fn feed<E, F>(task: Task<'_>, listen: Listen<'_>, feeder: F) -> Result<Output, E>
where
    E: From<MergeError>,
    F: AsyncFnOnce(ChildStdin) -> Result<(), E>,
{
    // Where it lies is nobody's business who reads why there is no video.
    let name = task.program.file_name().unwrap_or_default().display().to_string();
    let mut child = start(&task)?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(MergeError::Interrupted(format!("{name} has no pipes")).into());
    };
    let mut tail = Tail::default();
    let mut kept = Vec::new();
    let ended = {
        let listening = async {
            tokio::join!(drain(stderr, |bytes| tail.take(bytes)), hear(stdout, listen, &mut kept));
        };
        let working = async {
            feeder(stdin).await?;
            child.wait().await.map_err(|error| MergeError::Interrupted(format!("{name}: {error}")).into())
        };
        tokio::time::timeout(task.limit, both(working, listening)).await
    };
    let stderr = tail.text();
    match ended {
        Ok(Ok(status)) => {
            judge(&name, status, &stderr)?;
            Ok(Output { stdout: kept, stderr })
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let seconds = task.limit.as_secs();
            let what = words(format!("{name} was not done within {seconds} s"), &stderr);
            Err(MergeError::Interrupted(what).into())
        }
    }
}

/// Waits for the work, listening all the while.
async fn both<T>(working: impl Future<Output = T>, listening: impl Future<Output = ()>) -> T {
    tokio::pin!(working, listening);
    let mut heard_all = false;
    let done = loop {
        tokio::select! {
            done = &mut working => break done,
            () = &mut listening, if !heard_all => heard_all = true,
        }
    };
    if !heard_all {
        let _ = tokio::time::timeout(LAST_WORDS, listening).await;
    }
    done
}

fn start(task: &Task<'_>) -> Result<Child, MergeError> {
    let mut command = command(task);
    command.args(&task.args).current_dir(task.folder).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What a program would send over the network or read from a configuration is none of a merge's business.
    command.env_clear().envs([("PATH", SYSTEM_PATH), ("LC_ALL", "C")]);
    let spawned = command.spawn();
    crash::point("ffmpeg.begun");
    spawned.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
            MergeError::Unavailable(format!("{}: {error}", task.program.display()))
        }
        _ => MergeError::Interrupted(format!("{}: {error}", task.program.display())),
    })
}

/// Where programs without a folder are looked for.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// By its path: what is named without a folder, and is to be looked for elsewhere than the node itself looks, is started by a fork,
/// which copies the page tables of the whole node.
static SETPRIV: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut places = SYSTEM_PATH.split(':').map(|folder| Path::new(folder).join("setpriv"));
    places.find(|place| place.is_file()).unwrap_or_else(|| "setpriv".into())
});

fn command(task: &Task<'_>) -> Command {
    match task.guard {
        Guard::Plain => Command::new(task.program),
        Guard::Guarded { memory_bytes, nice } => {
            let mut command = Command::new(&*SETPRIV);
            command.args(["--pdeathsig", "KILL", "--", "prlimit"]);
            command.arg(format!("--data={memory_bytes}")).args([
                "--core=0",
                "--",
                "nice",
                "-n",
                &nice.to_string(),
                "--",
            ]);
            command.arg(task.program);
            command
        }
    }
}

async fn hear(stdout: ChildStdout, listen: Listen<'_>, kept: &mut Vec<u8>) {
    match listen {
        Listen::Keep => {
            drain(stdout, |bytes| {
                let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            })
            .await;
        }
        Listen::Progress(tell) => {
            let mut progress = Progress::default();
            drain(stdout, |bytes| progress.take(bytes, tell)).await;
        }
    }
}

/// Reads until the end, however much comes.
async fn drain(mut pipe: impl AsyncRead + Unpin, mut take: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        take(&buffer[..count]);
    }
}

/// What an exit means. It is only believed when it says that something went wrong.
fn judge(name: &str, status: ExitStatus, stderr: &str) -> Result<(), MergeError> {
    use std::os::unix::process::ExitStatusExt;

    let full = ["No space left on device", "Disk quota exceeded", "Cannot allocate memory"];
    if let Some(what) = full.iter().find(|what| stderr.contains(**what)) {
        return Err(MergeError::Interrupted(words(format!("{name}: {what}"), stderr)));
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        // The wrappers' way to say that there is no such program, or that it may not be run.
        (Some(126 | 127), _) => {
            Err(MergeError::Unavailable(words(format!("{name} cannot be started"), stderr)))
        }
        (Some(code), _) => Err(MergeError::Impossible(words(format!("{name} ended with {code}"), stderr))),
        (None, signal) => {
            let signal = signal.map_or_else(|| "a signal".into(), |signal| format!("signal {signal}"));
            Err(MergeError::Interrupted(words(format!("{name} was ended by {signal}"), stderr)))
        }
    }
}

fn words(what: String, stderr: &str) -> String {
    if stderr.is_empty() { what } else { format!("{what}: {stderr}") }
}

/// The path of a program that is named with a folder, however the working folder changes.
#[must_use]
pub fn absolute(program: &Path) -> PathBuf {
    let has_folder = program.components().count() > 1;
    if has_folder {
        std::path::absolute(program).unwrap_or_else(|_| program.to_owned())
    } else {
        program.to_owned()
    }
}
