//! Owns whether a policy may use a repository of another namespace. Pure.

use weir_api::image_repository::AccessFrom;
use weir_object::Object;

/// Whether `access` lets the namespace in. Nothing said, or no selector, lets nobody in; a selector
/// without labels lets everybody in.
pub(crate) fn allowed(access: Option<&AccessFrom>, namespace: Option<&Object>) -> bool {
    let Some(namespace) = namespace else {
        return false;
    };
    access.is_some_and(|access| {
        access.namespace_selectors.iter().any(|selector| {
            let mut labels = selector.match_labels.iter();
            labels.all(|(name, value)| namespace.label(name) == Some(value))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use weir_api::image_repository::NamespaceSelector;

    #[test]
    fn only_chosen_namespaces_are_let_in() {
        let namespace = Object(json!({"metadata": {"name": "n", "labels": {"team": "a"}}}));
        let of = |labels: &[(&str, &str)]| {
            let pairs = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            let match_labels = pairs.collect();
            AccessFrom {
                namespace_selectors: vec![NamespaceSelector { match_labels }],
            }
        };
        let on = |access: &AccessFrom| allowed(Some(access), Some(&namespace));
        assert!(on(&of(&[])) && on(&of(&[("team", "a")])));
        assert!(!on(&of(&[("team", "b")])) && !on(&of(&[("team", "a"), ("x", "y")])));
        assert!(!on(&AccessFrom::default()));
        assert!(!allowed(None, Some(&namespace)));
        assert!(!allowed(Some(&of(&[])), None));
    }
}
