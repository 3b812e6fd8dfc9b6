//! Owns what to grant to whom when the API server says that something is not allowed: read from
//! its sentence, since it says it nowhere else.

/// What would make the refused call allowed, as a clause.
pub(crate) fn asked(message: &str) -> String {
    match Denied::read(message) {
        Some(denied) => denied.remedy(),
        None => "grant the verb on the resource to the identity in use".to_owned(),
    }
}

/// One refusal of the RBAC authorizer.
#[derive(Debug, PartialEq, Eq)]
struct Denied<'a> {
    user: &'a str,
    verb: &'a str,
    resource: &'a str,
    group: &'a str,
    namespace: Option<&'a str>,
}

impl<'a> Denied<'a> {
    /// Reads `… User "U" cannot V resource "R" in API group "G" in the namespace "N"`, whose end may
    /// be `at the cluster scope` instead.
    fn read(message: &'a str) -> Option<Self> {
        let (_, rest) = message.split_once("User \"")?;
        let (user, rest) = rest.split_once("\" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, rest) = rest.split_once('"')?;
        let namespace = rest.split_once("in the namespace \"");
        Some(Self {
            user,
            verb,
            resource,
            group,
            namespace: namespace.and_then(|(_, rest)| Some(rest.split_once('"')?.0)),
        })
    }

    fn remedy(&self) -> String {
        let account = self.user.strip_prefix("system:serviceaccount:");
        let who = match account.and_then(|account| account.split_once(':')) {
            Some((namespace, name)) => format!("ServiceAccount {namespace}/{name}"),
            None => format!("user {}", self.user),
        };
        let dot = if self.group.is_empty() { "" } else { "." };
        let what = format!("`{}` on `{}{dot}{}`", self.verb, self.resource, self.group);
        match self.namespace {
            Some(namespace) => format!(
                "bind a Role with {what} to {who} in namespace {namespace}, or a ClusterRole with it"
            ),
            None => format!("bind a ClusterRole with {what} to {who}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_to_grant_is_named() {
        for (message, remedy) in [
            (
                "deployments.apps \"a\" is forbidden: User \"system:serviceaccount:team:apps\" cannot \
                 patch resource \"deployments\" in API group \"apps\" in the namespace \"shop\"",
                "bind a Role with `patch` on `deployments.apps` to ServiceAccount team/apps in \
                 namespace shop, or a ClusterRole with it",
            ),
            (
                "namespaces is forbidden: User \"jane\" cannot list resource \"namespaces\" in API \
                 group \"\" at the cluster scope: RBAC: clusterrole \"x\" not found",
                "bind a ClusterRole with `list` on `namespaces` to user jane",
            ),
            (
                "admission webhook \"w\" denied the request",
                "grant the verb on the resource to the identity in use",
            ),
        ] {
            assert_eq!(asked(message), remedy);
        }
    }
}
