//! Owns the pace of virtual time: it keeps step with real time, and runs ahead when asked to. While it
//! runs ahead, time goes from timer to timer as soon as every task waits, so an hour takes as long
//! as its work does.
//!
//! It refuses to work with sockets inside: a task that waits for one looks idle, and time would run
//! past its timeouts. So the network of such a sandbox is memory.

use std::sync::mpsc as threads;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Virtual time moves in steps of this length of real time.
const STEP: Duration = Duration::from_millis(5);

/// How far one request may move the time.
const FARTHEST: Duration = Duration::from_hours(31 * 24);

/// Why the time did not move.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TempoFailure {
    /// More was asked for than one request may. Terminal.
    #[error("the time can be moved by at most 31 days at once, not by {} hours", .0.as_secs() / 3600)]
    TooFar(Duration),
    /// The sandbox is ending. Terminal.
    #[error("the time does not move any more: the sandbox is ending")]
    Over,
}

struct Ask {
    by: Duration,
    done: oneshot::Sender<()>,
}

/// A handle on the pace of virtual time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tempo {
    asks: mpsc::Sender<Ask>,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask")
            .field("by", &self.by)
            .finish_non_exhaustive()
    }
}

impl Tempo {
    /// Takes the pace of this runtime's time over, until the last handle is dropped. The runtime
    /// must be of one thread and paused.
    pub fn start() -> Self {
        let (asks, inbox) = mpsc::channel(16);
        tokio::spawn(keep(inbox));
        Self { asks }
    }

    /// Moves the time forward; returns when it has come there, with all that lies on the way done.
    pub async fn advance(&self, by: Duration) -> Result<(), TempoFailure> {
        if by > FARTHEST {
            return Err(TempoFailure::TooFar(by));
        }
        let (done, came) = oneshot::channel();
        let ask = Ask { by, done };
        self.asks.send(ask).await.map_err(|_| TempoFailure::Over)?;
        came.await.map_err(|_| TempoFailure::Over)
    }
}

async fn keep(mut inbox: mpsc::Receiver<Ask>) {
    loop {
        let Some(ask) = in_step(&mut inbox).await else {
            return;
        };
        // Nothing holds the time now: it goes to the next timer whenever all tasks wait.
        tokio::time::sleep(ask.by).await;
        // Who asked may have gone; the time has moved all the same.
        let _ = ask.done.send(());
    }
}

/// Keeps virtual time in step with real time until something is asked; `None` when nobody can.
async fn in_step(inbox: &mut mpsc::Receiver<Ask>) -> Option<Ask> {
    let (release, held) = threads::channel::<()>();
    let (tick, mut ticks) = mpsc::channel::<Duration>(1);
    // A blocking task under way keeps a paused clock from moving by itself; this one also tells how
    // much real time has passed.
    let holder = tokio::task::spawn_blocking(move || {
        let mut last = std::time::Instant::now();
        while held.recv_timeout(STEP) == Err(threads::RecvTimeoutError::Timeout) {
            let passed = last.elapsed();
            match tick.try_send(passed) {
                Ok(()) => last += passed,
                // The last step is still being worked on; the next is so much longer.
                Err(mpsc::error::TrySendError::Full(_)) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    });
    let asked = loop {
        tokio::select! {
            biased;
            ask = inbox.recv() => break ask,
            passed = ticks.recv() => match passed {
                Some(passed) => tokio::time::advance(passed).await,
                None => break None,
            },
        }
    };
    drop(release);
    // It ends within one step.
    let _ = holder.await;
    asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn an_hour_passes_at_once_and_every_timer_in_it_fires() {
        let tempo = Tempo::start();
        let rung = Arc::new(AtomicUsize::new(0));
        let counter = rung.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_mins(1)).await;
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        let (real, before) = (std::time::Instant::now(), Instant::now());
        tempo
            .advance(Duration::from_secs(3601))
            .await
            .expect("moves");
        assert!(before.elapsed() >= Duration::from_hours(1));
        assert!(
            real.elapsed() < Duration::from_mins(10),
            "it did not wait in real time"
        );
        assert_eq!(rung.load(Ordering::SeqCst), 60);
        assert_eq!(
            tempo.advance(FARTHEST + Duration::from_secs(1)).await,
            Err(TempoFailure::TooFar(FARTHEST + Duration::from_secs(1)))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_request_virtual_time_keeps_step_with_real_time() {
        let tempo = Tempo::start();
        let (real, before) = (std::time::Instant::now(), Instant::now());
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (virtually, really) = (before.elapsed(), real.elapsed());
        assert!(virtually >= Duration::from_millis(200), "{virtually:?}");
        // Never ahead of real time, however slow the machine is.
        assert!(
            really + STEP * 2 >= Duration::from_millis(200),
            "{really:?}"
        );
        drop(tempo);
    }
}
