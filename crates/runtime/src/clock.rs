//! Owns the wall clock. Everything that needs "now" asks a [`Clock`], so that a scenario can run
//! hours in milliseconds. Waiting is not here: it goes through `tokio::time`, which scenarios pause.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// A source of wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// A clock as it is passed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that follows tokio's own: with time paused it moves only when every task waits.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock {
    epoch: Timestamp,
    start: tokio::time::Instant,
}

impl VirtualClock {
    /// A clock that reads `epoch` now. Call it inside the runtime it is to follow.
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self {
            epoch,
            start: tokio::time::Instant::now(),
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.epoch
            .checked_add(self.start.elapsed())
            .unwrap_or(self.epoch)
    }
}

impl dyn Clock {
    /// The time from now until `at`, zero when it has passed.
    pub fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.now())).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn virtual_time_follows_tokio() {
        let clock = VirtualClock::starting_at(Timestamp::UNIX_EPOCH);
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!(clock.now().as_second(), 3600);
        let shared: SharedClock = Arc::new(clock);
        let later = Timestamp::from_second(3660).expect("in range");
        assert_eq!(shared.until(later), Duration::from_mins(1));
        assert_eq!(shared.until(Timestamp::UNIX_EPOCH), Duration::ZERO);
    }
}
