//! A thread for everything that has to do with the bucket. Each byte that is sent is hashed twice over, for its signature and
//! its checksum: on the event loop of a manager that would hold up every socket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
};

use super::trouble::Trouble;

/// The thread; it ends when this is dropped.
pub(super) struct Desk {
    handle: Handle,
    _end: oneshot::Sender<()>,
}

impl Desk {
    pub(super) fn open() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, (end, ended)) = (runtime.handle().clone(), oneshot::channel());
        thread::Builder::new().name("bucket".to_owned()).spawn(move || {
            // An error is a desk that was dropped.
            let _ = runtime.block_on(ended);
            // Not waited for: blocking work on a file may hang as long as its disk.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _end: end })
    }

    /// Does it there; ends it when nobody waits for it any more.
    pub(super) fn run<T: Send + 'static, E: From<Trouble> + Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Work<T, E> {
        Work { task: self.handle.spawn(work), ends_with_us: true }
    }

    /// Does it there, to its end: what was begun is not left half done.
    pub(super) fn finish<T: Send + 'static, E: From<Trouble> + Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Work<T, E> {
        Work { task: self.handle.spawn(work), ends_with_us: false }
    }
}

/// Something that is done there.
pub(super) struct Work<T, E> {
    task: JoinHandle<Result<T, E>>,
    ends_with_us: bool,
}

impl<T, E: From<Trouble>> Future for Work<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let done = Pin::new(&mut self.task).poll(context);
        done.map(|done| done.unwrap_or_else(|_| Err(Trouble::Away("the node stops".to_owned()).into())))
    }
}

impl<T, E> Drop for Work<T, E> {
    fn drop(&mut self) {
        if self.ends_with_us {
            self.task.abort();
        }
    }
}
