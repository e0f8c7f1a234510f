//! Work ahead of the consumer on a thread.

use crate::base::error::err;
use crate::{Device, Result};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

/// An iterator whose items another thread makes ahead of time, at most as many as were asked for.
///
/// The thread has the current device of the one that made it. Its panic comes out as an `Err` item, after the items made before.
/// Dropping the iterator stops the thread: it waits for the item being made, and no more are.
pub struct Prefetch<T> {
    /// `None` once the thread has ended.
    items: Option<Receiver<Result<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Takes the items of `source` on a thread, `ahead` of them at a time (at least one).
    pub fn new(source: impl IntoIterator<Item = Result<T>, IntoIter: Send + 'static>, ahead: usize) -> Prefetch<T> {
        let source = source.into_iter();
        let (send, items) = sync_channel(ahead.max(1));
        let device = Device::current();
        let failed = send.clone();
        let work = move || {
            device.scope(|| {
                for item in source {
                    if send.send(item).is_err() {
                        break;
                    }
                }
            })
        };
        let thread = match Builder::new().name("lazuli-prefetch".into()).spawn(work) {
            Ok(t) => Some(t),
            Err(e) => {
                // The channel is empty and holds at least one.
                let _ = failed.send(Err(err!(Io, "the prefetch thread cannot be started: {e}")));
                None
            }
        };
        Prefetch { items: Some(items), thread }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if let Ok(item) = self.items.as_ref()?.recv() {
            return Some(item);
        }
        self.items = None;
        let panic = self.thread.take()?.join().err()?;
        let said = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        Some(Err(err!(Argument, "the prefetch thread panicked: {}", said.unwrap_or("no message"))))
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        // First the receiver: it ends a send that waits for room.
        self.items = None;
        if let Some(t) = self.thread.take() {
            // A panic that nobody asked for anymore was printed by the panic hook.
            let _ = t.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn order_and_end() {
        let got: Vec<u32> = Prefetch::new((0..100).map(Ok), 3).map(|x| x.unwrap()).collect();
        assert_eq!(got, (0..100).collect::<Vec<_>>());
        let mut p = Prefetch::new((0..1).map(Ok), 0);
        assert!(p.next().is_some() && p.next().is_none() && p.next().is_none());
    }

    #[test]
    fn errors_and_panics_come_out_in_order() {
        let items = (0..3).map(|i| match i {
            0 => Ok(0),
            1 => Err(err!(Format, "bad file")),
            _ => panic!("row {i} is broken"),
        });
        let mut p = Prefetch::new(items, 1);
        assert_eq!(p.next().unwrap().unwrap(), 0);
        assert_eq!(p.next().unwrap().unwrap_err().kind(), crate::ErrorKind::Format);
        assert!(p.next().unwrap().unwrap_err().message().contains("row 2 is broken"));
        assert!(p.next().is_none());
    }

    #[test]
    fn dropping_stops_the_thread() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = made.clone();
        let mut p = Prefetch::new((0..).map(move |i: u64| Ok((counter.fetch_add(1, SeqCst), i))), 2);
        p.next();
        drop(p);
        // The thread owned the other handle.
        assert_eq!(Arc::strong_count(&made), 1);
        assert!(made.load(SeqCst) <= 5);
    }
}
