//! Owns the keyed queue: a key waits at most once, is worked on by at most one worker, has at most
//! one timer, and backs off after failures. It refuses to hold more than its keys; there is no
//! unbounded list of requests.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The waiting time after failures: `first`, doubled each time, at most `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At the most.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(750),
            most: Duration::from_mins(15),
        }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row; zero failures wait nothing.
    pub fn after(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => self
                .first
                .checked_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
                .map_or(self.most, |wait| wait.min(self.most)),
        }
    }
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`, or that came again while worked on.
    wanted: HashSet<K>,
    working: HashSet<K>,
    /// The one timer of each key, and the same ordered by time; `u64` orders equal times.
    timers: HashMap<K, (Instant, u64)>,
    order: BTreeMap<(Instant, u64), K>,
    next: u64,
    failures: HashMap<K, u32>,
    closed: bool,
}

/// A keyed queue with timers.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    backoff: Backoff,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// An empty queue.
    pub fn new(backoff: Backoff) -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                wanted: HashSet::new(),
                working: HashSet::new(),
                timers: HashMap::new(),
                order: BTreeMap::new(),
                next: 0,
                failures: HashMap::new(),
                closed: false,
            }),
            changed: Notify::new(),
            backoff,
        }
    }

    /// Asks for `key` to be worked on as soon as possible.
    pub fn add(&self, key: K) {
        self.lock().want(key);
        self.changed.notify_one();
    }

    /// Sets the key's one timer, replacing an earlier one.
    pub fn add_at(&self, key: K, at: Instant) {
        self.lock().schedule(key, at);
        self.changed.notify_one();
    }

    /// The next key to work on; its timer is spent. `None` once the queue is closed.
    /// Whoever takes a key must give it back with [`Queue::done`].
    pub async fn take(&self) -> Option<K> {
        loop {
            let changed = self.changed.notified();
            let until = {
                let mut state = self.lock();
                if state.closed {
                    self.changed.notify_one();
                    return None;
                }
                state.ring(Instant::now());
                if let Some(key) = state.pop() {
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return Some(key);
                }
                state.order.keys().next().map(|(at, _)| *at)
            };
            match until {
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Gives the key back after success. `next` sets its timer. A wish that came meanwhile is kept.
    pub fn done(&self, key: &K, next: Option<Duration>) {
        let mut state = self.lock();
        state.failures.remove(key);
        state.release(key);
        if let Some(wait) = next {
            state.schedule(key.clone(), Instant::now() + wait);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Gives the key back after a failure and sets its timer by the back-off; says the wait.
    pub fn failed(&self, key: &K) -> Duration {
        let mut state = self.lock();
        let failures = state.failures.entry(key.clone()).or_insert(0);
        *failures = failures.saturating_add(1);
        let wait = self.backoff.after(*failures);
        state.release(key);
        state.schedule(key.clone(), Instant::now() + wait);
        drop(state);
        self.changed.notify_one();
        wait
    }

    /// Forgets the key's failures and timer, as when its object is gone.
    pub fn forget(&self, key: &K) {
        let mut state = self.lock();
        state.failures.remove(key);
        state.cancel(key);
    }

    /// Ends all [`Queue::take`] calls, now and later.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// How many keys wait and how many are worked on.
    pub fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.ready.len(), state.working.len())
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn want(&mut self, key: K) {
        if self.wanted.insert(key.clone()) && !self.working.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn pop(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.wanted.remove(&key);
        self.working.insert(key.clone());
        self.cancel(&key);
        Some(key)
    }

    fn release(&mut self, key: &K) {
        self.working.remove(key);
        if self.wanted.contains(key) {
            self.ready.push_back(key.clone());
        }
    }

    fn schedule(&mut self, key: K, at: Instant) {
        self.cancel(&key);
        let id = (at, self.next);
        self.next += 1;
        self.timers.insert(key.clone(), id);
        self.order.insert(id, key);
    }

    fn cancel(&mut self, key: &K) {
        if let Some(id) = self.timers.remove(key) {
            self.order.remove(&id);
        }
    }

    fn ring(&mut self, now: Instant) {
        while let Some(entry) = self.order.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.timers.remove(&key);
            self.want(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_is_worked_on_once() {
        let queue = Queue::new(Backoff::default());
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.take().await, Some("a"));
        queue.add("a"); // while worked on: comes again afterwards, not beside
        assert_eq!(queue.take().await, Some("b"));
        assert_eq!(queue.depth(), (0, 2));
        queue.done(&"b", None);
        queue.done(&"a", None);
        assert_eq!(queue.take().await, Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn timers_ring_in_order_and_the_latest_replaces() {
        let queue = Queue::new(Backoff::default());
        let start = Instant::now();
        queue.add_at("slow", start + Duration::from_secs(20));
        queue.add_at("fast", start + Duration::from_secs(5));
        queue.add_at("slow", start + Duration::from_secs(10));
        assert_eq!(queue.take().await, Some("fast"));
        assert_eq!(queue.take().await, Some("slow"));
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_success_resets() {
        let queue = Queue::new(Backoff {
            first: Duration::from_secs(1),
            most: Duration::from_secs(3),
        });
        queue.add("a");
        let mut waits = Vec::new();
        for _ in 0..4 {
            queue.take().await;
            waits.push(queue.failed(&"a").as_secs());
        }
        assert_eq!(waits, [1, 2, 3, 3]);
        queue.take().await;
        queue.done(&"a", Some(Duration::from_mins(1)));
        queue.take().await;
        assert_eq!(queue.failed(&"a"), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_every_worker() {
        let queue = std::sync::Arc::new(Queue::<&str>::new(Backoff::default()));
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.take().await })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.close();
        for worker in workers {
            assert_eq!(worker.await.expect("no panic"), None);
        }
    }
}
