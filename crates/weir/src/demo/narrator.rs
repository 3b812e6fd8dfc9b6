//! Owns telling the story in the terminal: one line a fact, with the seconds since the start.
//! Colours only where the terminal has them; every line reads the same without.

use std::io::Write as _;
use std::time::Instant;

use anstyle::{AnsiColor, Style};

use super::outcome::Outcome;
use super::world::World;

/// Tells the story, or keeps silent when a program listens.
pub(crate) struct Narrator {
    speaks: bool,
    start: Instant,
}

/// What a fact is about; it sets the word in front and its colour.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About {
    /// Something a person did.
    You,
    /// Git and registry.
    Source,
    /// What was applied.
    Cluster,
    /// What users' requests saw.
    Traffic,
    /// The canary's decisions.
    Canary,
    /// Trouble.
    Trouble,
}

impl About {
    fn word(self) -> (&'static str, Style) {
        let colour = |c: AnsiColor| Style::new().fg_color(Some(c.into()));
        match self {
            Self::You => ("you", colour(AnsiColor::Magenta).bold()),
            Self::Source => ("source", colour(AnsiColor::Cyan)),
            Self::Cluster => ("cluster", colour(AnsiColor::Blue)),
            Self::Traffic => ("traffic", colour(AnsiColor::Yellow)),
            Self::Canary => ("canary", colour(AnsiColor::Green).bold()),
            Self::Trouble => ("trouble", colour(AnsiColor::Red).bold()),
        }
    }
}

impl Narrator {
    pub(crate) fn new(speaks: bool) -> Self {
        Self {
            speaks,
            start: Instant::now(),
        }
    }

    /// A heading.
    pub(crate) fn title(&self, text: &str) {
        let bold = Style::new().bold();
        self.line(&format!("\n{bold}{text}{bold:#}"));
    }

    /// One fact.
    pub(crate) fn fact(&self, about: About, text: &str) {
        let (word, style) = about.word();
        let seconds = self.start.elapsed().as_secs_f64();
        self.line(&format!("{seconds:6.1}s  {style}{word:<8}{style:#} {text}"));
    }

    /// A commit's difference.
    pub(crate) fn diff(&self, diff: &str) {
        for line in diff.lines() {
            let colour = match line.as_bytes().first() {
                Some(b'+') => Some(AnsiColor::Green),
                Some(b'-') => Some(AnsiColor::Red),
                _ => None,
            };
            let style = Style::new().fg_color(colour.map(Into::into));
            self.line(&format!("                    {style}{line}{style:#}"));
        }
    }

    /// The story's result.
    pub(crate) fn outcome(&self, outcome: &Outcome) {
        self.title("What happened");
        let weights = |w: &[u64]| {
            w.iter()
                .map(|w| format!("{w} %"))
                .collect::<Vec<_>>()
                .join(" → ")
        };
        self.line(&format!(
            "  {} was promoted in {:.1} s over {}",
            outcome.promoted.revision,
            outcome.promoted.seconds,
            weights(&outcome.promoted.weights),
        ));
        self.line(&format!(
            "  {} was rolled back in {:.1} s over {}: {}",
            outcome.rolled_back.revision,
            outcome.rolled_back.seconds,
            weights(&outcome.rolled_back.weights),
            outcome.rolled_back.reason.as_deref().unwrap_or_default(),
        ));
        let requests = outcome.requests;
        let share = 100.0 * requests.failed as f64 / requests.total.max(1) as f64;
        self.line(&format!(
            "  users sent {} requests; {} failed ({share:.2} %)",
            requests.total, requests.failed,
        ));
    }

    /// How to look around while everything stays up.
    pub(crate) fn look_around(&self, world: &World) {
        self.title("It stays up until Ctrl-C. Look around:");
        self.line(&format!(
            "  export KUBECONFIG={}",
            world.kubeconfig().display()
        ));
        for line in [
            "kubectl -n demo get canary,deployments,pods,httproutes",
            "kubectl -n demo describe canary app",
            "weir -n demo get all",
            "weir -n demo events --for Canary/app",
        ] {
            self.line(&format!("  {line}"));
        }
        self.line(&format!(
            "  curl -H 'Host: app.example.com' {}",
            world.gateway()
        ));
        self.line(&format!("  git clone {}", world.git_url()));
    }

    /// What a person needs to know when the story did not end well.
    pub(crate) fn trouble(lines: &[String]) {
        let mut err = anstream::stderr().lock();
        for line in lines {
            // Nothing is left to tell when standard error itself is gone.
            let _ = writeln!(err, "  {line}");
        }
    }

    fn line(&self, text: &str) {
        if self.speaks {
            // A closed pipe ends the telling, not the story.
            let _ = writeln!(anstream::stdout().lock(), "{text}");
        }
    }
}
