//! GitRepository to artifact.
