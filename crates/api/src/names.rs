//! Owns the names that other tools know: condition types and reasons, annotations, labels,
//! finalizers, field managers, and the text patterns of the schemas.
//!
//! They are the upstream controllers' on purpose. Dashboards, alerts, `kubectl wait` and the `flux`
//! CLI look for them, so none may be changed for taste.

/// Condition: the object is as its spec asks. A summary of the others, never set by hand.
pub const READY: &str = "Ready";
/// Condition: work is under way. Removed, not set to False, when it is done.
pub const RECONCILING: &str = "Reconciling";
/// Condition: work cannot go on until someone changes something. Removed when it can.
pub const STALLED: &str = "Stalled";
/// Condition of a Kustomization: what was applied is healthy.
pub const HEALTHY: &str = "Healthy";
/// Condition of a source: the upstream cannot be fetched.
pub const FETCH_FAILED: &str = "FetchFailed";
/// Condition of a source: the artifact cannot be stored.
pub const STORAGE_OPERATION_FAILED: &str = "StorageOperationFailed";
/// Condition of a source: the stored artifact is not of the upstream's revision.
pub const ARTIFACT_OUTDATED: &str = "ArtifactOutdated";
/// Condition of a source: an artifact is in storage.
pub const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";
/// Condition of a source: the revision's signature was checked.
pub const SOURCE_VERIFIED: &str = "SourceVerified";
/// Condition of a GitRepository: an included repository has no artifact.
pub const INCLUDE_UNAVAILABLE: &str = "IncludeUnavailable";
/// Condition of a Canary: the last change is promoted.
pub const PROMOTED: &str = "Promoted";

/// Reasons of conditions and events.
pub mod reason {
    /// All is well.
    pub const SUCCEEDED: &str = "Succeeded";
    /// Something failed, without a more exact word.
    pub const FAILED: &str = "Failed";
    /// Work is under way.
    pub const PROGRESSING: &str = "Progressing";
    /// Work failed and will be tried again.
    pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
    /// The object is suspended.
    pub const SUSPENDED: &str = "Suspended";
    /// A field asks for what this version does not do.
    pub const UNSUPPORTED: &str = "Unsupported";
    /// A dependency is not ready.
    pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
    /// A reference to another namespace is not allowed.
    pub const ACCESS_DENIED: &str = "AccessDenied";
    /// The field needs a feature that is not on.
    pub const FEATURE_GATE_DISABLED: &str = "FeatureGateDisabled";
    /// A CEL expression cannot be read.
    pub const INVALID_CEL_EXPRESSION: &str = "InvalidCELExpression";

    /// The source has no artifact, or it cannot be fetched.
    pub const ARTIFACT_FAILED: &str = "ArtifactFailed";
    /// The manifests cannot be built.
    pub const BUILD_FAILED: &str = "BuildFailed";
    /// Applied.
    pub const RECONCILIATION_SUCCEEDED: &str = "ReconciliationSucceeded";
    /// The manifests cannot be applied.
    pub const RECONCILIATION_FAILED: &str = "ReconciliationFailed";
    /// What is no longer in the source cannot be deleted.
    pub const PRUNE_FAILED: &str = "PruneFailed";
    /// What was applied did not become healthy.
    pub const HEALTH_CHECK_FAILED: &str = "HealthCheckFailed";
    /// A newer revision ended the health check.
    pub const HEALTH_CHECK_CANCELED: &str = "HealthCheckCanceled";

    /// The URL cannot be used.
    pub const URL_INVALID: &str = "URLInvalid";
    /// The credentials are missing or refused.
    pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
    /// The signature is not valid.
    pub const VERIFICATION_ERROR: &str = "VerificationError";
    /// The remote repository has no commits.
    pub const EMPTY_GIT_REPOSITORY: &str = "EmptyGitRepository";
    /// The Git operation succeeded.
    pub const GIT_OPERATION_SUCCEEDED: &str = "GitOperationSucceeded";
    /// The Git operation failed.
    pub const GIT_OPERATION_FAILED: &str = "GitOperationFailed";
    /// A new artifact is there.
    pub const NEW_ARTIFACT: &str = "NewArtifact";
    /// The artifact is still of the upstream's revision.
    pub const ARTIFACT_UP_TO_DATE: &str = "ArtifactUpToDate";
    /// No artifact is in storage.
    pub const NO_ARTIFACT: &str = "NoArtifact";
    /// The archive cannot be stored.
    pub const ARCHIVE_OPERATION_FAILED: &str = "ArchiveOperationFailed";
    /// The directory cannot be made.
    pub const DIRECTORY_CREATION_FAILED: &str = "DirectoryCreationFailed";
    /// Files or tags cannot be read.
    pub const READ_OPERATION_FAILED: &str = "ReadOperationFailed";
    /// The link to the latest archive cannot be moved.
    pub const SYMLINK_UPDATE_FAILED: &str = "SymlinkUpdateFailed";

    /// The image's name cannot be used.
    pub const IMAGE_URL_INVALID: &str = "ImageURLInvalid";
    /// The policy cannot be used.
    pub const INVALID_POLICY: &str = "InvalidPolicy";
    /// The update of manifests failed.
    pub const UPDATE_FAILED: &str = "UpdateFailed";
    /// The policy selector cannot be used.
    pub const INVALID_POLICY_SELECTOR: &str = "InvalidPolicySelector";
    /// The source cannot be used for writing.
    pub const INVALID_SOURCE_CONFIGURATION: &str = "InvalidSourceConfiguration";
    /// The update strategy is not known.
    pub const INVALID_UPDATE_STRATEGY: &str = "InvalidUpdateStrategy";
    /// The source's access failed.
    pub const SOURCE_MANAGER_FAILED: &str = "SourceManagerFailed";
}

/// Annotation: a new value asks for a reconciliation now.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Annotation: with `requestedAt`'s value, asks for a forced reconciliation.
pub const FORCE_AT: &str = "reconcile.fluxcd.io/forceAt";
/// Annotation: with `requestedAt`'s value, asks that failure counts start again.
pub const RESET_AT: &str = "reconcile.fluxcd.io/resetAt";
/// Annotation on an applied object: `disabled` leaves it alone from now on.
pub const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
/// Annotation on an applied object: `disabled` keeps it when it is no longer in the source.
pub const PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";
/// Annotation on an applied object: `enabled` recreates it when a field cannot be changed.
pub const FORCE: &str = "kustomize.toolkit.fluxcd.io/force";
/// Annotation on an applied object: `Override`, `Merge`, `IfNotPresent` or `Ignore`.
pub const SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
/// Annotation on an object of a source: `disabled` keeps variables as they are written.
pub const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
/// Label on an applied object: the owning Kustomization's name.
pub const OWNER_NAME: &str = "kustomize.toolkit.fluxcd.io/name";
/// Label on an applied object: the owning Kustomization's namespace.
pub const OWNER_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";
/// Prefix of annotations that are copied into the metadata of an object's events.
pub const EVENT_METADATA_PREFIX: &str = "event.toolkit.fluxcd.io/";
/// Keys with this part belong to the toolkit and are never copied to generated objects.
pub const TOOLKIT: &str = "toolkit.fluxcd.io";
/// Key of an artifact's metadata: the revision of what the artifact was built from.
pub const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";
/// Annotation on a definition: Helm keeps it when a release goes.
pub const HELM_RESOURCE_POLICY: &str = "helm.sh/resource-policy";
/// Annotation on a primary's pod template: a new value rolls its pods at each promotion.
pub const FLAGGER_ID: &str = "flagger-id";

/// Finalizer of every toolkit kind.
pub const FINALIZER: &str = "finalizers.fluxcd.io";
/// Finalizer of a Canary that restores its target on deletion.
pub const CANARY_FINALIZER: &str = "finalizer.flagger.app";

/// Field manager and event source of sources.
pub const SOURCE_CONTROLLER: &str = "source-controller";
/// Field manager and event source of Kustomizations.
pub const KUSTOMIZE_CONTROLLER: &str = "kustomize-controller";
/// Field manager and event source of HelmReleases.
pub const HELM_CONTROLLER: &str = "helm-controller";
/// Field manager and event source of image scans and policies.
pub const IMAGE_REFLECTOR_CONTROLLER: &str = "image-reflector-controller";
/// Field manager and event source of image updates.
pub const IMAGE_AUTOMATION_CONTROLLER: &str = "image-automation-controller";
/// Field manager and event source of alerts and receivers.
pub const NOTIFICATION_CONTROLLER: &str = "notification-controller";
/// Field manager and event source of Canaries.
pub const FLAGGER: &str = "flagger";

/// API group of sources.
pub const SOURCE_GROUP: &str = "source.toolkit.fluxcd.io";
/// API group of Kustomizations.
pub const KUSTOMIZE_GROUP: &str = "kustomize.toolkit.fluxcd.io";
/// API group of image automation.
pub const IMAGE_GROUP: &str = "image.toolkit.fluxcd.io";
/// API group of Canaries.
pub const FLAGGER_GROUP: &str = "flagger.app";

/// Pattern of intervals.
pub const INTERVAL_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// Pattern of timeouts: without hours.
pub const TIMEOUT_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$";
/// Pattern of a Canary's intervals.
pub const CANARY_INTERVAL_PATTERN: &str = "^[0-9]+(m|s)";
/// Pattern of an artifact's digest.
pub const DIGEST_PATTERN: &str = "^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$";
/// Pattern of a condition's type.
pub const CONDITION_TYPE_PATTERN: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";
/// Pattern of a condition's reason.
pub const REASON_PATTERN: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";
/// Pattern of an API group, which may be empty.
pub const GROUP_PATTERN: &str =
    r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Pattern of a kind.
pub const KIND_PATTERN: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";
/// Pattern of a namespace.
pub const NAMESPACE_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// Pattern of a listener's name.
pub const SECTION_PATTERN: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Annotations that ask something of a Canary: `canary.weir.dev/VERB`. The value is a token, and
/// each token acts once.
pub mod ask {
    /// What they begin with.
    pub const GROUP: &str = "canary.weir.dev";
    /// Who asks. The chart's admission policy holds it to the name of who writes it.
    pub const BY: &str = "canary.weir.dev/requested-by";
}
