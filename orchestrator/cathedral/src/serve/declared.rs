//! From the configuration to schedules.

use cathedral_model::config::operation::Routine;
use cathedral_model::config::scalar::{Frequency, Schedule as When, Zone};
use cathedral_model::ids::SpokeName;
use cathedral_model::run::{Phase, Priority, Request, SyncRequest, Work};
use cathedral_model::schedule::{Misfire, Overlap, Rule, Schedule};
use cathedral_model::snapshot::CheckLevel;
use cathedral_model::upkeep::{Upkeep, UpkeepRequest};

use crate::hub::Site;

const MINUTE: u64 = 60_000;

/// Returns everything that runs by itself. Spokes in `real_time` are watched instead.
pub fn schedules(site: &Site) -> Vec<Schedule> {
    let ecosystem = &site.config.cathedral_ecosystem;
    let mut all = vec![];
    for repository in &ecosystem.connected_repositories {
        all.extend(sync(repository.name.as_str(), &repository.update_frequency, repository.time_zone.as_ref()));
    }
    for database in &ecosystem.connected_databases {
        all.extend(sync(database.name.as_str(), &database.update_frequency, database.time_zone.as_ref()));
    }
    for files in &ecosystem.connected_files {
        all.extend(sync(files.name.as_str(), &files.update_frequency, files.time_zone.as_ref()));
    }
    let backup = &ecosystem.backup;
    if let Some(when) = &backup.schedule {
        let request = SyncRequest { only: vec![Phase::Snapshot], force_snapshot: true, ..SyncRequest::default() };
        all.push(schedule("snapshot", "take a snapshot of everything", rule(when, None), 0, Work::Sync(request)));
    }
    if let Some(when) = &backup.verify.schedule {
        let work = upkeep(Upkeep::Verify { level: CheckLevel::Full });
        all.push(schedule("verify", "read every snapshot back", rule(when, None), 0, work));
    }
    let healing = &ecosystem.self_healing_systems.healing_frequency;
    let often: [(&str, &[Routine], Rule, u64); 5] = [
        ("continuous", &healing.continuous, Rule::Every { ms: 5 * MINUTE }, 0),
        ("hourly", &healing.hourly, cron("@hourly"), 5 * MINUTE),
        ("daily", &healing.daily, cron("@daily"), 30 * MINUTE),
        ("weekly", &healing.weekly, cron("@weekly"), 30 * MINUTE),
        ("monthly", &healing.monthly, cron("@monthly"), 30 * MINUTE),
    ];
    for (word, routines, rule, jitter_ms) in often {
        for routine in routines {
            let (title, upkeep_of) = does(*routine);
            let name = format!("healing:{}:{word}", routine.as_str());
            all.push(schedule(&name, title, rule.clone(), jitter_ms, upkeep(upkeep_of)));
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.dedup_by(|a, b| a.name == b.name);
    all
}

/// What a routine of the vision does with what there is.
fn does(routine: Routine) -> (&'static str, Upkeep) {
    match routine {
        Routine::BackupValidation => ("check that snapshots are whole", Upkeep::Verify { level: CheckLevel::Metadata }),
        Routine::IntegrityChecks | Routine::SecurityScanning | Routine::SecurityAudit => {
            ("compare what the hub holds with its log", Upkeep::Integrity)
        }
        Routine::CacheOptimization | Routine::QueueManagement => ("remove what is derived and old", Upkeep::Clean),
        Routine::PerformanceMonitoring
        | Routine::PerformanceTuning
        | Routine::CapacityPlanning
        | Routine::ArchitectureReview => ("write down how everything stands", Upkeep::Report),
    }
}

fn upkeep(upkeep: Upkeep) -> Work {
    Work::Upkeep(UpkeepRequest { upkeep })
}

fn sync(name: &str, frequency: &Frequency, zone: Option<&Zone>) -> Option<Schedule> {
    let Frequency::On(when) = frequency else { return None };
    // The name was checked with the configuration.
    let spoke = SpokeName::new(name).ok()?;
    let request = SyncRequest { spokes: vec![spoke], ..SyncRequest::default() };
    let (id, title) = (format!("sync:{name}"), format!("sync {name}"));
    Some(schedule(&id, &title, rule(when, zone), 0, Work::Sync(request)))
}

fn rule(when: &When, zone: Option<&Zone>) -> Rule {
    match when {
        When::Every(period) => Rule::Every { ms: period.as_millis() },
        When::Cron(expression) => {
            Rule::Cron { expression: expression.clone(), time_zone: zone.map_or("UTC", Zone::as_str).to_owned() }
        }
    }
}

fn cron(expression: &str) -> Rule {
    Rule::Cron { expression: expression.to_owned(), time_zone: "UTC".to_owned() }
}

fn schedule(name: &str, title: &str, rule: Rule, jitter_ms: u64, work: Work) -> Schedule {
    let priority = if matches!(work, Work::Upkeep(_)) { Priority::Upkeep } else { Priority::Schedule };
    Schedule {
        name: name.to_owned(),
        title: title.to_owned(),
        rule,
        jitter_ms,
        overlap: Overlap::Skip,
        misfire: Misfire::RunOnce,
        request: Request { priority, cause: format!("schedule {name}"), work },
    }
}
