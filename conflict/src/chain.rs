//! The stages in order, and the gate that every result passes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::check::{Failed, check};
use crate::conflict::{Candidate, Conflict, Reason, Resolution, Resolver};
use crate::document::Schema;
use crate::kind::whitespace_has_meaning;
use crate::resolver::{Crdt, Learned, Policy, PolicyStage, Queue, Structural, Text, Trivial};
use crate::structure;

/// The names a configuration may list, in the standard order.
pub const STAGES: [&str; 7] = ["trivial", "text", "structural", "crdt", "learned", "policy", "queue"];

/// At most this many proposals go to a person.
const SUGGESTION_LIMIT: usize = 3;

/// A chain of resolvers. The last stage is always the queue, which keeps both sides.
pub struct Chain {
    stages: Vec<Box<dyn Resolver>>,
}

/// A chain that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No stage has this name.
    #[error("unknown stage {0:?} in the conflict chain")]
    Unknown(String),
    /// A stage occurs twice.
    #[error("stage {0:?} stands twice in the conflict chain")]
    Twice(String),
}

/// What became of a conflict, and what each stage said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The result, the proposals, or why there are none.
    pub resolution: Resolution,
    /// Every stage that was asked, in order.
    pub trace: Vec<Step>,
}

/// One stage's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The stage, as `name@version`.
    pub resolver: &'static str,
    /// What it said, for a person.
    pub result: String,
}

impl Chain {
    /// Builds a chain from stage names. A missing `queue` is added.
    pub fn new<S: AsRef<str>>(names: &[S], policy: Policy) -> Result<Chain, ChainError> {
        let mut stages: Vec<Box<dyn Resolver>> = Vec::new();
        for (index, name) in names.iter().map(AsRef::as_ref).enumerate() {
            if names[..index].iter().any(|other| other.as_ref() == name) {
                return Err(ChainError::Twice(name.to_owned()));
            }
            stages.push(match name {
                "trivial" => Box::new(Trivial),
                "text" => Box::new(Text),
                "structural" => Box::new(Structural),
                "crdt" => Box::new(Crdt::default()),
                "learned" => Box::new(Learned),
                "policy" => Box::new(PolicyStage(policy)),
                "queue" => Box::new(Queue),
                other => return Err(ChainError::Unknown(other.to_owned())),
            });
        }
        if !names.iter().any(|name| name.as_ref() == "queue") {
            stages.push(Box::new(Queue));
        }
        Ok(Chain { stages })
    }

    /// Returns the standard chain, whose policy is that a person decides.
    pub fn standard() -> Chain {
        Chain::with_policy(Policy::Queue)
    }

    /// Returns the standard chain with another policy.
    pub fn with_policy(policy: Policy) -> Chain {
        Chain::new(&STAGES, policy).expect("the standard names are known and differ")
    }

    /// Returns the chain with what is declared about documents.
    pub fn with_documents(mut self, schema: Schema) -> Chain {
        for stage in &mut self.stages {
            if stage.name().starts_with("crdt@") {
                *stage = Box::new(Crdt(schema.clone()));
            }
        }
        self
    }

    /// Asks stage after stage; the first result that passes the checks is the answer.
    ///
    /// A result that fails a check becomes a proposal, or is dropped when it is broken. A stage that panics has
    /// declined.
    pub fn resolve(&self, conflict: &Conflict<'_>) -> Outcome {
        let mut trace = Vec::with_capacity(self.stages.len());
        let mut proposals: Vec<Candidate> = Vec::new();
        let mut reason = Reason::Queued;
        for stage in &self.stages {
            let resolver = stage.name();
            let mut say = |result: String| trace.push(Step { resolver, result });
            match ask(stage.as_ref(), conflict) {
                Resolution::Resolved(candidate) => match gate(stage.as_ref(), conflict, &candidate) {
                    Ok(()) => {
                        say(format!("resolved: {}", candidate.because));
                        return Outcome { resolution: Resolution::Resolved(candidate), trace };
                    }
                    Err(Failed::Broken(why)) => say(format!("dropped: {why}")),
                    Err(Failed::Doubtful(why)) => {
                        say(format!("suggested: {why}"));
                        let because = format!("{}; but {why}", candidate.because);
                        propose(&mut proposals, Candidate { because, ..candidate });
                    }
                },
                Resolution::Suggested(candidates) => {
                    let mut kept = 0;
                    for candidate in candidates {
                        if !matches!(check(conflict, &candidate), Err(Failed::Broken(_))) {
                            kept += 1;
                            propose(&mut proposals, candidate);
                        }
                    }
                    say(format!("suggested {kept}"));
                }
                Resolution::Declined { because } => {
                    say(format!("declined: {because}"));
                    // The last reason that is about this item tells most.
                    if !matches!(because, Reason::NotApplicable | Reason::NothingLearned | Reason::Queued) {
                        reason = because;
                    }
                }
            }
        }
        let resolution = if proposals.is_empty() {
            Resolution::declined(reason)
        } else {
            // The structured proposals know more than the line merge did.
            proposals.sort_by_key(|candidate| candidate.resolver.starts_with("text@"));
            proposals.truncate(SUGGESTION_LIMIT);
            Resolution::Suggested(proposals)
        };
        Outcome { resolution, trace }
    }
}

fn ask(stage: &dyn Resolver, conflict: &Conflict<'_>) -> Resolution {
    catch_unwind(AssertUnwindSafe(|| stage.resolve(conflict))).unwrap_or_else(|_| Resolution::declined(Reason::Failed))
}

/// Runs the checks and the stage again with the sides exchanged.
fn gate(stage: &dyn Resolver, conflict: &Conflict<'_>, candidate: &Candidate) -> Result<(), Failed> {
    if stage.name().starts_with("policy@") {
        return Ok(()); // The owner's word; both sides are kept anyway.
    }
    if !candidate.pattern.is_applied_alone() && !stage.name().starts_with("crdt@") {
        return Err(Failed::Doubtful(format!("{:?} is not applied without a person", candidate.pattern)));
    }
    check(conflict, candidate)?;
    let swapped = conflict.swapped();
    match ask(stage, &swapped).resolved() {
        Some(other) if same_meaning(conflict, &candidate.value, &other.value) => Ok(()),
        _ => Err(Failed::Doubtful("the result depends on which side is the hub".to_owned())),
    }
}

/// Says whether two results mean the same: equal bytes, or equal but for what the kind does not count.
fn same_meaning(conflict: &Conflict<'_>, a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    if let Some(syntax) = conflict.kind.syntax(conflict.path) {
        return structure::same_value(syntax, a, b);
    }
    if whitespace_has_meaning(conflict.kind, conflict.path) {
        return false;
    }
    let lines = |bytes| crate::text::form::Text::decode(bytes).map(|text| crate::resolver::collapsed(&text.lines()));
    lines(a).is_some() && lines(a) == lines(b)
}

/// Adds a proposal; of two with the same bytes the later stage's stays, which knows more about them.
fn propose(proposals: &mut Vec<Candidate>, candidate: Candidate) {
    match proposals.iter_mut().find(|known| known.value == candidate.value) {
        Some(known) => *known = candidate,
        None => proposals.push(candidate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflict::Pattern;

    struct Always(fn(&Conflict<'_>) -> Resolution);

    impl Resolver for Always {
        fn name(&self) -> &'static str {
            "always@1"
        }

        fn resolve(&self, conflict: &Conflict<'_>) -> Resolution {
            (self.0)(conflict)
        }
    }

    fn answer(value: &[u8], pattern: Pattern) -> Resolution {
        Resolution::Resolved(Candidate { value: value.to_vec(), resolver: "always@1", pattern, because: String::new() })
    }

    fn outcome(stage: fn(&Conflict<'_>) -> Resolution) -> Outcome {
        let conflict = Conflict::new("x.txt", Some(b"a\nb\nc\n"), b"A\nb\nc\n", b"a\nb\nC\n");
        Chain { stages: vec![Box::new(Always(stage)), Box::new(Queue)] }.resolve(&conflict)
    }

    #[test]
    fn a_right_result_passes_the_gate() {
        let outcome = outcome(|_| answer(b"A\nb\nC\n", Pattern::OneSided));
        assert!(outcome.resolution.resolved().is_some(), "{outcome:?}");
    }

    #[test]
    fn a_result_that_depends_on_who_is_the_hub_is_a_suggestion() {
        let conflict = Conflict::new("x.py", Some(b"a\nb\nc\n"), b"A\nb\nc\n", b"a\nb\nC\n");
        let stage = Always(|conflict| {
            let hubs_first = conflict.hub.starts_with(b"A");
            answer(if hubs_first { b"A\nb\nC\n" } else { b"A\nb\n C" }, Pattern::OneSided)
        });
        let outcome = Chain { stages: vec![Box::new(stage), Box::new(Queue)] }.resolve(&conflict);
        assert!(matches!(outcome.resolution, Resolution::Suggested(_)), "{outcome:?}");
    }

    #[test]
    fn a_risky_pattern_is_a_suggestion() {
        let outcome = outcome(|_| answer(b"A\nb\nC\n", Pattern::ListInsert));
        assert!(matches!(outcome.resolution, Resolution::Suggested(_)));
    }

    #[test]
    fn a_broken_result_is_dropped() {
        let outcome = outcome(|_| answer(b"A\nb\nC\n<<<<<<< hub\n", Pattern::OneSided));
        assert!(matches!(outcome.resolution, Resolution::Declined { .. }));
    }

    #[test]
    fn a_stage_that_panics_has_declined() {
        let outcome = outcome(|_| panic!("as planned"));
        assert_eq!(outcome.resolution, Resolution::Declined { because: Reason::Failed });
        assert_eq!(outcome.trace.len(), 2);
    }

    #[test]
    fn a_chain_has_known_stages_once_and_ends_with_the_queue() {
        assert_eq!(Chain::new(&["txet"], Policy::Queue).err(), Some(ChainError::Unknown("txet".to_owned())));
        assert_eq!(Chain::new(&["text", "text"], Policy::Queue).err(), Some(ChainError::Twice("text".to_owned())));
        let chain = Chain::new(&["text"], Policy::Queue).expect("a known name");
        let conflict = Conflict::new("x.txt", Some(b"a"), b"b", b"c");
        assert_eq!(chain.resolve(&conflict).trace.last().map(|step| step.resolver), Some("queue@1"));
    }
}
