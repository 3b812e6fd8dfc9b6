//! Applying objects to a cluster: inventory, stages, prune, health wait.
