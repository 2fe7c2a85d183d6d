//! A watch over the programs that nodes start while something is measured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::process;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Looks again and again at the memory of what nodes have started.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    /// Begins, at these nodes.
    pub fn start(nodes: Vec<u32>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut most = 0;
            while !seen.load(Ordering::Relaxed) {
                let programs = nodes.iter().flat_map(|&node| process::children(node));
                let programs = programs.filter(|(_, name)| name == "ffmpeg");
                // One that has just ended has no memory any more.
                most = programs.filter_map(|(pid, _)| process::peak(pid).ok()).fold(most, u64::max);
                thread::sleep(LOOK);
            }
            most
        });
        Self { over, thread }
    }

    /// Ends. Most resident memory of one ffmpeg; unit: bytes.
    pub fn stop(self) -> anyhow::Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the watch over memory panicked"))
    }
}
