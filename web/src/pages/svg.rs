//! Pictures made on the server. Classes carry the colours, attributes the geometry: no inline style.

use std::fmt::Write as _;

use askama::filters::Safe;
use cathedral_engine::query::{Health, SpokeView, Verdict};
use cathedral_model::run::RunSummary;

use super::part::{Html, count, encode};

/// More spokes than this are shown by groups.
pub const SINGLE: usize = 24;

/// Text in a picture stands for itself: what would turn its direction is left out.
fn esc(text: &str) -> String {
    let turns = |c: &char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    super::part::esc(&text.chars().filter(|c| !turns(c)).collect::<String>())
}

/// One petal or node.
struct Node {
    label: String,
    title: String,
    href: String,
    icon: &'static str,
    health: Health,
    conflicts: usize,
}

fn nodes(spokes: &[&SpokeView]) -> Vec<Node> {
    if spokes.len() <= SINGLE {
        let node = |s: &&SpokeView| Node {
            label: s.name.to_string(),
            title: format!("{}: {}", s.name, s.state),
            href: format!("/spokes/{}", encode(s.name.as_str())),
            icon: s.kind.as_str(),
            health: s.health,
            conflicts: s.conflicts.len(),
        };
        return spokes.iter().map(node).collect();
    }
    // By role, the largest groups first; what does not fit is one group.
    let mut roles: Vec<(&str, Vec<&SpokeView>)> = vec![];
    for spoke in spokes {
        match roles.iter_mut().find(|(role, _)| *role == spoke.role) {
            Some((_, group)) => group.push(spoke),
            None => roles.push((&spoke.role, vec![spoke])),
        }
    }
    roles.sort_by_key(|(_, group)| std::cmp::Reverse(group.len()));
    let rest: Vec<&SpokeView> = roles.iter().skip(SINGLE - 1).flat_map(|(_, group)| group.iter().copied()).collect();
    roles.truncate(SINGLE - 1);
    if !rest.is_empty() {
        roles.push(("others", rest));
    }
    let group = |(role, group): &(&str, Vec<&SpokeView>)| {
        let word = if role.is_empty() { "no role" } else { role };
        let kind = group.first().map_or("git", |s| s.kind.as_str());
        let worst = group.iter().map(|s| s.health).max().unwrap_or(Health::Unknown);
        let bad = group.iter().filter(|s| s.health != Health::Ok).count() as u64;
        Node {
            label: format!("{word} · {}", group.len()),
            title: format!("{word}: {}, {bad} not in sync", count(group.len() as u64, "spoke", "spokes")),
            href: if *role == "others" { "/ecosystem".into() } else { format!("/ecosystem?role={}", encode(role)) },
            icon: kind,
            health: worst,
            conflicts: group.iter().map(|s| s.conflicts.len()).sum(),
        }
    };
    roles.iter().map(group).collect()
}

/// Spokes in a fixed order, so that a petal keeps its place.
fn in_order(verdict: &Verdict) -> Vec<&SpokeView> {
    let mut spokes: Vec<&SpokeView> = verdict.spokes.iter().collect();
    spokes.sort_by(|a, b| a.name.cmp(&b.name));
    spokes
}

/// The seal: a petal a spoke, and what holds for all in its centre.
pub fn seal(verdict: &Verdict) -> Html {
    let nodes = nodes(&in_order(verdict));
    let of = |health: &[Health]| verdict.spokes.iter().filter(|s| health.contains(&s.health)).count();
    let words = format!(
        "Seal: {} of {} spokes in sync, {} with conflicts, {} paused, {} failing or late",
        of(&[Health::Ok, Health::Running]),
        verdict.spokes.len(),
        of(&[Health::Conflict]),
        of(&[Health::Paused]),
        of(&[Health::Bad, Health::Unknown]),
    );
    let mut out = format!(
        "<svg class=\"seal\" viewBox=\"-80 -80 160 160\" role=\"img\" aria-label=\"{words}\"><circle r=\"77\" class=\"rim\"/>"
    );
    let step = 360.0 / nodes.len().max(1) as f64;
    // Narrower petals when there are many.
    let width = (step / 30.0).clamp(0.35, 1.6);
    for (at, node) in nodes.iter().enumerate() {
        let _ = write!(
            out,
            "<path class=\"f-{}\" transform=\"rotate({:.2})\" d=\"M0-25C{:.1}-30 {:.1}-60 0-72C{:.1}-60 {:.1}-30 0-25Z\"><title>{}</title></path>",
            node.health.mark(),
            step * at as f64,
            -5.6 * width,
            -13.4 * width,
            13.4 * width,
            5.6 * width,
            esc(&node.title)
        );
    }
    let (class, sign) = match verdict.health {
        Health::Ok | Health::Running | Health::Paused | Health::Conflict => ("ok", "m-8.5 .5 6 6L9-6"),
        Health::Attention => ("warn", "M0-9V2M0 8v.2"),
        Health::Bad => ("bad", "M-6-6 6 6M6-6-6 6"),
        Health::Unknown => ("bad", "M-5-4a5 5 0 1 1 7 4.6q-2 1-2 3.4M0 8.5v.2"),
    };
    let _ = write!(out, "<circle r=\"20.5\" class=\"f-{class}\"/><path d=\"{sign}\" class=\"w\"/></svg>");
    Safe(out)
}

/// The map: a picture with links; the table has the same.
pub fn map(verdict: &Verdict, hub: &str, only: Option<&dyn Fn(&SpokeView) -> bool>) -> Html {
    let spokes: Vec<&SpokeView> = in_order(verdict).into_iter().filter(|s| only.is_none_or(|only| only(s))).collect();
    let nodes = nodes(&spokes);
    let (cx, cy, rx, ry) = (320.0, 226.0, 204.0, 172.0);
    let mut out = format!(
        "<svg class=\"map\" viewBox=\"0 0 640 452\" role=\"group\" aria-label=\"Map of the ecosystem. The table has the same {} spokes.\">\
         <ellipse cx=\"{cx}\" cy=\"{cy}\" rx=\"{rx}\" ry=\"{ry}\" class=\"ring\"/>",
        spokes.len()
    );
    let mut above = String::new();
    for (at, node) in nodes.iter().enumerate() {
        let angle = (at as f64 + 0.5) / nodes.len() as f64 * std::f64::consts::TAU - std::f64::consts::FRAC_PI_2;
        let (x, y) = (cx + rx * angle.cos(), cy + ry * angle.sin());
        let (hx, hy) = (cx + 33.0 * angle.cos(), cy + 33.0 * angle.sin());
        let length = ((x - cx).powi(2) + (y - cy).powi(2)).sqrt();
        let (ex, ey) = (x - (x - cx) / length * 15.0, y - (y - cy) / length * 15.0);
        let class = node.health.mark();
        let line = if class == "ok" { "line" } else { class };
        let dash = if class == "idle" { " stroke-dasharray=\"3 4\"" } else { "" };
        let _ = write!(
            out,
            "<line class=\"ln s-{line}\" x1=\"{ex:.0}\" y1=\"{ey:.0}\" x2=\"{hx:.0}\" y2=\"{hy:.0}\"{dash}/>"
        );
        let (tx, ty, anchor) = if angle.cos().abs() < 0.34 {
            (x, if angle.sin() < 0.0 { y - 21.0 } else { y + 29.0 }, "middle")
        } else if angle.cos() > 0.0 {
            (x + 20.0, y + 4.0, "start")
        } else {
            (x - 20.0, y + 4.0, "end")
        };
        // Above and below there is more room than at the sides.
        let most = if anchor == "middle" { 28 } else { 16 };
        let label: String = if node.label.chars().count() > most {
            node.label.chars().take(most - 1).collect::<String>() + "…"
        } else {
            node.label.clone()
        };
        let _ = write!(
            above,
            "<a href=\"{}\"><title>{}</title><circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"14\" class=\"node s-{class}\"/>\
             <use href=\"#{}\" class=\"gl\" x=\"{:.0}\" y=\"{:.0}\" width=\"14\" height=\"14\"/>\
             <text x=\"{tx:.0}\" y=\"{ty:.0}\" text-anchor=\"{anchor}\">{}</text></a>",
            esc(&node.href),
            esc(&node.title),
            node.icon,
            x - 7.0,
            y - 7.0,
            esc(&label)
        );
        if node.conflicts > 0 {
            let _ = write!(
                above,
                "<circle cx=\"{:.0}\" cy=\"{:.0}\" r=\"7\" class=\"f-warn\"/><text class=\"bdg\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"middle\" aria-hidden=\"true\">{}</text>",
                x + 10.0,
                y - 11.0,
                x + 10.0,
                y - 7.5,
                node.conflicts.min(99)
            );
        }
    }
    let hub: String =
        if hub.chars().count() > 9 { hub.chars().take(8).collect::<String>() + "…" } else { hub.to_owned() };
    let _ = write!(
        out,
        "{above}<circle cx=\"{cx}\" cy=\"{cy}\" r=\"33\" class=\"hub\"/><text class=\"big\" x=\"{cx}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>\
         <text class=\"sub\" x=\"{cx}\" y=\"{:.0}\" text-anchor=\"middle\">hub</text></svg>",
        cy - 1.0,
        esc(&hub),
        cy + 13.0
    );
    Safe(out)
}

/// A strip of days: all good, some failed, all failed, nothing ran.
pub fn days(days: &[(String, u32, u32)]) -> Html {
    let (ran, failed) =
        days.iter().fold((0, 0), |(r, f), (_, runs, bad)| (r + u32::from(*runs > 0), f + u32::from(*bad > 0)));
    let mut out = format!(
        "<svg class=\"days\" viewBox=\"0 0 450 28\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Last 90 days: runs on {ran} days, failures on {failed}\">"
    );
    for (at, (date, runs, bad)) in days.iter().enumerate() {
        let class = match (runs, bad) {
            (0, _) => "none",
            (_, 0) => "ok",
            (runs, bad) if bad >= runs => "bad",
            _ => "warn",
        };
        let _ = write!(
            out,
            "<rect class=\"f-{class}\" x=\"{}\" width=\"3.6\" height=\"28\" rx=\"1\"><title>{date}: {runs} runs, {bad} failed</title></rect>",
            at * 5
        );
    }
    out.push_str("</svg>");
    Safe(out)
}

/// A small line of figures, the newest marked.
pub fn spark(values: &[u32], class: &str) -> Html {
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let step = 66.0 / (values.len().max(2) - 1) as f64;
    let y = |v: u32| 19.0 - 15.0 * f64::from(v) / f64::from(most);
    let points: Vec<String> =
        values.iter().enumerate().map(|(i, v)| format!("{:.0},{:.0}", 2.0 + step * i as f64, y(*v))).collect();
    let last = values.last().copied().unwrap_or(0);
    Safe(format!(
        "<svg width=\"72\" height=\"22\" viewBox=\"0 0 72 22\" aria-hidden=\"true\"><polyline class=\"spk\" points=\"{}\"/><circle class=\"f-{class}\" cx=\"68\" cy=\"{:.0}\" r=\"2.4\"/></svg>",
        points.join(" "),
        y(last)
    ))
}

/// A bar of a timeline, in percent of its lane.
pub fn lane(bars: &[(f64, f64, &str)]) -> Html {
    let mut out = "<svg class=\"lane\" width=\"100%\" height=\"28\" aria-hidden=\"true\">".to_owned();
    for (from, width, class) in bars {
        let from = from.clamp(0.0, 100.0);
        let _ = write!(
            out,
            "<rect class=\"f-{class}\" x=\"{from:.2}%\" y=\"8\" width=\"{:.2}%\" height=\"12\" rx=\"3\"/>",
            width.clamp(0.6, 100.0 - from.min(99.0))
        );
    }
    out.push_str("</svg>");
    Safe(out)
}

/// Changes of one spoke in each of 12 spans of two hours, the oldest first.
pub fn changes(history: &[(u64, &RunSummary)], name: &cathedral_model::ids::SpokeName) -> [u32; 12] {
    let mut out = [0_u32; 12];
    for (age_ms, summary) in history {
        let Some(slot) = usize::try_from(age_ms / 7_200_000).ok().filter(|slot| *slot < 12) else { continue };
        for spoke in summary.spokes.iter().filter(|s| &s.name == name) {
            let changed = u32::try_from(spoke.changes_in + spoke.changes_out).unwrap_or(u32::MAX);
            out[11 - slot] = out[11 - slot].saturating_add(changed);
        }
    }
    out
}
