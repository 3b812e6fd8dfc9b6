//! Owns AlertProvider: a place that a Canary's alerts are sent to.

use serde::{Deserialize, Serialize};
use weir_object::Kind;

use crate::names::FLAGGER_GROUP;
use crate::{Api, LocalObjectReference};

/// The kind as it is served.
pub const KIND: Kind =
    Kind::namespaced(FLAGGER_GROUP, "v1beta1", "AlertProvider", "alertproviders");

impl Api for Spec {
    const KIND: Kind = KIND;
}

/// Where alerts are sent. Exactly one of `address` and `secretRef` is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(rename = "AlertProviderSpec", extend("oneOf" = [{"required": ["type", "address"]}, {"required": ["type", "secretRef"]}]), transform = crate::schema::nothing_required))]
pub struct Spec {
    /// The service to send to.
    #[serde(rename = "type")]
    pub kind: ProviderKind,
    /// Channel there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Name to send as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Address of the service's hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Proxy to send through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Secret with the key `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
}

/// Services that alerts can be sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", schemars(rename = "AlertProviderKind"))]
pub enum ProviderKind {
    /// Slack.
    #[default]
    Slack,
    /// Microsoft Teams.
    MsTeams,
    /// Discord.
    Discord,
    /// Rocket.Chat.
    Rocket,
    /// Google Chat.
    GChat,
}

/// What was seen of the provider: nothing so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(rename = "AlertProviderStatus"))]
pub struct Status {}
