//! Owns the end of Events: each is removed a fixed time after its last change.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use weir_object::{Key, path};

use super::EVENTS;
use super::source::{Seen, Source};
use crate::store::Store;

/// Runs until dropped.
pub(crate) async fn run(store: Store, keep: Duration) {
    let mut source = Source::new(&store, EVENTS);
    // Every event is kept equally long, so the queue is in order by itself.
    let mut queue: VecDeque<(Instant, Key, String)> = VecDeque::new();
    loop {
        let first = queue.front().map(|(at, ..)| *at);
        let timer = async {
            match first {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            seen = source.next() => match seen {
                Seen::Put(event) => {
                    let version = path::text(&event, &["metadata", "resourceVersion"]).to_owned();
                    queue.push_back((Instant::now() + keep, crate::state::key_of(&event), version));
                }
                // What is there is told one by one after this.
                Seen::Gone(_) | Seen::Left(_) | Seen::All => {}
            },
            () = timer => {
                let now = Instant::now();
                while let Some((at, key, version)) = queue.pop_front() {
                    if at > now {
                        queue.push_front((at, key, version));
                        break;
                    }
                    let live = store.get(&EVENTS, &key.namespace, &key.name);
                    let unchanged = live
                        .is_some_and(|e| path::text(&e, &["metadata", "resourceVersion"]) == version);
                    if unchanged {
                        // It may have gone meanwhile, which is as good.
                        let _ = store.delete(&EVENTS, &key.namespace, &key.name);
                    }
                }
            }
        }
        if queue.is_empty() {
            // Gives back what a burst of events took.
            queue.shrink_to(64);
        }
    }
}
