//! Owns the words on built-in types, which are those of k8s-openapi: its types carry their own
//! documentation. They are gathered once, when first asked for.

use std::collections::HashMap;
use std::sync::OnceLock;

use k8s_openapi::schemars::SchemaGenerator;
use serde_json::Value;

#[derive(Debug, Default)]
struct Words {
    own: Option<String>,
    fields: HashMap<String, String>,
}

/// What a type is.
pub(crate) fn of_type(name: &str) -> Option<&'static str> {
    all().get(name)?.own.as_deref()
}

/// What a field of a type is.
pub(crate) fn of_field(name: &str, field: &str) -> Option<&'static str> {
    all().get(name)?.fields.get(field).map(String::as_str)
}

fn all() -> &'static HashMap<String, Words> {
    static CELL: OnceLock<HashMap<String, Words>> = OnceLock::new();
    CELL.get_or_init(|| {
        let mut generator = SchemaGenerator::default();
        visit(&mut generator);
        let definitions = generator.take_definitions(false);
        definitions
            .iter()
            .map(|(name, schema)| (name.clone(), words(schema)))
            .collect()
    })
}

fn words(schema: &Value) -> Words {
    let text = |of: &Value| of.get("description")?.as_str().map(str::to_owned);
    let properties = schema.get("properties").and_then(Value::as_object);
    Words {
        own: text(schema),
        fields: properties
            .into_iter()
            .flatten()
            .filter_map(|(name, of)| Some((name.clone(), text(of)?)))
            .collect(),
    }
}

macro_rules! visit {
    ($($ty:path,)*) => {
        /// Visits every served kind, and with it all that its fields are made of.
        fn visit(generator: &mut SchemaGenerator) {
            use k8s_openapi::*;
            $(generator.subschema_for::<$ty>();)*
        }
    };
}

visit! {
    api::admissionregistration::v1::MutatingWebhookConfiguration,
    api::admissionregistration::v1::ValidatingAdmissionPolicy,
    api::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    api::admissionregistration::v1::ValidatingWebhookConfiguration,
    api::apps::v1::ControllerRevision,
    api::apps::v1::DaemonSet,
    api::apps::v1::Deployment,
    api::apps::v1::ReplicaSet,
    api::apps::v1::StatefulSet,
    api::authentication::v1::SelfSubjectReview,
    api::authentication::v1::TokenRequest,
    api::authentication::v1::TokenReview,
    api::authorization::v1::LocalSubjectAccessReview,
    api::authorization::v1::SelfSubjectAccessReview,
    api::authorization::v1::SelfSubjectRulesReview,
    api::authorization::v1::SubjectAccessReview,
    api::autoscaling::v1::HorizontalPodAutoscaler,
    api::autoscaling::v1::Scale,
    api::autoscaling::v2::HorizontalPodAutoscaler,
    api::batch::v1::CronJob,
    api::batch::v1::Job,
    api::certificates::v1::CertificateSigningRequest,
    api::coordination::v1::Lease,
    api::core::v1::Binding,
    api::core::v1::ComponentStatus,
    api::core::v1::ConfigMap,
    api::core::v1::Endpoints,
    api::core::v1::Event,
    api::core::v1::LimitRange,
    api::core::v1::Namespace,
    api::core::v1::Node,
    api::core::v1::PersistentVolume,
    api::core::v1::PersistentVolumeClaim,
    api::core::v1::Pod,
    api::core::v1::PodTemplate,
    api::core::v1::ReplicationController,
    api::core::v1::ResourceQuota,
    api::core::v1::Secret,
    api::core::v1::Service,
    api::core::v1::ServiceAccount,
    api::discovery::v1::EndpointSlice,
    api::events::v1::Event,
    api::flowcontrol::v1::FlowSchema,
    api::flowcontrol::v1::PriorityLevelConfiguration,
    api::networking::v1::IPAddress,
    api::networking::v1::Ingress,
    api::networking::v1::IngressClass,
    api::networking::v1::NetworkPolicy,
    api::networking::v1::ServiceCIDR,
    api::node::v1::RuntimeClass,
    api::policy::v1::Eviction,
    api::policy::v1::PodDisruptionBudget,
    api::rbac::v1::ClusterRole,
    api::rbac::v1::ClusterRoleBinding,
    api::rbac::v1::Role,
    api::rbac::v1::RoleBinding,
    api::resource::v1::DeviceClass,
    api::resource::v1::ResourceClaim,
    api::resource::v1::ResourceClaimTemplate,
    api::resource::v1::ResourceSlice,
    api::scheduling::v1::PriorityClass,
    api::storage::v1::CSIDriver,
    api::storage::v1::CSINode,
    api::storage::v1::CSIStorageCapacity,
    api::storage::v1::StorageClass,
    api::storage::v1::VolumeAttachment,
    api::storage::v1::VolumeAttributesClass,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::APIGroup,
    apimachinery::pkg::apis::meta::v1::APIResourceList,
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
    apimachinery::pkg::apis::meta::v1::ListMeta,
    apimachinery::pkg::apis::meta::v1::Status,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_kind_is_spoken_of() {
        for info in weir_schema::builtin_kinds() {
            assert!(of_type(&info.type_name).is_some(), "{}", info.type_name);
        }
        let text = of_field("io.k8s.api.apps.v1.DeploymentSpec", "replicas");
        assert!(text.is_some_and(|text| text.starts_with("Number of desired pods.")));
    }
}
