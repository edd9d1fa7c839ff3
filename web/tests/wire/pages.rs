//! Pages as browsers get them: for every role, with hostile names, without a dead link.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use cathedral_engine::{Engine, Options};
use cathedral_model::access::Role;
use cathedral_model::ecosystem::{
    ConflictPolicy, DataSync, Ecosystem, FilesSpoke, Hub as HubRepository, Side, Spoke, SpokeDetail, SpokeKind,
};
use cathedral_model::event::NewEvent;
use cathedral_model::ids::{Digest, NodeId, Seq, SnapshotId, SpokeName};
use cathedral_model::observation::SideState;
use cathedral_model::plan::{ConflictDraft, FieldDispute, SideValue};
use cathedral_model::ports::store::{Effect, Record};
use cathedral_model::ports::{Env as _, Schedules as _, Store as _};
use cathedral_model::run::{Priority, Request, RunResult, RunSummary, SpokeSummary, SyncRequest, Work};
use cathedral_model::schedule::{Misfire, Overlap, Rule, Schedule};
use cathedral_model::snapshot::{PartKey, SnapshotMeta};
use cathedral_web::routes::{Access, table};

use super::hub::{self, Served};

/// Markup, an attribute's end, a right-to-left override, an emoji, and more than 300 characters.
fn hostile() -> String {
    format!("<script>alert(1)</script>\"' onload=x \u{202e}\u{1f980}{}", "x".repeat(300))
}

fn spoke(name: &str) -> Spoke {
    let detail = FilesSpoke {
        hub: PathBuf::from("/nowhere/hub"),
        spoke: PathBuf::from("/nowhere/<b>spoke"),
        ignore: vec![],
        preserve_mode: true,
        preserve_mtime: true,
        preserve_symlinks: true,
        versions: 0,
        documents: vec![],
    };
    Spoke {
        name: SpokeName::new(name).unwrap(),
        role: "<i>role".into(),
        data_sync: DataSync::Bidirectional,
        wave: 0,
        after: vec![],
        chain: vec![],
        policy: ConflictPolicy::Queue,
        detail: SpokeDetail::Files(detail),
    }
}

fn populate(served: &Served, spokes: Vec<Spoke>) {
    let ports = served.state.engine().ports().clone();
    let hub = HubRepository { name: SpokeName::new("atlas").unwrap(), url: String::new(), branch: "main".into() };
    let ecosystem = Ecosystem { name: "atlas".into(), hub, spokes };
    served.state.replace_engine(Engine::new(ports, Arc::new(ecosystem), NodeId::new("test"), Options::default()));
}

fn value(text: &str) -> Option<SideValue> {
    Some(SideValue { shown: text.into(), content: None })
}

fn draft(served: &Served, item: &str, has_fields: bool) -> ConflictDraft {
    let text = format!("one\n{}\nthree\n", hostile());
    let content = served.state.content().put(text.as_bytes()).unwrap();
    let fields = vec![FieldDispute { field: hostile(), base: "1".into(), hub: hostile(), spoke: "3".into() }];
    ConflictDraft {
        item: item.into(),
        place: format!("{item} {}", hostile()),
        conflict_kind: "update/update".into(),
        because: hostile(),
        base: value("before"),
        hub: Some(SideValue { shown: hostile(), content: Some(content) }),
        spoke: value("there"),
        suggested: None,
        table: None,
        pk: vec![],
        fields: if has_fields { fields } else { vec![] },
        group: vec![],
    }
}

/// A hub with a spoke, a run, two conflicts and a schedule, all of hostile names.
async fn full() -> Served {
    let served = hub::start().await;
    populate(&served, vec![spoke("docs"), spoke("ledger")]);
    let now = served.clock.now();
    let work = Work::Sync(SyncRequest::default());
    let request = Request { priority: Priority::Manual, cause: hostile(), work };
    served.store.enqueue(&request, now).await.unwrap();
    let claim = served.store.claim(&NodeId::new("test"), now, 60_000).await.unwrap().unwrap();
    let docs = SpokeName::new("docs").unwrap();
    let result = SpokeSummary {
        name: docs.clone(),
        kind: SpokeKind::Files,
        result: "conflicts".into(),
        changes_in: 1,
        changes_out: 2,
        conflicts: 2,
        note: hostile(),
        warnings: vec![hostile()],
    };
    let summary = RunSummary {
        result: Some(RunResult::Conflicts),
        spokes: vec![result],
        note: hostile(),
        ..RunSummary::default()
    };
    let drafts = vec![draft(&served, "a.txt", false), draft(&served, "b", true)];
    let record = Record {
        seq: Seq(0),
        event: serde_json::json!({ "event": "odd", "why": hostile() }),
        summary,
        effects: vec![Effect::Conflicts { spoke: docs.clone(), kind: SpokeKind::Files, drafts, settled: vec![] }],
        events: vec![NewEvent {
            kind: "run.finished".into(),
            run: Some(claim.run),
            spoke: Some(docs),
            data: serde_json::json!({ "error": hostile() }),
        }],
        messages: vec![],
        finished: true,
    };
    served.store.record(&claim, &record, now).await.unwrap();
    let schedule = Schedule {
        name: "sync:docs".into(),
        title: hostile(),
        rule: Rule::Every { ms: 3_600_000 },
        jitter_ms: 0,
        overlap: Overlap::Skip,
        misfire: Misfire::RunOnce,
        request,
    };
    served.store.declare(&[(schedule, Some(now.plus_ms(60_000)))], now).await.unwrap();
    served
}

/// The pages that such a hub has, beside those without a gap in their path.
const MORE: [&str; 22] = [
    "/?show=attention",
    "/ecosystem?state=attention&kind=files",
    "/spokes/docs",
    "/runs/1",
    "/runs/1?only=warnings",
    "/runs?show=failed",
    "/runs?before=1",
    "/conflicts/1",
    "/conflicts/2",
    "/conflicts/1?take=edit",
    "/conflicts/1?take=spoke",
    "/conflicts?spoke=docs",
    "/snapshots?day=2026-02-28",
    "/restore?step=where",
    "/integrity?hash=00112233",
    "/events?type=run",
    "/events?spoke=docs&run=1",
    "/deliveries?show=in",
    "/search?q=docs",
    "/search?q=%3Cscript%3E",
    "/status",
    "/runs?show=x%22%3E",
];

fn without_gaps(served: &Served) -> BTreeSet<String> {
    let is_page = |path: &str| {
        !["/api/", "/hooks/", "/assets/", "/events/stream", "/metrics", "/healthz", "/readyz", "/welcome", "/compare"]
            .iter()
            .any(|s| path.starts_with(s))
    };
    table(&served.state)
        .iter()
        .filter(|r| {
            r.method == "GET" && !r.path.contains('{') && is_page(r.path) && matches!(r.access, Access::Needs(_))
        })
        .map(|r| r.path.to_owned())
        .collect()
}

/// What no page may have: the policy forbids it, or it is markup from outside.
fn check(path: &str, body: &str) {
    for bad in [
        " style=",
        "<style",
        "<script>",
        "onclick=",
        "onload=x \u{202e}\u{1f980}\"",
        "<i>role",
        "<b>spoke",
        "href=\"#\"",
        "javascript:",
    ] {
        assert!(!body.contains(bad), "{path} has {bad}");
    }
    assert_eq!(body.matches("<h1").count(), 1, "{path} has one heading of the first rank");
    assert_eq!(body.matches("<main").count(), 1, "{path}");
    assert_eq!(body.matches("<script").count(), 1, "{path}: one script, from a file");
    let mut ids = BTreeSet::new();
    for id in body.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(ids.insert(id), "{path} has the id {id} twice");
    }
}

#[tokio::test]
async fn every_page_is_whole_for_every_role_and_hostile_names_stay_text() {
    let served = full().await;
    let mut pages = without_gaps(&served);
    pages.extend(MORE.map(str::to_owned));
    assert!(pages.len() > 30, "{pages:?}");
    for role in Role::ALL {
        let token = served.token(role).await;
        let headers = [("Authorization", token.as_str()), ("Accept", "text/html")];
        let mut links = BTreeSet::new();
        for path in &pages {
            let page = served.send("GET", path, &headers, "").await;
            let is_settings = path.starts_with("/settings");
            match role {
                Role::Viewer if is_settings => assert_eq!(page.status, 403, "{path}"),
                Role::Operator if path.starts_with("/settings/") => assert_eq!(page.status, 403, "{path}"),
                _ => assert_eq!(page.status, 200, "{path} for {role:?}: {}", page.body),
            }
            check(path, &page.body);
            let hrefs = page.body.split(" href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            links.extend(
                hrefs.filter(|href| href.starts_with('/')).map(|href| href.replace("&amp;", "&").replace("&#38;", "&")),
            );
        }
        for link in links {
            let link = link.split('#').next().unwrap();
            let reply = served.send("GET", link, &headers, "").await;
            assert!(reply.status < 400, "a dead link for {role:?}: {link}: {}", reply.status);
        }
    }
}

/// Takes a snapshot with the hub's side of `docs`, or with that side as the one before has it.
async fn snapshot(served: &Served, entropy: u8, away: Option<&str>) -> SnapshotId {
    let vault = Arc::clone(&served.state.engine().ports().vault);
    let id = SnapshotId::generate(served.clock.now(), [entropy; 10]);
    let (cause, tags) = ("test".to_owned(), vec![]);
    let meta = SnapshotMeta { id: id.clone(), ecosystem: "atlas".into(), at: served.clock.now(), cause, tags };
    let writer = vault.begin(&meta).await.unwrap().ok().unwrap();
    let key = PartKey { spoke: SpokeName::new("docs").unwrap(), side: Side::Hub };
    match away {
        Some(why) => assert!(writer.carry(&key, SpokeKind::Files, why).await.unwrap()),
        None => {
            let state = SideState { digest: Digest::of(b"docs"), position: "0 files".into(), items: 0 };
            writer.part(&key, SpokeKind::Files).unwrap().finish(&state, "exact").unwrap();
        }
    }
    writer.commit().await.unwrap();
    id
}

#[tokio::test]
async fn what_is_older_than_its_snapshot_is_told_on_the_page() {
    let served = full().await;
    let bearer = served.token(Role::Viewer).await;
    let whole = snapshot(&served, 1, None).await;
    let carried = snapshot(&served, 2, Some("<b>the disk</b> is away")).await;
    let page = |id: &SnapshotId| format!("/snapshots/{id}");
    let auth = [("authorization", bearer.as_str())];
    let reply = served.send("GET", &page(&whole), &auth, "").await;
    assert!(reply.status == 200 && !reply.body.contains("Older than the snapshot"), "{}", reply.body);
    let reply = served.send("GET", &page(&carried), &auth, "").await;
    assert!(reply.body.contains("Older than the snapshot"), "{}", reply.body);
    assert!(reply.body.contains(&format!("href=\"{}\"", page(&whole))), "{}", reply.body);
    assert!(reply.body.contains("&lt;b&gt;the disk"), "{}", reply.body);
    let reply = served.send("GET", &format!("/restore?snapshot={carried}"), &auth, "").await;
    assert!(reply.body.contains("could not be read, as of"), "{}", reply.body);
}

#[tokio::test]
async fn the_second_of_two_people_is_told() {
    let served = full().await;
    served.person("mara", Role::Operator, "one two three four").await;
    served.person("nils", Role::Operator, "one two three four").await;
    let (mara, mara_form) = served.sign_in("mara", "one+two+three+four").await;
    let (nils, nils_form) = served.sign_in("nils", "one+two+three+four").await;
    let answer = |form: &str, take: &str| format!("csrf={form}&versions=0&take={take}");
    let page = served.send("GET", "/conflicts/1", &[("Cookie", &nils), ("Accept", "text/html")], "").await;
    let versions = page.body.split("name=\"versions\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let answer = |form: &str, take: &str| answer(form, take).replace("versions=0", &format!("versions={versions}"));
    let first = served.post_form("/conflicts/1/answer", &mara, &answer(&mara_form, "hub")).await;
    assert_eq!((first.status, first.header("location")), (303, "/conflicts/1"), "{first:?}");
    let second = served.post_form("/conflicts/1/answer", &nils, &answer(&nils_form, "spoke")).await;
    assert_eq!(second.status, 409, "{second:?}");
    assert!(second.body.contains("Mara has answered this meanwhile"), "{}", second.body);
    let undecided = served.post_form("/conflicts/2/answer", &nils, &answer(&nils_form, "fields")).await;
    assert_eq!(undecided.status, 400, "a field without a choice is not guessed");
    let chosen = served.post_form("/conflicts/2/answer", &nils, &(answer(&nils_form, "fields") + "&f0=%3D&v0=7")).await;
    assert_eq!(chosen.status, 303, "{chosen:?}");
}

#[tokio::test]
async fn what_was_typed_is_checked_first_and_never_lost() {
    let served = full().await;
    served.person("mara", Role::Operator, "one two three four").await;
    served.person("nils", Role::Operator, "one two three four").await;
    let (mara, mara_form) = served.sign_in("mara", "one+two+three+four").await;
    let (nils, nils_form) = served.sign_in("nils", "one+two+three+four").await;
    let page = served.send("GET", "/conflicts/1", &[("Cookie", &nils), ("Accept", "text/html")], "").await;
    let versions = page.body.split("name=\"versions\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let send = async |cookie: &str, form: &str, take: &str, text: &str| {
        let body = format!("csrf={form}&versions={versions}&take={take}&text={text}");
        served.post_form("/conflicts/1/answer", cookie, &body).await
    };
    let marks = "%3C%3C%3C%3C%3C%3C%3C+hub%0D%0Amine%0D%0A";
    let refused = send(&nils, &nils_form, "edit", marks).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.body.contains("Marks of a merge are left in it. Nothing was recorded"), "{}", refused.body);
    let looked_at = send(&nils, &nils_form, "check", "two+lines%0D%0Aof+%3Cb%3E+mine").await;
    assert_eq!(looked_at.status, 200, "{looked_at:?}");
    assert!(looked_at.body.contains("Text, whole") && looked_at.body.contains("two lines\nof &#60;b&#62; mine"));
    for reply in [&refused, &looked_at] {
        check("/conflicts/1/answer", &reply.body);
    }
    assert_eq!(send(&mara, &mara_form, "hub", "").await.status, 303);
    assert_eq!(send(&mara, &mara_form, "hub", "").await.status, 303, "the same answer sent twice is one answer");
    let late = send(&nils, &nils_form, "edit", "all+my+work").await;
    assert_eq!(late.status, 409, "{late:?}");
    assert!(
        late.body.contains("Mara has answered this meanwhile") && late.body.contains("all my work"),
        "{}",
        late.body
    );
}

#[tokio::test]
async fn of_many_answers_in_the_same_instant_one_is_taken() {
    let served = full().await;
    let mut people = vec![];
    for name in ["ada", "ben", "cem", "dee", "eve", "fay"] {
        served.person(name, Role::Operator, "one two three four").await;
        people.push(served.sign_in(name, "one+two+three+four").await);
    }
    let page = served.send("GET", "/conflicts/1", &[("Cookie", &people[0].0), ("Accept", "text/html")], "").await;
    let versions = page.body.split("name=\"versions\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let send = |at: usize| {
        let (cookie, form) = &people[at];
        let body = format!("csrf={form}&versions={versions}&take={}", ["hub", "spoke"][at % 2]);
        let served = &served;
        async move { served.post_form("/conflicts/1/answer", cookie, &body).await.status }
    };
    let (a, b, c, d, e, f) = tokio::join!(send(0), send(1), send(2), send(3), send(4), send(5));
    let mut all = [a, b, c, d, e, f];
    all.sort_unstable();
    assert_eq!(all, [303, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn who_signs_in_again_comes_back_to_the_form() {
    let served = full().await;
    let from = "http://localhost/restore?snapshot=x&step=confirm";
    let headers = [("Accept", "text/html"), ("Referer", from), ("Origin", "http://localhost")];
    let reply = served.send("POST", "/restore", &headers, "").await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert!(reply.body.contains("/sign-in?next=/restore%3Fsnapshot%3Dx%26step%3Dconfirm\""), "{}", reply.body);
    let stranger = [("Accept", "text/html"), ("Referer", "http://evil.example/runs")];
    let reply = served.send("POST", "/restore", &stranger, "").await;
    assert!(reply.body.contains("href=\"/sign-in\""), "{}", reply.body);
}

#[tokio::test]
async fn a_restore_in_place_wants_role_fresh_sign_in_and_name() {
    let served = full().await;
    let operator = served.token(Role::Operator).await;
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let body = "snapshot=01ARZ3NDEKTSV4RRFFQ69G5FAV&part=docs&mode=in_place&name=atlas";
    let reply = served.send("POST", "/restore", &[("Authorization", &operator), form], body).await;
    assert_eq!(reply.status, 404, "there is no such snapshot: {reply:?}");
    let viewer = served.token(Role::Viewer).await;
    let reply = served.send("POST", "/restore", &[("Authorization", &viewer), form], body).await;
    assert_eq!(reply.status, 403, "{reply:?}");
}

#[tokio::test]
async fn a_schedule_is_paused_with_a_reason_and_resumed() {
    let served = full().await;
    let token = served.token(Role::Operator).await;
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    let reply = served
        .send("POST", "/schedules/sync:docs/pause", &headers, "reason=move+of+house&hours=8&back=%2Fspokes%2Fdocs")
        .await;
    assert_eq!((reply.status, reply.header("location")), (303, "/spokes/docs"), "{reply:?}");
    let pause = served.store.schedules().await.unwrap()[0].pause.clone().unwrap();
    assert_eq!(
        (pause.reason.as_str(), pause.until),
        ("move of house", Some(served.clock.now().plus_ms(8 * 3_600_000)))
    );
    let reply = served.send("POST", "/schedules/sync:docs/resume", &headers, "back=%2F%2Fevil.example").await;
    assert_eq!((reply.status, reply.header("location")), (303, "/schedules"), "{reply:?}");
    assert!(served.store.schedules().await.unwrap()[0].pause.is_none());
}

#[tokio::test]
async fn many_schedules_are_shown_page_by_page_and_found_by_name() {
    let served = full().await;
    let token = served.token(Role::Operator).await;
    let now = served.clock.now();
    let known = served.store.schedules().await.unwrap()[0].schedule.clone();
    let named = |n: usize| {
        let name = format!("sync:tree-{n:04}");
        (cathedral_model::schedule::Schedule { title: name.clone(), name, ..known.clone() }, Some(now.plus_ms(60_000)))
    };
    served.store.declare(&(0..250).map(named).collect::<Vec<_>>(), now).await.unwrap();
    let get = async |path: &str| served.send("GET", path, &[("Authorization", token.as_str())], "").await.body;
    let rows = |page: &str| page.matches("aria-label=\"Run now: ").count();
    let mut seen = vec![];
    let mut path = "/schedules".to_owned();
    loop {
        let page = get(&path).await;
        seen.push(rows(&page));
        let next =
            page.split("href=\"/schedules?q=&amp;from=").nth(1).or(page.split("href=\"/schedules?q=&#38;from=").nth(1));
        let Some(next) = next.and_then(|rest| rest.split('"').next()) else { break };
        path = format!("/schedules?q=&from={next}");
    }
    assert_eq!(seen, [100, 100, 50]);
    assert_eq!(rows(&get("/schedules?q=TREE-0123").await), 1);
    let none = get("/schedules?q=%3Cb%3Enothing").await;
    assert!(rows(&none) == 0 && none.contains("No schedule has that") && !none.contains("<b>nothing"), "{none}");
}

#[tokio::test]
async fn the_overview_of_many_spokes_is_small() {
    let served = hub::start().await;
    populate(&served, (0..100).map(|n| spoke(&format!("a-spoke-of-some-length-{n:03}"))).collect());
    let token = served.token(Role::Viewer).await;
    let page = served.send("GET", "/", &[("Authorization", &token), ("Accept", "text/html")], "").await;
    assert_eq!(page.status, 200);
    let packed = zstd::encode_all(page.body.as_bytes(), 3).unwrap().len();
    assert!(packed < 60_000, "{packed} bytes compressed, {} plain", page.body.len());
    for asset in ["cathedral.css", "live.js"] {
        let file = cathedral_web::assets::asset(asset);
        let body = served.send("GET", &file.href, &[], "").await.body;
        let most = if asset == "live.js" { 20_000 } else { 8_000 };
        let packed = zstd::encode_all(body.as_bytes(), 9).unwrap().len();
        assert!(packed < most, "{asset}: {packed}");
    }
}
