//! Owns faults of the API by plan: which requests are struck, counted and repeatable by seed. What
//! parts of this process do through [`crate::Store`] is never struck: only requests are.

mod plan;
mod strike;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::request::Parts;
use jiff::Timestamp;

use crate::authorize::Attributes;
use crate::identity::User;
use crate::random::Random;
use crate::request;
use crate::server::Now;

pub use plan::{
    Ambiguity, Cutting, FaultError, FaultMatch, FaultPlan, FaultPlanError, FaultRule, FaultVerb,
    FaultWhen, Moment, Span, Staleness,
};
pub(crate) use strike::{AsOf, after, before};

/// The faults of one server, to be set and cleared while it runs. Cheap to clone.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

struct Inner {
    now: Now,
    seed: u64,
    /// So that servers without a plan lose no time.
    active: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Counted>,
    since: Timestamp,
}

/// A rule and what it did.
struct Counted {
    rule: FaultRule,
    matched: u64,
    fired: u64,
    chance: Random,
}

/// What a rule did so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultCount {
    /// The rule's name, or `rules[N]` where it has none.
    pub name: String,
    /// Requests that it was for.
    pub matched: u64,
    /// Requests that it struck.
    pub fired: u64,
}

/// What befalls one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Strike {
    pub(crate) delay: Duration,
    pub(crate) effect: Option<Effect>,
    pub(crate) watch: bool,
}

/// An effect that decides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Error(FaultError),
    Ambiguous(Ambiguity),
    Stale(Staleness),
    Drop(Cutting),
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Faults").field(&self.counts()).finish()
    }
}

impl Faults {
    pub(crate) fn new(now: Now, seed: u64) -> Self {
        Self(Arc::new(Inner {
            now,
            seed,
            active: AtomicBool::new(false),
            state: Mutex::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a plan in force instead of the one before; its counts and its time begin anew.
    ///
    /// # Errors
    /// The plan contradicts itself; the one before stays.
    pub fn set(&self, plan: FaultPlan) -> Result<(), FaultPlanError> {
        plan.check().map_err(|(field, what)| FaultPlanError {
            file: "given".to_owned(),
            field,
            what,
        })?;
        let seed = plan.seed.unwrap_or(self.0.seed);
        let rules = plan.rules.into_iter().enumerate().map(|(i, rule)| Counted {
            rule,
            matched: 0,
            fired: 0,
            // Each rule has a chance of its own, whatever the others are asked.
            chance: Random::new(seed ^ ((i as u64 + 1) << 32)),
        });
        let mut state = self.lock();
        state.rules = rules.collect();
        state.since = (self.0.now)();
        let active = !state.rules.is_empty();
        self.0.active.store(active, Ordering::Release);
        Ok(())
    }

    /// No more faults.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.rules.clear();
        self.0.active.store(false, Ordering::Release);
    }

    /// What each rule did since the plan was set.
    pub fn counts(&self) -> Vec<FaultCount> {
        let named = |(i, rule): (usize, &Counted)| FaultCount {
            name: if rule.rule.name.is_empty() {
                format!("rules[{i}]")
            } else {
                rule.rule.name.clone()
            },
            matched: rule.matched,
            fired: rule.fired,
        };
        self.lock().rules.iter().enumerate().map(named).collect()
    }

    /// How many requests were struck since the plan was set.
    pub fn fired(&self) -> u64 {
        self.lock().rules.iter().map(|r| r.fired).sum()
    }

    /// What befalls a request.
    pub(crate) fn strike(&self, head: &Parts, user: &User) -> Option<Strike> {
        if !self.0.active.load(Ordering::Acquire) {
            return None;
        }
        let segments = request::segments(head.uri.path())?;
        let attributes = Attributes::of(head, &segments);
        if !attributes.is_resource {
            return None;
        }
        let asked = Asked::of(head, user, attributes);
        let now = (self.0.now)();
        let mut state = self.lock();
        let since = state.since;
        let mut out = Strike {
            watch: asked.attributes.verb == "watch",
            ..Strike::default()
        };
        for rule in &mut state.rules {
            if !rule.is_due(&asked, now, since) {
                continue;
            }
            let is = &rule.rule;
            if let Some(Span(delay)) = is.delay {
                out.delay = out.delay.saturating_add(delay);
                continue;
            }
            out.effect = (is.error.clone().map(Effect::Error))
                .or(is.ambiguous.map(Effect::Ambiguous))
                .or(is.stale.clone().map(Effect::Stale))
                .or(is.drop.clone().map(Effect::Drop));
            break;
        }
        Some(out).filter(|s| !s.delay.is_zero() || s.effect.is_some())
    }
}

/// One request as rules look at it.
struct Asked<'a> {
    attributes: Attributes,
    user: &'a str,
    agent: &'a str,
    manager: String,
}

impl<'a> Asked<'a> {
    fn of(head: &'a Parts, user: &'a User, attributes: Attributes) -> Self {
        let agent = head.headers.get(http::header::USER_AGENT);
        let agent = agent.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let query = head.uri.query().unwrap_or_default();
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let manager = pairs.find(|(name, _)| name == "fieldManager");
        let manager = manager.map(|(_, value)| value.into_owned());
        Self {
            attributes,
            user: &user.name,
            agent,
            manager: manager.unwrap_or_else(|| request::manager_of(Some(agent))),
        }
    }
}

impl Counted {
    /// Counts a request that the rule is for, and says whether it is struck.
    fn is_due(&mut self, asked: &Asked<'_>, now: Timestamp, since: Timestamp) -> bool {
        if !self.is_for(asked) {
            return false;
        }
        let when = &self.rule.when;
        let at = |moment: &Moment| match moment {
            Moment::At(time) => *time,
            Moment::Since(length) => since.checked_add(*length).unwrap_or(Timestamp::MAX),
        };
        if when.after.as_ref().is_some_and(|m| now < at(m))
            || when.until.as_ref().is_some_and(|m| now >= at(m))
        {
            return false;
        }
        self.matched += 1;
        let chosen = match (when.nth, when.every, when.probability) {
            (Some(nth), ..) => self.matched == nth,
            (_, Some(every), _) => self.matched.is_multiple_of(every),
            (.., Some(probability)) => {
                // The upper 53 bits, as a number from 0 up to 1.
                let drawn = (self.chance.next() >> 11) as f64 / (1_u64 << 53) as f64;
                drawn < probability
            }
            _ => true,
        };
        let due = chosen && when.count.is_none_or(|count| self.fired < count);
        self.fired += u64::from(due);
        due
    }

    fn is_for(&self, asked: &Asked<'_>) -> bool {
        let (rule, wanted, is) = (&self.rule, &self.rule.matches, &asked.attributes);
        let reads = FaultVerb::Read.covers(&is.verb);
        if (rule.ambiguous.is_some() && reads) || (rule.stale.is_some() && !reads) {
            return false;
        }
        let any = |patterns: &[String], text: &str| {
            patterns.is_empty() || patterns.iter().any(|p| fits(p, text))
        };
        (wanted.verbs.is_empty() || wanted.verbs.iter().any(|v| v.covers(&is.verb)))
            && any(&wanted.groups, &is.group)
            && any(&wanted.resources, &is.resource)
            && any(&wanted.subresources, &is.subresource)
            && any(&wanted.namespaces, &is.namespace)
            && (wanted.names.is_empty() || (!is.name.is_empty() && any(&wanted.names, &is.name)))
            && any(&wanted.users, asked.user)
            && any(&wanted.user_agents, asked.agent)
            && any(&wanted.managers, &asked.manager)
    }
}

/// Whether a text fits a pattern, in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, yes) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("pod", "pod", true),
            ("pod", "pods", false),
            ("pod*", "pods", true),
            ("*-primary", "app-primary", true),
            ("*-primary", "app-primary-x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
            ("kubectl/*", "kubectl/v1.32 (linux)", true),
        ] {
            assert_eq!(fits(pattern, text), yes, "{pattern} {text}");
        }
    }
}
