//! Owns the scanned tags, in memory and by ImageRepository, so that no tenant sees another's scan
//! even of the same image. After a restart they are scanned again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use weir_object::Key;

/// One ImageRepository's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scanned {
    /// The object's identity: another one of the same name starts anew.
    uid: String,
    /// The image's full name.
    image: String,
    tags: Arc<[String]>,
}

type Listener = Box<dyn Fn(&Key) + Send + Sync>;

/// The tags of all ImageRepositories.
#[derive(Default)]
pub(crate) struct TagStore {
    scans: RwLock<HashMap<Key, Scanned>>,
    listeners: RwLock<Vec<Listener>>,
}

impl TagStore {
    /// The tags of this object's scan of this image, last in byte order first.
    pub(crate) fn get(&self, key: &Key, uid: &str, image: &str) -> Option<Arc<[String]>> {
        let scans = self.scans.read().unwrap_or_else(PoisonError::into_inner);
        let scanned = scans.get(key)?;
        (scanned.uid == uid && scanned.image == image).then(|| scanned.tags.clone())
    }

    /// Keeps a scan, and wakes those who wait for it where it is news.
    pub(crate) fn put(&self, key: &Key, uid: &str, image: &str, tags: Vec<String>) {
        let scanned = Scanned {
            uid: uid.to_owned(),
            image: image.to_owned(),
            tags: tags.into(),
        };
        let news = {
            let mut scans = self.scans.write().unwrap_or_else(PoisonError::into_inner);
            scans.insert(key.clone(), scanned.clone()).as_ref() != Some(&scanned)
        };
        if news {
            let listeners = self
                .listeners
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            for listener in listeners.iter() {
                listener(key);
            }
        }
    }

    /// Drops what is kept of an object that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        let mut scans = self.scans.write().unwrap_or_else(PoisonError::into_inner);
        scans.remove(key);
    }

    /// Calls `listener` after each scan that found something new. It must be quick.
    pub(crate) fn on_scan(&self, listener: impl Fn(&Key) + Send + Sync + 'static) {
        self.listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(listener));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_scan_is_its_objects_alone_and_wakes_when_new() {
        let (store, woken) = (TagStore::default(), Arc::new(AtomicUsize::new(0)));
        let count = woken.clone();
        store.on_scan(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let (ours, theirs) = (Key::new("a", "app"), Key::new("b", "app"));
        store.put(&ours, "1", "r/app", vec!["2".into(), "1".into()]);
        store.put(&ours, "1", "r/app", vec!["2".into(), "1".into()]);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert_eq!(store.get(&ours, "1", "r/app").map(|t| t.len()), Some(2));
        assert_eq!(store.get(&theirs, "1", "r/app"), None);
        assert_eq!(store.get(&ours, "2", "r/app"), None, "another object");
        assert_eq!(store.get(&ours, "1", "r/other"), None, "another image");
        store.forget(&ours);
        assert_eq!(store.get(&ours, "1", "r/app"), None);
    }
}
