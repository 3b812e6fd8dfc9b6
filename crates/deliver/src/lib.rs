//! Kustomization: artifact to objects in a cluster.
