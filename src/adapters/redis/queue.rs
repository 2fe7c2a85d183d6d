//! What is asked of one room waits in line; rooms do not wait for each other.
//!
//! A call takes its place at once, whether or not its future is ever polled, so operations on a room take effect in the order of
//! the calls. The next is sent when the one before is over: two on their way at once could overtake each other where one must be
//! sent again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::Semaphore};

use crate::{adapters::ports::PortFuture, protocol::RoomName};

/// Operations that wait or run, of all rooms. Overflow act: a call is answered with `Unavailable`.
pub const WAITING_MAX: usize = 16 * 1024;
/// Operations on their way to the server at one time. More would only wait there, each with its timeout running.
const RUNNING_MAX: usize = 64;

/// Lines of operations, by room.
pub struct RoomQueues {
    runtime: Handle,
    lines: Arc<Mutex<Lines>>,
    running: Arc<Semaphore>,
}

/// A room is in here while something of it waits or runs.
#[derive(Default)]
struct Lines {
    rooms: HashMap<RoomName, VecDeque<PortFuture<()>>>,
    jobs: usize,
}

impl RoomQueues {
    /// Empty lines, worked off on this runtime.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, lines: Arc::default(), running: Arc::new(Semaphore::new(RUNNING_MAX)) }
    }

    /// Puts an operation at the end of its room's line. `false`: too much waits already, it will not be done.
    pub fn push(&self, room: &RoomName, job: PortFuture<()>) -> bool {
        let mut lines = lock(&self.lines);
        if lines.jobs >= WAITING_MAX {
            return false;
        }
        lines.jobs += 1;
        if let Some(line) = lines.rooms.get_mut(room) {
            line.push_back(job);
            return true;
        }
        lines.rooms.insert(room.clone(), VecDeque::from([job]));
        drop(lines);
        self.runtime.spawn(work_off(self.lines.clone(), self.running.clone(), room.clone()));
        true
    }
}

/// Does a room's operations one after the other, until none is left.
async fn work_off(lines: Arc<Mutex<Lines>>, running: Arc<Semaphore>, room: RoomName) {
    while let Some(job) = next(&lines, &room) {
        // The semaphore is never closed.
        let _permit = running.acquire().await;
        job.await;
        lock(&lines).jobs -= 1;
    }
}

fn next(lines: &Mutex<Lines>, room: &RoomName) -> Option<PortFuture<()>> {
    let mut lines = lock(lines);
    let job = lines.rooms.get_mut(room)?.pop_front();
    if job.is_none() {
        lines.rooms.remove(room);
    }
    job
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    // Nothing under this lock can panic half way.
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).expect("valid")
    }

    type Log = Arc<Mutex<Vec<u32>>>;

    fn noting(log: &Log, number: u32, after: Option<oneshot::Receiver<()>>) -> PortFuture<()> {
        let log = log.clone();
        Box::pin(async move {
            if let Some(after) = after {
                let _ = after.await;
            }
            log.lock().expect("whole").push(number);
        })
    }

    async fn logged(log: &Log, expected: &[u32]) {
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while *log.lock().expect("whole") != expected {
            assert!(std::time::Instant::now() < until, "{log:?} and not {expected:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_room_waits_for_its_own_and_for_no_other() {
        let queues = RoomQueues::new(Handle::current());
        let log = Log::default();
        let (go, waits) = oneshot::channel();
        assert!(queues.push(&room("blue"), noting(&log, 1, Some(waits))));
        assert!(queues.push(&room("blue"), noting(&log, 2, None)));
        assert!(queues.push(&room("red"), noting(&log, 3, None)));
        logged(&log, &[3]).await;
        go.send(()).expect("it waits");
        logged(&log, &[3, 1, 2]).await;
        assert!(queues.push(&room("blue"), noting(&log, 4, None)), "after the line was empty");
        logged(&log, &[3, 1, 2, 4]).await;
        assert!(lock(&queues.lines).rooms.is_empty());
    }

    #[tokio::test]
    async fn the_lines_are_bounded_and_have_room_again() {
        let queues = RoomQueues::new(Handle::current());
        let log = Log::default();
        let (go, waits) = oneshot::channel();
        assert!(queues.push(&room("blue"), noting(&log, 0, Some(waits))));
        for _ in 1..WAITING_MAX {
            assert!(queues.push(&room("blue"), Box::pin(async {})));
        }
        assert!(!queues.push(&room("red"), noting(&log, 9, None)), "a call too many");
        go.send(()).expect("it waits");
        logged(&log, &[0]).await;
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while !queues.push(&room("red"), noting(&log, 1, None)) {
            assert!(std::time::Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        logged(&log, &[0, 1]).await;
    }
}
