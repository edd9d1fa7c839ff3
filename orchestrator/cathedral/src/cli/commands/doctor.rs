//! `doctor`: each line says what was tried and how to fix what failed.

use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ports::Vault;

use super::super::args::Global;
use super::super::output::{Tint, safe};
use super::{Ended, Failure, Output};

struct Line {
    ok: bool,
    what: String,
    fix: String,
}

pub async fn run(global: &Global, output: &Output) -> Ended {
    let mut lines = vec![git()];
    let (hub, bar) = super::hub(global, output).await?;
    lines.push(Line {
        ok: true,
        what: format!("configuration {}", crate::hub::shown(&hub.site.file)),
        fix: String::new(),
    });
    lines.push(Line { ok: true, what: "state store, log, keys and vault open".into(), fix: String::new() });
    // A vault that cannot be listed is told by the commands that need it.
    if let Some(ahead) = super::snapshot::ahead(&hub.vault.list().await.unwrap_or_default()) {
        lines.push(Line { ok: true, what: ahead, fix: "look at this machine's clock: date -u".into() });
    }
    for spoke in &hub.ecosystem().spokes {
        let syncer = hub.engine.ports().syncer(spoke.kind());
        let seen = syncer.observe(spoke).await;
        lines.push(match seen {
            Ok(observation) => Line {
                ok: true,
                what: format!("{}: hub {}, spoke {}", spoke.name, observation.hub.position, observation.spoke.position),
                fix: observation.warnings.join("; "),
            },
            Err(error) => {
                Line { ok: false, what: format!("{}: {error}", spoke.name), fix: advice(spoke.kind()).into() }
            }
        });
    }
    bar.finish();
    let bad = lines.iter().filter(|l| !l.ok).count();
    let json: Vec<_> = lines.iter().map(|l| serde_json::json!({ "ok": l.ok, "what": l.what, "fix": l.fix })).collect();
    output.data("doctor", &serde_json::json!({ "checks": json }), &[]);
    for line in &lines {
        let mark = if line.ok {
            output.paint(Tint::Good, output.symbol("✔", "ok"))
        } else {
            output.paint(Tint::Bad, output.symbol("✖", "xx"))
        };
        output.sentence(&format!("{mark} {}", safe(&line.what)));
        if !line.fix.is_empty() {
            output.sentence_under(&format!("    {}", safe(&line.fix)), 4);
        }
    }
    if bad > 0 {
        return Err(Failure::new(6, "C1601", format!("{bad} of {} checks failed", lines.len()))
            .why("each line marked above says what was tried and how it ended")
            .next("do what stands under each of them, then run cathedral doctor again"));
    }
    Ok(0)
}

fn advice(kind: SpokeKind) -> &'static str {
    match kind {
        SpokeKind::Git => {
            "check the address, the network, and the credentials; ssh needs the host in .cathedral/keys/known_hosts"
        }
        SpokeKind::Database => "check the path and the rights of the file",
        SpokeKind::Files => "check that the folder is there and mounted",
    }
}

fn git() -> Line {
    let found = std::process::Command::new("git").arg("--version").output();
    let text = found.ok().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    let numbers: Vec<u32> = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).take(2).collect();
    let ok = matches!(numbers.as_slice(), [major, minor] if (*major, *minor) >= (2, 38));
    Line {
        ok,
        what: if text.is_empty() { "git is not installed".into() } else { text },
        fix: if ok { String::new() } else { "install git 2.38 or newer".into() },
    }
}
