//! Threads: a fixed set of workers that take tasks of one parallel region at a time.
//!
//! Workers spin a little after a region before they park, because waking a parked thread costs more than most kernels take.
//! A region asked for while another one runs (or from inside a task) runs on its own thread alone: it can neither wait for
//! the pool nor deadlock. A worker that has not started when the tasks are used up is not waited for.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::*};
use std::sync::{Mutex, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

const IDLE: u8 = 0;
const ASSIGNED: u8 = 1;
const RUNNING: u8 = 2;
const SPIN: Duration = Duration::from_micros(40);

struct Worker {
    state: AtomicU8,
    parked: AtomicBool,
    thread: OnceLock<Thread>,
}

type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// What the workers are to run. Written only by the holder of the region while every worker is idle.
struct Job {
    work: UnsafeCell<Option<&'static Work<'static>>>,
    tasks: AtomicUsize,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `work` is written only while all workers are idle and read only by workers that saw the release store of ASSIGNED.
unsafe impl Sync for Job {}

/// The workers.
pub struct Pool {
    workers: Vec<Worker>,
    job: Job,
    region: Mutex<()>,
}

/// The process's pool.
pub fn pool() -> &'static Pool {
    static POOL: OnceLock<&'static Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let given = std::env::var("LAZULI_THREADS").ok().and_then(|s| s.parse::<usize>().ok()).filter(|&n| n > 0);
        let n = given.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        Pool::start(n.min(256))
    })
}

impl Pool {
    /// A pool of `threads` threads, the caller of a region included.
    pub fn start(threads: usize) -> &'static Pool {
        let worker = |_| Worker { state: AtomicU8::new(IDLE), parked: AtomicBool::new(false), thread: OnceLock::new() };
        let pool: &'static Pool = Box::leak(Box::new(Pool {
            workers: (1..threads.max(1)).map(worker).collect(),
            job: Job { work: UnsafeCell::new(None), tasks: AtomicUsize::new(0), next: AtomicUsize::new(0), panic: Mutex::new(None) },
            region: Mutex::new(()),
        }));
        for (i, w) in pool.workers.iter().enumerate() {
            // A thread that cannot be started is a worker that never takes part: regions do not wait for it.
            if let Ok(h) = std::thread::Builder::new().name(format!("lazuli-cpu-{}", i + 1)).spawn(move || pool.serve(w)) {
                let _ = w.thread.set(h.thread().clone());
            }
        }
        pool
    }

    /// Threads a region can use.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work(i)` once for every `i < tasks`, on several threads if `parallel`. A panic of a task is passed on.
    pub fn run(&self, tasks: usize, parallel: bool, work: &Work<'_>) {
        let region = if parallel && tasks > 1 && !self.workers.is_empty() { self.region.try_lock().ok() } else { None };
        let Some(_region) = region else {
            for i in 0..tasks {
                work(i);
            }
            return;
        };
        // SAFETY: the reference is used only between here and the end of this function, which waits for every worker that started
        // and recalls those that did not.
        let work: &'static Work<'static> = unsafe { std::mem::transmute(work) };
        // SAFETY: this thread holds the region and all workers are idle.
        unsafe { *self.job.work.get() = Some(work) };
        self.job.tasks.store(tasks, Relaxed);
        self.job.next.store(0, Relaxed);
        let helpers = self.workers.len().min(tasks - 1);
        for w in &self.workers[..helpers] {
            w.state.store(ASSIGNED, SeqCst);
            if w.parked.load(SeqCst)
                && let Some(t) = w.thread.get()
            {
                t.unpark();
            }
        }
        let mine = catch_unwind(AssertUnwindSafe(|| self.job.take(work)));
        if mine.is_err() {
            self.job.next.store(tasks, Relaxed);
        }
        for w in &self.workers[..helpers] {
            if w.state.compare_exchange(ASSIGNED, IDLE, AcqRel, Acquire).is_ok() {
                continue;
            }
            let mut spins = 0u32;
            while w.state.load(Acquire) != IDLE {
                spins += 1;
                if spins < 10_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
            }
        }
        let theirs = self.job.panic.lock().ok().and_then(|mut p| p.take());
        drop(_region);
        if let Some(p) = mine.err().or(theirs) {
            resume_unwind(p);
        }
    }

    fn serve(&self, w: &Worker) {
        loop {
            let mut since = Instant::now();
            let mut spins = 0u32;
            while w.state.compare_exchange(ASSIGNED, RUNNING, AcqRel, Relaxed).is_err() {
                spins += 1;
                if !spins.is_multiple_of(64) || since.elapsed() < SPIN {
                    std::hint::spin_loop();
                    continue;
                }
                w.parked.store(true, SeqCst);
                while w.state.load(SeqCst) != ASSIGNED {
                    std::thread::park();
                }
                w.parked.store(false, SeqCst);
                since = Instant::now();
            }
            // SAFETY: written before the store of ASSIGNED that this thread saw; unchanged until this worker is idle again.
            if let Some(work) = unsafe { *self.job.work.get() }
                && let Err(p) = catch_unwind(AssertUnwindSafe(|| self.job.take(work)))
            {
                self.job.next.store(self.job.tasks.load(Relaxed), Relaxed);
                if let Ok(mut slot) = self.job.panic.lock() {
                    slot.get_or_insert(p);
                }
            }
            w.state.store(IDLE, Release);
        }
    }
}

impl Job {
    fn take(&self, work: &Work<'_>) {
        let tasks = self.tasks.load(Relaxed);
        loop {
            let i = self.next.fetch_add(1, Relaxed);
            if i >= tasks {
                return;
            }
            work(i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        let p = Pool::start(4);
        for round in 0..200 {
            let n = round % 37;
            let hits: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
            p.run(n, true, &|i| {
                hits[i].fetch_add(1, Relaxed);
            });
            assert!(hits.iter().all(|h| h.load(Relaxed) == 1));
        }
    }

    #[test]
    fn several_users_nested_regions_and_panics() {
        let p = Pool::start(3);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..100 {
                        let sum = AtomicUsize::new(0);
                        p.run(8, true, &|i| {
                            p.run(3, true, &|j| {
                                sum.fetch_add(i * 3 + j, Relaxed);
                            })
                        });
                        assert_eq!(sum.load(Relaxed), (0..24usize).sum::<usize>());
                    }
                });
            }
        });
        let r = catch_unwind(AssertUnwindSafe(|| p.run(100, true, &|i| assert!(i != 57, "task 57"))));
        assert!(r.is_err());
        let n = AtomicUsize::new(0);
        p.run(10, true, &|_| {
            n.fetch_add(1, Relaxed);
        });
        assert_eq!(n.load(Relaxed), 10);
    }
}
