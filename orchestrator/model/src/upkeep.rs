//! Upkeep: reading work that the hub does by itself, one step and its record.

use serde::{Deserialize, Serialize};

use crate::ids::{LeafIndex, RunId};
use crate::journal::{IllegalTransition, Next, Saga};
use crate::ports::Fault;
use crate::run::{PhaseSummary, RunResult, RunSummary, exit_code};
use crate::snapshot::CheckLevel;
use crate::time::Timestamp;

/// What is looked after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "routine", rename_all = "snake_case")]
pub enum Upkeep {
    /// Reads snapshots back at every destination.
    Verify { level: CheckLevel },
    /// Compares what the hub holds with its log: heads, leaves, the newest snapshot's signature.
    Integrity,
    /// Removes what is derived and old: finished deliveries, old sessions, left-over scratch files.
    Clean,
    /// Writes down how the ecosystem stands: what is late, what waits, what grew.
    Report,
}

/// What an upkeep run is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpkeepRequest {
    pub upkeep: Upkeep,
}

/// What it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpkeepReport {
    /// One sentence for people.
    pub sentence: String,
    /// Figures by name, for example `chunks` or `removed`.
    pub figures: std::collections::BTreeMap<String, u64>,
    /// What is wrong and needs somebody; empty: all is well.
    pub problems: Vec<String>,
}

/// A journal record of an upkeep run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpkeepEvent {
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: UpkeepWhat,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum UpkeepWhat {
    UpkeepStarted { request: UpkeepRequest, run: RunId },
    UpkeepDone { report: UpkeepReport },
    UpkeepFailed { fault: Fault },
    UpkeepSealed { leaf: LeafIndex },
    UpkeepAnnounced,
}

/// A step of an upkeep run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpkeepStep {
    Start,
    Perform,
    Seal,
    Announce,
}

/// An upkeep run: a fold over its [`UpkeepEvent`]s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpkeepRun {
    pub request: Option<UpkeepRequest>,
    pub run: RunId,
    pub report: Option<UpkeepReport>,
    pub failed: Option<Fault>,
    pub leaf: Option<LeafIndex>,
    pub announced: bool,
    pub began: Timestamp,
    pub last: Timestamp,
}

impl Saga for UpkeepRun {
    type Event = UpkeepEvent;
    type Step = UpkeepStep;

    fn apply(mut self, event: &UpkeepEvent) -> Result<Self, IllegalTransition> {
        let illegal = |run: &Self| IllegalTransition {
            state: format!("upkeep started {} done {}", run.request.is_some(), run.has_ended()),
            event: format!("{:?}", event.what),
        };
        self.last = event.at;
        match &event.what {
            UpkeepWhat::UpkeepStarted { request, run } if self.request.is_none() => {
                self.request = Some(request.clone());
                self.run = *run;
                self.began = event.at;
            }
            UpkeepWhat::UpkeepDone { report } if self.request.is_some() && !self.has_ended() => {
                self.report = Some(report.clone());
            }
            UpkeepWhat::UpkeepFailed { fault } if self.request.is_some() && !self.announced => {
                self.failed = Some(fault.clone());
            }
            UpkeepWhat::UpkeepSealed { leaf } if self.has_ended() && self.leaf.is_none() => self.leaf = Some(*leaf),
            UpkeepWhat::UpkeepAnnounced if self.has_ended() && !self.announced => self.announced = true,
            _ => return Err(illegal(&self)),
        }
        Ok(self)
    }

    fn next(&self, _now: Timestamp) -> Next<UpkeepStep> {
        let step = if self.announced {
            return Next::Done;
        } else if self.request.is_none() {
            UpkeepStep::Start
        } else if !self.has_ended() {
            UpkeepStep::Perform
        } else if self.leaf.is_none() && self.failed.is_none() {
            UpkeepStep::Seal
        } else {
            UpkeepStep::Announce
        };
        Next::Do(vec![step])
    }
}

impl UpkeepRun {
    fn has_ended(&self) -> bool {
        self.report.is_some() || self.failed.is_some()
    }

    /// Returns the summary as of now.
    #[must_use]
    pub fn summary(&self) -> RunSummary {
        let problems = self.report.as_ref().map_or(&[] as &[String], |report| &report.problems);
        let (result, code, error) = match (&self.failed, problems.first()) {
            (Some(fault), _) => (RunResult::Failed, exit_code(fault.cause), Some(fault.message.clone())),
            (None, Some(first)) => (RunResult::Failed, 20, Some(first.clone())),
            (None, None) => (RunResult::Succeeded, 0, None),
        };
        let state = match (self.has_ended(), result) {
            (false, _) => "running",
            (true, RunResult::Failed) => "failed",
            (true, _) => "ok",
        };
        RunSummary {
            result: self.announced.then_some(result),
            phases: vec![PhaseSummary {
                name: "upkeep".into(),
                result: state.into(),
                ms: self.last.ms_since(self.began),
            }],
            leaf: self.leaf,
            code,
            error,
            note: self.report.as_ref().map(|report| report.sentence.clone()).unwrap_or_default(),
            ..RunSummary::default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn event(what: UpkeepWhat) -> UpkeepEvent {
        UpkeepEvent { at: Timestamp(1), what }
    }

    #[test]
    fn a_problem_found_is_a_failed_run_with_a_leaf() {
        let request = UpkeepRequest { upkeep: Upkeep::Integrity };
        let run = UpkeepRun::default();
        assert_eq!(run.next(Timestamp(0)), Next::Do(vec![UpkeepStep::Start]));
        let run = run.apply(&event(UpkeepWhat::UpkeepStarted { request, run: RunId(7) })).unwrap();
        assert_eq!(run.next(Timestamp(0)), Next::Do(vec![UpkeepStep::Perform]));
        let report = UpkeepReport { problems: vec!["leaf 3 is gone".into()], ..UpkeepReport::default() };
        let run = run.apply(&event(UpkeepWhat::UpkeepDone { report })).unwrap();
        assert_eq!(run.next(Timestamp(0)), Next::Do(vec![UpkeepStep::Seal]));
        let run = run.apply(&event(UpkeepWhat::UpkeepSealed { leaf: LeafIndex(4) })).unwrap();
        let run = run.apply(&event(UpkeepWhat::UpkeepAnnounced)).unwrap();
        assert_eq!(run.next(Timestamp(0)), Next::Done);
        let summary = run.clone().summary();
        assert_eq!((summary.result, summary.code), (Some(RunResult::Failed), 20));
        assert!(run.apply(&event(UpkeepWhat::UpkeepAnnounced)).is_err(), "an end is announced once");
    }
}
