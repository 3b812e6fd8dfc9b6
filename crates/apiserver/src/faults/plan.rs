//! Owns fault plans as files: their form, and what is told of one that cannot be used. A plan says
//! which requests are struck, when, and by what; striking is done elsewhere.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most rules of a plan.
const RULES: usize = 256;

/// A plan: rules in order. For each request every rule is asked in turn; the first that strikes
/// decides, except that delays add up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FaultPlan {
    /// The seed of chance; the server's own where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The rules.
    #[serde(default)]
    pub rules: Vec<FaultRule>,
}

/// One rule: requests, when, and exactly one effect.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FaultRule {
    /// The name under which it is counted.
    #[serde(default)]
    pub name: String,
    /// Which requests; all of it must hold, and what is left out holds always.
    #[serde(default, rename = "match")]
    pub matches: FaultMatch,
    /// Which of those requests are struck; all, where nothing is said.
    #[serde(default)]
    pub when: FaultWhen,
    /// Answer with a refusal, and do nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FaultError>,
    /// Wait before anything else, and go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Do the write, and let the client not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ambiguous: Option<Ambiguity>,
    /// Answer a read from an earlier version; let a watch lag behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<Staleness>,
    /// Cut the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<Cutting>,
}

/// Which requests a rule is for. Names may hold `*`, which stands for any text.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct FaultMatch {
    /// Verbs.
    pub verbs: Vec<FaultVerb>,
    /// API groups; the core group is the empty text.
    pub groups: Vec<String>,
    /// Resources, in the plural.
    pub resources: Vec<String>,
    /// Subresources; the object itself is the empty text.
    pub subresources: Vec<String>,
    /// Namespaces; what is in none has the empty text.
    pub namespaces: Vec<String>,
    /// Names of objects; collections have none and are left out.
    pub names: Vec<String>,
    /// User names.
    pub users: Vec<String>,
    /// `User-Agent` headers.
    pub user_agents: Vec<String>,
    /// Field managers, as told by `fieldManager`.
    pub managers: Vec<String>,
}

/// A verb of the API, or one of the two kinds of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultVerb {
    /// One object is read.
    Get,
    /// A collection is read.
    List,
    /// Changes are followed.
    Watch,
    /// An object is made.
    Create,
    /// An object is replaced.
    Update,
    /// An object is patched or applied.
    Patch,
    /// An object is removed.
    Delete,
    /// A collection is removed.
    DeleteCollection,
    /// `get`, `list` and `watch`.
    Read,
    /// All others.
    Write,
}

impl FaultVerb {
    pub(crate) fn covers(self, verb: &str) -> bool {
        let reads = matches!(verb, "get" | "list" | "watch");
        match self {
            Self::Get => verb == "get",
            Self::List => verb == "list",
            Self::Watch => verb == "watch",
            Self::Create => verb == "create",
            Self::Update => verb == "update",
            Self::Patch => verb == "patch",
            Self::Delete => verb == "delete",
            Self::DeleteCollection => verb == "deletecollection",
            Self::Read => reads,
            Self::Write => !reads,
        }
    }

    fn reads(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch | Self::Read)
    }
}

/// Which of the matching requests are struck. At most one of `nth`, `every` and `probability`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct FaultWhen {
    /// Only this one, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Each one whose number is a multiple of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Each with this chance, between 0 and 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Moment>,
    /// Not from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FaultError {
    /// The HTTP status, 400 to 599.
    pub code: u16,
    /// The reason; the usual one of the status where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The message; the usual one of the status where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Seconds after which to try again; 1 for status 429 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

/// What a client sees of a write that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ambiguity {
    /// Status 504.
    Timeout,
    /// Status 500, as when the API server lost its own storage.
    Storage,
    /// The connection ends without an answer.
    Cut,
}

/// How far behind: by changes of the resource, or by time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Staleness {
    /// So many changes of the resource are not seen yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<usize>,
    /// What happened since is not seen yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Span>,
}

/// When a connection is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Cutting {
    /// A watch brings so many events first; other requests are cut before they are done.
    pub events: usize,
}

/// A length of time, as Go writes it: `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A point of time: a length since the plan was set, or in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long after the plan was set.
    Since(Duration),
    /// Then.
    At(Timestamp),
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&weir_gocompat::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        span(&text).map(Self).map_err(de::Error::custom)
    }
}

fn span(text: &str) -> Result<Duration, String> {
    weir_gocompat::parse_duration(text)
        .map_err(|e| format!("{e}; a length of time is written as `1m30s`"))
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Since(length) => Span(*length).serialize(serializer),
            Self::At(time) => serializer.serialize_str(&time.to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        span(&text).map(Self::Since).map_err(|e| {
            de::Error::custom(format!("{e}, a point of time as `2030-01-02T15:04:05Z`"))
        })
    }
}

/// A plan that cannot be used. Terminal until the file changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault plan `{file}`: {field}: {what}")]
pub struct FaultPlanError {
    /// The file.
    pub file: String,
    /// The field, as `rules[0].when.nth`.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub what: String,
}

impl FaultPlan {
    /// Reads a plan in YAML or JSON; `file` is its name for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, FaultPlanError> {
        let told = |field: &str, what: String| FaultPlanError {
            file: file.to_owned(),
            field: if field == "." { "the plan" } else { field }.to_owned(),
            what,
        };
        let value: serde_json::Value =
            weir_yaml::from_str(text).map_err(|e| told(".", e.to_string()))?;
        let plan: Self = serde_path_to_error::deserialize(&value)
            .map_err(|e| told(&e.path().to_string(), e.inner().to_string()))?;
        plan.check().map_err(|(field, what)| told(&field, what))?;
        Ok(plan)
    }

    /// What is wrong with it, with its field.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        if self.rules.len() > RULES {
            let what = format!("{} rules; at most {RULES} are allowed", self.rules.len());
            return Err(("rules".to_owned(), what));
        }
        for (i, rule) in self.rules.iter().enumerate() {
            rule.check()
                .map_err(|(field, what)| (format!("rules[{i}]{field}"), what))?;
        }
        Ok(())
    }
}

impl FaultRule {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let effects = [
            self.error.is_some(),
            self.delay.is_some(),
            self.ambiguous.is_some(),
            self.stale.is_some(),
            self.drop.is_some(),
        ];
        let count = effects.iter().filter(|e| **e).count();
        if count != 1 {
            let what = format!(
                "{count} effects; exactly one of error, delay, ambiguous, stale and drop is allowed"
            );
            return Err(("", what));
        }
        let when = &self.when;
        let choices = [
            when.nth.is_some(),
            when.every.is_some(),
            when.probability.is_some(),
        ];
        if choices.iter().filter(|c| **c).count() > 1 {
            let what = "at most one of nth, every and probability is allowed".to_owned();
            return Err((".when", what));
        }
        for (field, number) in [
            (".when.nth", when.nth),
            (".when.every", when.every),
            (".when.count", when.count),
        ] {
            if number == Some(0) {
                return Err((field, "0; it is counted from 1".to_owned()));
            }
        }
        if let Some(chance) = when.probability.filter(|p| !(0.0..=1.0).contains(p)) {
            let what = format!("{chance}; it lies between 0 and 1");
            return Err((".when.probability", what));
        }
        if let Some(error) = &self.error
            && !(400..=599).contains(&error.code)
        {
            let what = format!("{}; a refusal's status is 400 to 599", error.code);
            return Err((".error.code", what));
        }
        if let Some(stale) = &self.stale
            && stale.changes.is_some() == stale.age.is_some()
        {
            let what = "exactly one of changes and age is allowed".to_owned();
            return Err((".stale", what));
        }
        let verbs = &self.matches.verbs;
        if self.ambiguous.is_some() && verbs.iter().any(|v| v.reads()) {
            let what = "a verb that reads; only a write can be ambiguous".to_owned();
            return Err((".match.verbs", what));
        }
        if self.stale.is_some() && verbs.iter().any(|v| !v.reads()) {
            let what = "a verb that writes; only get, list and watch can be stale".to_owned();
            return Err((".match.verbs", what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../../examples/sandbox/faults.yaml");
    const DOCS: &str = include_str!("../../../../docs/faults.md");

    #[test]
    fn the_example_is_a_plan_and_is_written_as_it_is_read() {
        let plan = FaultPlan::parse("faults.yaml", EXAMPLE).expect("a plan");
        assert!(plan.rules.len() >= 5);
        let written = serde_json::to_string(&plan).expect("written");
        assert_eq!(FaultPlan::parse("again", &written), Ok(plan));
        assert!(
            DOCS.contains(EXAMPLE),
            "docs/faults.md shows another example"
        );
    }

    #[test]
    fn a_plan_that_cannot_be_used_is_told_with_its_field_and_what_is_allowed() {
        let told = |text: &str| {
            FaultPlan::parse("f.yaml", text)
                .expect_err("refused")
                .to_string()
        };
        for (text, parts) in [
            ("rules: 3", &["`f.yaml`: rules:", "expected a sequence"][..]),
            (
                "rulez: []",
                &["`f.yaml`: rulez", "unknown field `rulez`", "`rules`"],
            ),
            (
                "rules: [{match: {verbs: [gett]}, delay: 1s}]",
                &["rules[0].match.verbs[0]", "`gett`", "`list`"],
            ),
            (
                "rules: [{match: {verbs: [get]}}]",
                &["rules[0]: 0 effects", "exactly one of error"],
            ),
            ("rules: [{delay: 1s, drop: {}}]", &["rules[0]: 2 effects"]),
            ("rules: [{delay: soon}]", &["rules[0].delay", "1m30s"]),
            (
                "rules: [{delay: 1s, when: {nth: 0}}]",
                &["rules[0].when.nth: 0", "from 1"],
            ),
            (
                "rules: [{delay: 1s, when: {nth: 1, every: 2}}]",
                &["rules[0].when", "at most one"],
            ),
            (
                "rules: [{delay: 1s, when: {probability: 2}}]",
                &["probability: 2", "between 0 and 1"],
            ),
            (
                "rules: [{delay: 1s, when: {after: later}}]",
                &["rules[0].when.after", "2030-01-02T15:04:05Z"],
            ),
            (
                "rules: [{error: {code: 200}}]",
                &["rules[0].error.code: 200", "400 to 599"],
            ),
            (
                "rules: [{error: {}}]",
                &["rules[0].error", "missing field `code`"],
            ),
            (
                "rules: [{stale: {}}]",
                &["rules[0].stale", "exactly one of changes and age"],
            ),
            (
                "rules: [{match: {verbs: [patch]}, stale: {changes: 1}}]",
                &["rules[0].match.verbs", "only get, list and watch"],
            ),
            (
                "rules: [{match: {verbs: [read]}, ambiguous: cut}]",
                &["rules[0].match.verbs", "only a write"],
            ),
            (
                "rules: [{ambiguous: maybe}]",
                &["rules[0].ambiguous", "`timeout`"],
            ),
        ] {
            let said = told(text);
            for part in parts {
                assert!(said.contains(part), "{text}: `{part}` is not in: {said}");
            }
        }
    }
}
