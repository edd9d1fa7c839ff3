//! `config validate|show|explain|schema`: no hub, no lock, no runtime.

use std::io::Read;
use std::path::{Path, PathBuf};

use cathedral_model::config::{self, Severity};

use super::super::args::{ConfigCommand, Format, Global};
use super::super::output::{Tint, many};
use super::{Ended, Failure, Output, folder};
use crate::hub::{FileLookup, Site, resolve};

pub fn run(what: ConfigCommand, global: &Global, output: &Output) -> Ended {
    match what {
        ConfigCommand::Validate { file } => validate(file, global, output),
        ConfigCommand::Show { format } => show(format, global, output),
        ConfigCommand::Explain { key } => explain(key, output),
        ConfigCommand::Schema => {
            if output.is_machine() {
                output.data("config-schema", &config::schema(), &[]);
            } else {
                output.raw(format!("{:#}\n", config::schema()).as_bytes());
            }
            Ok(0)
        }
        ConfigCommand::Versions { .. } | ConfigCommand::Diff { .. } | ConfigCommand::Rollback { .. } => {
            Err(Failure::new(1, "C1002", "this command needs the state"))
        }
    }
}

fn validate(file: Option<PathBuf>, global: &Global, output: &Output) -> Ended {
    if let Some(file) = &file {
        let file = if file == Path::new("-") { file.clone() } else { super::at(global, file) };
        return validate_file(&file, output);
    }
    let site = super::site(global)?;
    let (ecosystem, located) = resolve(&site)?;
    let warnings: Vec<String> = site.warnings.iter().map(|p| p.render(output.width(), false)).collect();
    output.data(
        "config-validate",
        &serde_json::json!({
            "file": site.file, "valid": true, "problems": site.warnings,
            "spokes": ecosystem.spokes.iter().map(|s| &s.name).collect::<Vec<_>>(),
            "located": located.iter().map(|l| serde_json::json!({"name": l.name, "found": l.found, "looked": l.looked})).collect::<Vec<_>>(),
        }),
        &warnings,
    );
    for warning in &warnings {
        output.warn(warning);
    }
    for place in &located {
        match &place.found {
            Some(found) => output.note(format!("{}: found at {found}", place.name)),
            None => output.note(
                output.paint(Tint::Warn, &format!("{}: not found; looked in {}", place.name, place.looked.join(", "))),
            ),
        }
    }
    let spokes = many(ecosystem.spokes.len() as u64, "spoke", "spokes");
    output.note(format!("{} is valid: {} with {spokes}", crate::hub::shown(&site.file), ecosystem.name));
    Ok(0)
}

/// A file by itself: what it says, not what is found around it.
fn validate_file(file: &Path, output: &Output) -> Ended {
    let mut text = String::new();
    let name = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(|e| Failure::io("standard input", &e))?;
        "standard input".to_owned()
    } else {
        text = std::fs::read_to_string(file).map_err(|e| Failure::read(file, &e))?;
        file.display().to_string()
    };
    let root = file.parent().map(Path::to_path_buf).unwrap_or_default();
    let problems = config::validate(&text, &name, &FileLookup { root }, &crate::hub::capabilities());
    let (warnings, wrong): (Vec<_>, Vec<_>) = problems.into_iter().partition(|p| p.severity == Severity::Warning);
    if !wrong.is_empty() {
        return Err(crate::hub::invalid(&name, &wrong));
    }
    for warning in &warnings {
        output.warn(warning.render(output.width(), output.colored_err()));
    }
    output.data("config-validate", &serde_json::json!({ "file": name, "valid": true, "problems": warnings }), &[]);
    output.note(format!("{name} is valid"));
    Ok(0)
}

fn show(format: Format, global: &Global, output: &Output) -> Ended {
    let site = Site::find(&folder(global), global.config.as_deref())?;
    if output.is_machine() {
        output.data("config-show", &config::show_json(&site.config), &[]);
    } else if format == Format::Json {
        output.say(format!("{:#}", config::show_json(&site.config)));
    } else {
        output.raw(config::show_yaml(&site.config).as_bytes());
    }
    Ok(0)
}

fn explain(key: Option<String>, output: &Output) -> Ended {
    let Some(key) = key else {
        let keys = config::keys();
        output.data("config-keys", &keys, &[]);
        for key in keys {
            output.say(key);
        }
        return Ok(0);
    };
    let Some(found) = config::explain(&key) else {
        let failure = Failure::new(4, "C1404", format!("there is no key {key:?}"));
        return Err(match config::nearest_key(&key) {
            Some(nearest) => failure.next(format!("cathedral config explain {nearest}")),
            None => failure.next("cathedral config explain    lists all keys"),
        });
    };
    output.data("config-explain", &found, &[]);
    output.say(format!("{}: {}", output.paint(Tint::Bold, &found.key), found.kind));
    output.sentence(&format!("  {}", found.meaning));
    if found.is_required {
        output.say("  required");
    } else if !found.default.is_empty() {
        output.say(format!("  default: {}", found.default));
    }
    for allowed in &found.allowed {
        let later = if allowed.available { "" } else { " (not available yet)" };
        output.sentence_under(&format!("    {:<18} {}{later}", allowed.word, allowed.meaning), 6);
    }
    if !found.keys.is_empty() {
        output.sentence_under(&format!("  keys: {}", found.keys.join(", ")), 4);
    }
    output.say(format!("  example: {}", found.example));
    if let Some(note) = &found.note {
        output.sentence(&format!("  {note}"));
    }
    if !found.available {
        output.say(output.paint(Tint::Warn, "  not available yet"));
    }
    if !found.also.is_empty() {
        output.say(format!("  also: {}", found.also.join(", ")));
    }
    Ok(0)
}
