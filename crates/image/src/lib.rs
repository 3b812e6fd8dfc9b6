//! Image scan, policy and updates committed to Git.
