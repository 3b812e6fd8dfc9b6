//! Owns the transport registered with libgit2: it carries bytes between libgit2 and the [`Wire`] of
//! the operation that runs on this thread.
//!
//! libgit2's list of transports is global and its URLs are text, so neither could carry an
//! operation's credentials safely. Here the URL is a constant of a private scheme, and the wire is
//! found by the thread: each operation has a thread of its own, so there is never a doubt which.
#![allow(
    unsafe_code,
    reason = "libgit2's registration and search paths are global C state; both are set once, before \
              any repository is opened"
)]

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};

use bytes::{Buf as _, Bytes};
use git2::ConfigLevel;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};

use crate::exchange::Wire;

/// The URL that libgit2 is given for the operation's remote, whatever its real one is.
pub(crate) const URL: &str = "weir-operation://remote/";
const SCHEME: &str = "weir-operation";

thread_local! {
    static WIRE: RefCell<Option<Arc<Wire>>> = const { RefCell::new(None) };
}

/// Registers the transport with libgit2, once for the process.
pub(crate) fn register() -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| {
        // SAFETY: the cell runs this once, and every remote and repository of this crate is opened
        // after it returned, so nothing else reads these globals meanwhile.
        unsafe {
            for level in [
                ConfigLevel::ProgramData,
                ConfigLevel::System,
                ConfigLevel::XDG,
                ConfigLevel::Global,
            ] {
                // The machine's settings must not change what a reconciler does.
                git2::opts::set_search_path(level, "").map_err(|e| e.message().to_owned())?;
            }
            git2::transport::register(SCHEME, |remote| {
                let wire = WIRE.with_borrow(Clone::clone);
                let wire = wire.ok_or_else(|| git2::Error::from_str("no operation runs here"))?;
                Transport::smart(remote, true, Link(wire))
            })
            .map_err(|e| e.message().to_owned())
        }
    })
    .clone()
}

/// Runs `job` with `wire` as the way out of this thread.
pub(crate) fn with_wire<T>(wire: Wire, job: impl FnOnce() -> T) -> T {
    WIRE.set(Some(Arc::new(wire)));
    let out = job();
    WIRE.set(None);
    out
}

struct Link(Arc<Wire>);

impl SmartSubtransport for Link {
    fn action(
        &self,
        _url: &str,
        service: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let wire = self.0.clone();
        Ok(Box::new(Exchange {
            wire,
            service,
            body: Some(Vec::new()),
            chunk: Bytes::new(),
        }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// One request and its response: what is written is the request's body, which is sent at the
/// first read.
struct Exchange {
    wire: Arc<Wire>,
    service: Service,
    body: Option<Vec<u8>>,
    chunk: Bytes,
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(body) = &mut self.body else {
            return Err(io::Error::other("the request is already sent"));
        };
        if body.len() + bytes.len() > self.wire.body_limit() {
            return Err(io::Error::other("the request is larger than the limit"));
        }
        body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Exchange {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(body) = self.body.take() {
            self.wire.begin(self.service, body)?;
        }
        while self.chunk.is_empty() {
            match self.wire.chunk()? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let n = out.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}
