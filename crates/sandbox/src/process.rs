//! Owns one container as a local process: its environment, its log, and its end. There is no
//! isolation here; the sandbox runs only images that were pushed to its own registry.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::logs::Log;

/// What a process is started with.
pub(crate) struct Start {
    /// The image's files.
    pub(crate) root: PathBuf,
    /// Program and arguments; an absolute program is looked up under `root`.
    pub(crate) command: Vec<String>,
    /// The whole environment.
    pub(crate) env: Vec<(String, String)>,
    /// Where output goes.
    pub(crate) log: Arc<Log>,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFailure {
    /// Neither the pod nor the image names a program. Terminal until either changes.
    #[error("neither the container nor its image names a command")]
    NoCommand,
    /// The system refused. Retryable.
    #[error("`{program}` cannot be started: {cause}")]
    Refused {
        /// Program as looked up.
        program: String,
        /// The system's answer.
        cause: std::io::Error,
    },
}

/// A running process. Dropping it kills the process.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(start: &Start) -> Result<Self, StartFailure> {
        let (program, arguments) = start.command.split_first().ok_or(StartFailure::NoCommand)?;
        let path = match Path::new(program).strip_prefix("/") {
            Ok(relative) => start.root.join(relative),
            Err(_) => PathBuf::from(program),
        };
        let refused = |cause| StartFailure::Refused {
            program: path.display().to_string(),
            cause,
        };
        let mut child = Command::new(&path)
            .args(arguments)
            .env_clear()
            .envs(start.env.iter().map(|(k, v)| (k, v)))
            .current_dir(&start.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(refused)?;
        let (out, errors) = (child.stdout.take(), child.stderr.take());
        let log = start.log.clone();
        // Ends with the process, or with the last of its children that holds the pipes.
        tokio::spawn(async move {
            let out = async {
                if let Some(out) = out {
                    log.take(out).await;
                }
            };
            let errors = async {
                if let Some(errors) = errors {
                    log.take(errors).await;
                }
            };
            tokio::join!(out, errors);
            log.close();
        });
        Ok(Self(child))
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> Option<ExitStatus> {
        self.0.wait().await.ok()
    }

    /// Asks it to end, and ends it after `grace`.
    pub(crate) async fn stop(mut self, grace: Duration) {
        if let Some(id) = self.0.id() {
            // The number of SIGTERM; `kill` is there wherever a shell is, and needs no unsafe code.
            let told = Command::new("kill")
                .args(["-15", &id.to_string()])
                .status()
                .await;
            if told.is_ok_and(|s| s.success())
                && tokio::time::timeout(grace, self.0.wait()).await.is_ok()
            {
                return;
            }
        }
        // It may have ended by itself in between.
        let _ = self.0.kill().await;
    }
}
