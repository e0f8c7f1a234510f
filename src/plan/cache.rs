//! The plan cache: whole keys, single-flight, bounded in bytes, least recently used out first.

use super::compile::Plan;
use crate::base::Result;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

/// Bytes of keys and plans kept.
const LIMIT: usize = 256 << 20;

/// A cached plan, or one being compiled.
pub struct Slot {
    /// Set by whoever compiles it.
    pub plan: OnceLock<Result<Arc<Plan>>>,
    /// A thread in the background is to do that.
    pub prepared: AtomicBool,
    words: Box<[u64]>,
    used: AtomicU64,
    bytes: AtomicU64,
}

impl Slot {
    /// Whether a thread in the background is compiling it.
    pub fn is_preparing(&self) -> bool {
        self.prepared.load(Ordering::Relaxed) && self.plan.get().is_none()
    }
}

/// Keys that are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.0 = self.0.rotate_left(8) ^ b as u64);
    }

    fn write_u64(&mut self, x: u64) {
        self.0 = x;
    }
}

#[derive(Default)]
struct Map {
    by_hash: HashMap<u64, Vec<Arc<Slot>>, BuildHasherDefault<Hashed>>,
    bytes: usize,
}

/// The process's plans.
#[derive(Default)]
pub struct Plans {
    map: Mutex<Map>,
    clock: AtomicU64,
}

static PLANS: LazyLock<Plans> = LazyLock::new(Plans::default);

/// The process's plans.
pub fn plans() -> &'static Plans {
    &PLANS
}

impl Plans {
    fn lock(&self) -> std::sync::MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan for exactly this key, if it has been compiled.
    pub fn find(&self, hash: u64, words: &[u64]) -> Option<Arc<Plan>> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let map = self.lock();
        let slot = map.by_hash.get(&hash)?.iter().find(|s| *s.words == *words)?;
        slot.used.store(now, Ordering::Relaxed);
        slot.plan.get()?.as_ref().ok().cloned()
    }

    /// Whether a thread in the background is compiling the plan for this key.
    pub fn preparing(&self, hash: u64, words: &[u64]) -> bool {
        self.lock().by_hash.get(&hash).is_some_and(|v| v.iter().any(|s| *s.words == *words && s.is_preparing()))
    }

    /// The entry for this key, made if missing.
    pub fn slot(&self, hash: u64, words: &[u64]) -> Arc<Slot> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut map = self.lock();
        let entries = map.by_hash.entry(hash).or_default();
        if let Some(s) = entries.iter().find(|s| *s.words == *words) {
            s.used.store(now, Ordering::Relaxed);
            return s.clone();
        }
        let bytes = words.len() * 8 + 128;
        let slot = Arc::new(Slot {
            plan: OnceLock::new(),
            prepared: AtomicBool::new(false),
            words: words.into(),
            used: AtomicU64::new(now),
            bytes: AtomicU64::new(bytes as u64),
        });
        entries.push(slot.clone());
        map.bytes += bytes;
        slot
    }

    /// Accounts for a compiled plan, and lets old ones go where the cache has become too large.
    pub fn grown(&self, hash: u64, words: &[u64], bytes: usize) {
        let mut map = self.lock();
        let Some(s) = map.by_hash.get(&hash).and_then(|v| v.iter().find(|s| *s.words == *words)).cloned() else { return };
        s.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        map.bytes += bytes;
        if map.bytes <= LIMIT {
            return;
        }
        let mut all: Vec<(u64, u64, u64, usize)> = Vec::new();
        for (&h, v) in &map.by_hash {
            all.extend(v.iter().enumerate().map(|(i, s)| (s.used.load(Ordering::Relaxed), s.bytes.load(Ordering::Relaxed), h, i)));
        }
        all.sort_unstable();
        // An eighth at once, so that this sorting is rare.
        let mut gone: Vec<Arc<Slot>> = Vec::new();
        for (_, bytes, h, _) in all {
            if map.bytes <= LIMIT - LIMIT / 8 {
                break;
            }
            if let Some(v) = map.by_hash.get_mut(&h)
                && let Some(i) = v.iter().enumerate().min_by_key(|(_, s)| s.used.load(Ordering::Relaxed)).map(|(i, _)| i)
            {
                gone.push(v.swap_remove(i));
                map.bytes = map.bytes.saturating_sub(bytes as usize);
            }
        }
        map.by_hash.retain(|_, v| !v.is_empty());
        drop(map);
    }

    /// Forgets a key.
    pub fn remove(&self, hash: u64, words: &[u64]) {
        let mut map = self.lock();
        let mut freed = 0;
        if let Some(v) = map.by_hash.get_mut(&hash) {
            v.retain(|s| {
                let gone = *s.words == *words;
                freed += if gone { s.bytes.load(Ordering::Relaxed) as usize } else { 0 };
                !gone
            });
        }
        map.bytes = map.bytes.saturating_sub(freed);
    }

    /// Entries and bytes.
    pub fn size(&self) -> (usize, usize) {
        let map = self.lock();
        (map.by_hash.values().map(Vec::len).sum(), map.bytes)
    }
}
