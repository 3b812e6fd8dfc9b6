//! Owns the one file in which a server's state outlives it: objects as text, the version counter
//! and the seed's position. A thread of its own writes what changed, in batches, while requests go
//! on: a clean end loses nothing, a kill at most the batch that was being written. It refuses files
//! of another schema, and never takes a broken file for an empty one.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::watch;

use crate::stored::{Place, Stored};

/// Numbers: the schema, the version counter, the seed's position.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
/// Texts by kind (`group/plural`), namespace and name.
const OBJECTS: TableDefinition<(&str, &str, &str), &[u8]> = TableDefinition::new("objects");
/// What the parts around the server keep beside its objects, by name.
const PARCELS: TableDefinition<&str, &[u8]> = TableDefinition::new("parcels");
const SCHEMA: u64 = 1;
/// Pages that the file's reader keeps in memory.
const CACHE: usize = 4 * 1024 * 1024;

/// Why a server's state could not be taken from a file. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    /// Another process has it open. Retryable once that has ended.
    #[error("`{path}` is in use by another server; end that one, or name another file", path = path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or made. Retryable once that is mended.
    #[error("`{path}` cannot be used: {why}; check that it can be read and written", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        why: String,
    },
    /// It holds something else, or is damaged. Terminal.
    #[error("`{path}` holds no state that can be read: {why}; restore a copy of it, or move it away to start anew", path = path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// It was written by a version of this program that keeps state in another way. Terminal.
    #[error("`{path}` has schema {found}, and this version reads {SCHEMA}; use the version that wrote it to dump the objects, and load them into a new file", path = path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
    },
}

/// The file could not be written; what changed since then is in memory alone. Retryable: the next
/// change or flush tries again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` cannot be written: {why}; make room or mend it", path = path.display())]
pub struct SaveFailure {
    /// The file.
    pub path: PathBuf,
    /// The system's answer.
    pub why: String,
}

/// What a file held.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) version: u64,
    pub(crate) random: u64,
    /// Kind and text, in the order of keys.
    pub(crate) objects: Vec<(String, Vec<u8>)>,
    /// What others keep, by name.
    pub(crate) parcels: BTreeMap<String, Bytes>,
}

/// One parcel of a file, read before the file is opened for good; `None` where there is no such file
/// or parcel. Nothing else of the file is read.
pub fn peek_parcel(path: &Path, name: &str) -> Result<Option<Bytes>, OpenFailure> {
    if !path.exists() {
        return Ok(None);
    }
    let found = with_database(path, |database| {
        let failed = |e: redb::Error| broken(path, e.to_string());
        let transaction = database.begin_read().map_err(|e| failed(e.into()))?;
        let parcels = match transaction.open_table(PARCELS) {
            Ok(parcels) => parcels,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(e) => return Err(failed(e.into())),
        };
        let found = parcels.get(name).map_err(|e| failed(e.into()))?;
        Ok(found.map(|bytes| Bytes::copy_from_slice(bytes.value())))
    });
    Ok(found?.1)
}

/// Reads a file, or makes it. `None` is a new one.
pub(crate) fn open(path: &Path) -> Result<(Journal, Option<Saved>), OpenFailure> {
    let (database, saved) = with_database(path, |database| read(database, path))?;
    Ok((Journal::start(database, path.to_owned()), saved))
}

fn broken(path: &Path, why: String) -> OpenFailure {
    OpenFailure::Broken {
        path: path.to_owned(),
        why,
    }
}

/// Opens the file, makes it where it is not there, and reads from it.
fn with_database<T>(
    path: &Path,
    read: impl FnOnce(&Database) -> Result<T, OpenFailure>,
) -> Result<(Database, T), OpenFailure> {
    // The reader of a damaged file may give up in a panic.
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let database = Database::builder()
            .set_cache_size(CACHE)
            .create(path)
            .map_err(|failure| match failure {
                DatabaseError::DatabaseAlreadyOpen => OpenFailure::InUse {
                    path: path.to_owned(),
                },
                DatabaseError::Storage(redb::StorageError::Io(e))
                    if e.kind() != std::io::ErrorKind::InvalidData =>
                {
                    OpenFailure::Unusable {
                        path: path.to_owned(),
                        why: e.to_string(),
                    }
                }
                other => broken(path, other.to_string()),
            })?;
        let value = read(&database)?;
        Ok((database, value))
    }));
    done.unwrap_or_else(|_| Err(broken(path, "its pages contradict each other".to_owned())))
}

fn read(database: &Database, path: &Path) -> Result<Option<Saved>, OpenFailure> {
    let failed = |e: redb::Error| broken(path, e.to_string());
    let transaction = database.begin_read().map_err(|e| failed(e.into()))?;
    let tables = transaction.list_tables().map_err(|e| failed(e.into()))?;
    if tables.count() == 0 {
        return Ok(None);
    }
    let numbers = transaction
        .open_table(NUMBERS)
        .map_err(|e| failed(e.into()))?;
    let number = |name: &str| -> Result<u64, OpenFailure> {
        let found = numbers.get(name).map_err(|e| failed(e.into()))?;
        found
            .map(|n| n.value())
            .ok_or_else(|| broken(path, format!("it has no `{name}`")))
    };
    let found = number("schema")?;
    if found != SCHEMA {
        return Err(OpenFailure::Schema {
            path: path.to_owned(),
            found,
        });
    }
    let mut saved = Saved {
        version: number("version")?,
        random: number("random")?,
        objects: Vec::new(),
        parcels: BTreeMap::new(),
    };
    let objects = transaction
        .open_table(OBJECTS)
        .map_err(|e| failed(e.into()))?;
    for entry in objects.iter().map_err(|e| failed(e.into()))? {
        let (key, text) = entry.map_err(|e| failed(e.into()))?;
        let (kind, ..) = key.value();
        saved.objects.push((kind.to_owned(), text.value().to_vec()));
    }
    match transaction.open_table(PARCELS) {
        Ok(parcels) => {
            for entry in parcels.iter().map_err(|e| failed(e.into()))? {
                let (name, bytes) = entry.map_err(|e| failed(e.into()))?;
                let bytes = Bytes::copy_from_slice(bytes.value());
                saved.parcels.insert(name.value().to_owned(), bytes);
            }
        }
        // Nothing was ever kept there.
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(e) => return Err(failed(e.into())),
    }
    Ok(Some(saved))
}

/// Where an object is in the file.
type At = (Arc<str>, Place);

/// What is not in the file yet.
#[derive(Default)]
struct Pending {
    /// What became of objects; `None` is gone.
    objects: HashMap<At, Option<Arc<Stored>>>,
    /// What became of parcels; `None` is gone.
    parcels: HashMap<String, Option<Bytes>>,
    version: u64,
    random: u64,
    /// Whether the thread is to try, though nothing changed since it failed.
    wanted: bool,
    over: bool,
}

/// How far the file is.
#[derive(Clone, Debug, Default)]
struct Written {
    version: u64,
    /// The last failure, and how many there were.
    failure: Option<SaveFailure>,
    failures: u64,
}

struct Shared {
    pending: Mutex<Pending>,
    wake: Condvar,
    written: watch::Sender<Written>,
    path: PathBuf,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes changes on their way to the file. Dropping it writes what is left.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    fn start(database: Database, path: PathBuf) -> Self {
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            wake: Condvar::new(),
            written: watch::Sender::new(Written::default()),
            path,
        });
        let own = shared.clone();
        let thread = std::thread::Builder::new()
            .name("state-file".to_owned())
            .spawn(move || write_on(&database, &own));
        if let Err(e) = &thread {
            tracing::error!(%e, "no thread can be had: the state stays in memory");
        }
        Self {
            shared,
            thread: thread.ok(),
        }
    }

    /// Notes what became of an object, with the counters after it. The caller holds the state's
    /// lock, so that what is written together is what was there at one version.
    pub(crate) fn note(&self, at: At, object: Option<Arc<Stored>>, version: u64, random: u64) {
        let mut pending = self.shared.pending();
        pending.objects.insert(at, object);
        (pending.version, pending.random) = (version, random);
        drop(pending);
        self.shared.wake.notify_one();
    }

    /// Notes what became of a parcel.
    pub(crate) fn note_parcel(&self, name: &str, bytes: Option<Bytes>) {
        let mut pending = self.shared.pending();
        pending.parcels.insert(name.to_owned(), bytes);
        drop(pending);
        self.shared.wake.notify_one();
    }

    /// By which a caller can wait until the file has all that was noted.
    pub(crate) fn flushing(&self) -> Flushing {
        let mut pending = self.shared.pending();
        pending.wanted = true;
        let target = pending.version;
        drop(pending);
        let written = self.shared.written.subscribe();
        let failures = written.borrow().failures;
        self.shared.wake.notify_one();
        Flushing {
            written,
            target,
            failures,
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.pending().over = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in it was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Waits for the file.
pub(crate) struct Flushing {
    written: watch::Receiver<Written>,
    target: u64,
    failures: u64,
}

impl Flushing {
    pub(crate) async fn done(mut self) -> Result<(), SaveFailure> {
        let (target, failures) = (self.target, self.failures);
        let done = |w: &Written| w.version >= target || w.failures > failures;
        match self.written.wait_for(done).await {
            Ok(written) if written.version >= target => Ok(()),
            Ok(written) => written.failure.clone().map_or(Ok(()), Err),
            // The journal is gone, and wrote all of it when it went.
            Err(_) => Ok(()),
        }
    }
}

/// Writes batch after batch until it is over.
fn write_on(database: &Database, shared: &Shared) {
    loop {
        let mut pending = shared.pending();
        let idle = |p: &Pending| p.objects.is_empty() && p.parcels.is_empty();
        while idle(&pending) && !pending.wanted && !pending.over {
            pending = shared
                .wake
                .wait(pending)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let over = pending.over;
        pending.wanted = false;
        // While these are written, the next batch gathers.
        let objects = std::mem::take(&mut pending.objects);
        let parcels = std::mem::take(&mut pending.parcels);
        let (version, random) = (pending.version, pending.random);
        drop(pending);
        let outcome = if objects.is_empty() && parcels.is_empty() {
            Ok(())
        } else {
            write(database, &objects, &parcels, version, random)
        };
        match outcome {
            Ok(()) => shared.written.send_modify(|w| w.version = version),
            Err(why) => {
                let failure = SaveFailure {
                    path: shared.path.clone(),
                    why: why.to_string(),
                };
                tracing::error!(%failure, "the state could not be saved");
                let mut pending = shared.pending();
                for (at, object) in objects {
                    // What changed meanwhile is newer.
                    pending.objects.entry(at).or_insert(object);
                }
                for (name, parcel) in parcels {
                    pending.parcels.entry(name).or_insert(parcel);
                }
                if !over {
                    // The next change or flush tries again.
                    let unchanged = pending.version == version && !pending.wanted;
                    shared.written.send_modify(|w| {
                        w.failure = Some(failure);
                        w.failures += 1;
                    });
                    if unchanged {
                        let waited = shared.wake.wait(pending);
                        drop(waited.unwrap_or_else(PoisonError::into_inner));
                    }
                    continue;
                }
            }
        }
        if over {
            return;
        }
    }
}

fn write(
    database: &Database,
    objects: &HashMap<At, Option<Arc<Stored>>>,
    parcels: &HashMap<String, Option<Bytes>>,
    version: u64,
    random: u64,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert("schema", SCHEMA)?;
        numbers.insert("version", version)?;
        numbers.insert("random", random)?;
        let mut table = transaction.open_table(OBJECTS)?;
        for ((kind, place), object) in objects {
            let key = (&**kind, &*place.namespace, &*place.name);
            match object {
                Some(stored) => table.insert(key, stored.to_vec().as_slice())?,
                None => table.remove(key)?,
            };
        }
        if !parcels.is_empty() {
            let mut table = transaction.open_table(PARCELS)?;
            for (name, bytes) in parcels {
                match bytes {
                    Some(bytes) => table.insert(name.as_str(), &**bytes)?,
                    None => table.remove(name.as_str())?,
                };
            }
        }
    }
    transaction.commit()?;
    Ok(())
}
