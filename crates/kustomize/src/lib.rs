//! Builds a kustomization into objects; pure.
