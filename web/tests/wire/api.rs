//! The API as a whole: envelope, tags, documents, figures.

use cathedral_model::access::Role;
use cathedral_web::routes::{Access, table};

use super::hub;

#[tokio::test]
async fn answers_have_the_envelope_and_a_tag() {
    let hub = hub::start().await;
    let token = hub.token(Role::Operator).await;
    let bearer = ("Authorization", token.as_str());
    let json = ("Content-Type", "application/json");
    let first = hub.send("GET", "/api/v1/runs", &[bearer], "").await;
    let document = first.json();
    assert_eq!(document["schema"], "cathedral.runs/v1");
    assert_eq!((&document["data"]["runs"], &document["warnings"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert!(document["generated_at"].as_str().unwrap().ends_with('Z'));
    let tag = first.header("etag").to_owned();
    hub.clock.pass_ms(5_000);
    let same = hub.send("GET", "/api/v1/runs", &[bearer, ("If-None-Match", &tag)], "").await;
    assert_eq!((same.status, same.body.as_str(), same.header("etag")), (304, "", tag.as_str()));
    let filed =
        hub.send("POST", "/api/v1/runs", &[bearer, json], r#"{"tags":["before release"],"reason":"a try"}"#).await;
    assert_eq!((filed.status, filed.header("location")), (202, "/api/v1/runs/1"), "{filed:?}");
    let changed = hub.send("GET", "/api/v1/runs", &[bearer, ("If-None-Match", &tag)], "").await;
    assert_eq!(changed.status, 200);
    let run = hub.send("GET", "/api/v1/runs/1", &[bearer], "").await.json();
    assert_eq!((run["data"]["state"].as_str(), run["data"]["kind"].as_str()), (Some("queued"), Some("sync")));
    assert!(run["data"]["cause"].as_str().unwrap().starts_with("a try (token "));
    let journal = hub.send("GET", "/api/v1/runs/1/journal", &[bearer], "").await.json();
    assert_eq!(journal["data"]["journal"], serde_json::json!([]));
    let status = hub.send("GET", "/api/v1/status", &[bearer], "").await.json();
    assert!(status["data"]["verdict"]["as_of"].as_str().is_some_and(|at| at.ends_with('Z')), "{status}");
    let unknown = hub.send("POST", "/api/v1/runs", &[bearer, json], r#"{"spokes":["nowhere"]}"#).await;
    assert_eq!(unknown.status, 404, "{unknown:?}");
    for (body, status) in [
        (r#"{"only":["all"]}"#, 422),
        (r#"{"tags":[],"tags":[]}"#, 422),
        ("{", 400),
        ("[]", 422),
        (r#"[["docs"],[]]"#, 422),
        (r#"{"plan":"../x"}"#, 404),
    ] {
        assert_eq!(hub.send("POST", "/api/v1/runs", &[bearer, json], body).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn lists_are_paged_to_their_end() {
    let hub = hub::start().await;
    let token = hub.token(Role::Operator).await;
    let bearer = ("Authorization", token.as_str());
    for n in 0..7 {
        let body = format!(r#"{{"tags":["t{n}"]}}"#);
        let json = ("Content-Type", "application/json");
        assert_eq!(hub.send("POST", "/api/v1/runs", &[bearer, json], &body).await.status, 202);
    }
    let (mut seen, mut path) = (vec![], "/api/v1/runs?limit=3".to_owned());
    loop {
        let page = hub.send("GET", &path, &[bearer], "").await.json();
        seen.extend(page["data"]["runs"].as_array().unwrap().iter().map(|run| run["run"].as_i64().unwrap()));
        let Some(next) = page["data"]["next"].as_i64() else { break };
        path = format!("/api/v1/runs?limit=3&before={next}");
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn the_document_tells_every_route_of_the_api() {
    let hub = hub::start().await;
    let reply = hub.send("GET", "/api/v1/openapi.json", &[], "").await;
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::BTreeSet::new();
    for route in table(&hub.state)
        .iter()
        .filter(|route| route.path.starts_with("/api/v1/") && !route.path.ends_with("openapi.json"))
    {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert!(operation["summary"].is_string(), "{} {} is not told", route.method, route.path);
        assert!(ids.insert(operation["operationId"].to_string()), "{operation}");
        if let Access::Needs(action) = route.access {
            assert_eq!(operation["x-needs-role"], action.needs().as_str());
        }
        for gap in route.path.split('/').filter(|part| part.starts_with('{')) {
            let name = gap.trim_matches(['{', '}']);
            let parameters = operation["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|p| p["name"] == name && p["in"] == "path"), "{} {name}", route.path);
        }
    }
    let text = reply.body;
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test]
async fn figures_name_routes_and_never_paths() {
    let hub = hub::start().await;
    let token = hub.token(Role::Viewer).await;
    let bearer = ("Authorization", token.as_str());
    hub.send("GET", "/api/v1/runs/4711", &[bearer], "").await;
    hub.send("BREW", "/secret/path", &[], "").await;
    let text = hub.send("GET", "/metrics", &[bearer], "").await.body;
    for line in ["cathedral_build_info{version=\"0.1.0\"} 1", "cathedral_ready 1", "cathedral_sse_clients 0"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(
        text.contains(
            "http_request_duration_seconds_count{route=\"/api/v1/runs/{run}\",method=\"GET\",code=\"404\"} 1"
        )
    );
    assert!(
        text.contains("route=\"none\",method=\"other\",code=\"404\"")
            && !text.contains("4711")
            && !text.contains("secret")
    );
}
