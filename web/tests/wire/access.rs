//! Who may use what: every route with every role.

use cathedral_model::access::{Role, allowed};
use cathedral_web::routes::{Access, table};

use super::client;
use super::hub::{self, Served};

/// A path of the table with something in every gap.
fn filled(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "1".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

async fn status(hub: &Served, method: &str, path: &str, authorization: Option<&str>) -> u16 {
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(authorization.map(|value| ("Authorization", value)));
    let body = if method == "GET" { "" } else { "{\"unknown\":1}" };
    client::open(hub.address, method, path, &headers, body).await.0.status
}

#[tokio::test]
async fn every_route_asks_for_its_role() {
    let hub = hub::start().await;
    let routes = table(&hub.state);
    assert!(routes.len() > 50, "{}", routes.len());
    let tokens = [hub.token(Role::Viewer).await, hub.token(Role::Operator).await, hub.token(Role::Admin).await];
    let other_hub = "Bearer cth_admin_00000000000000000000000000000000000000000000000000";
    for route in &routes {
        let (method, path) = (route.method.as_str(), filled(route.path));
        let name = format!("{method} {path}");
        let needed = match route.access {
            Access::Public | Access::Unmetered => {
                assert_ne!(status(&hub, method, &path, None).await, 401, "{name}");
                continue;
            }
            // A form of nobody comes from a page of the hub; a webhook is signed.
            Access::PublicForm => {
                assert_eq!(status(&hub, method, &path, None).await, 403, "{name}");
                continue;
            }
            Access::Signed => {
                assert_eq!(status(&hub, method, &path, None).await, 401, "{name}");
                continue;
            }
            Access::SignedIn => None,
            Access::Needs(action) => Some(action),
        };
        for wrong in [None, Some("Bearer x"), Some("Basic YTpi"), Some(other_hub)] {
            assert_eq!(status(&hub, method, &path, wrong).await, 401, "{name} with {wrong:?}");
        }
        for (role, token) in Role::ALL.into_iter().zip(&tokens) {
            let status = status(&hub, method, &path, Some(token)).await;
            if needed.is_none_or(|action| allowed(role, action)) {
                assert!(status != 401 && status != 403 && status != 0, "{name} as {role:?}: {status}");
            } else {
                assert_eq!(status, 403, "{name} as {role:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_changes_something_needs_more_than_reading() {
    let (state, _, _) = hub::state(hub::quick(), None).await;
    for route in table(&state).iter().filter(|route| !route.method.is_safe()) {
        if let Access::Needs(action) = route.access {
            assert!(!allowed(Role::Viewer, action), "{} {}", route.method, route.path);
        } else {
            assert_ne!(route.access, Access::Public, "{} {}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn a_revoked_token_ends_at_once_and_an_expired_one_in_time() {
    let hub = hub::start().await;
    let admin = hub.token(Role::Admin).await;
    let ask = [("Authorization", admin.as_str()), ("Content-Type", "application/json")];
    let in_an_hour = cathedral_model::ports::Env::now(hub.clock.as_ref()).plus_ms(3_600_000).to_rfc3339();
    let body = format!(r#"{{"scope":"viewer","label":"ci","expires_at":"{in_an_hour}"}}"#);
    let made = hub.send("POST", "/api/v1/tokens", &ask, &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    let text = made["data"]["token"].as_str().unwrap();
    let bearer = format!("Bearer {text}");
    let viewer = [("Authorization", bearer.as_str())];
    assert_eq!(hub.send("GET", "/api/v1/runs", &viewer, "").await.status, 200);
    let list = hub.send("GET", "/api/v1/tokens", &ask, "").await;
    assert!(!list.body.contains(text), "a token is shown once");
    hub.clock.pass_ms(3_600_000);
    assert_eq!(hub.send("GET", "/api/v1/runs", &viewer, "").await.status, 401, "expired");

    let made = hub.send("POST", "/api/v1/tokens", &ask, r#"{"scope":"operator","label":"x"}"#).await.json();
    let bearer = format!("Bearer {}", made["data"]["token"].as_str().unwrap());
    let operator = [("Authorization", bearer.as_str())];
    assert_eq!(hub.send("GET", "/api/v1/me", &operator, "").await.json()["data"]["role"], "operator");
    let id = made["data"]["shown_once"]["id"].as_str().unwrap();
    assert_eq!(hub.send("POST", &format!("/api/v1/tokens/{id}/revoke"), &ask, "").await.status, 200);
    assert_eq!(hub.send("GET", "/api/v1/me", &operator, "").await.status, 401, "revoked");
}

#[tokio::test]
async fn nobody_raises_themselves_and_unknown_fields_are_refused() {
    let hub = hub::start().await;
    hub.person("jo", Role::Admin, "a long password").await;
    hub.person("mara", Role::Admin, "a long password").await;
    let (cookie, csrf) = hub.sign_in("jo", "a+long+password").await;
    let headers = [
        ("Cookie", cookie.as_str()),
        ("Content-Type", "application/json"),
        ("Origin", "http://localhost"),
        ("X-CSRF-Token", csrf.as_str()),
    ];
    assert_eq!(hub.send("POST", "/api/v1/people/jo", &headers, r#"{"role":"viewer"}"#).await.status, 409);
    assert_eq!(hub.send("POST", "/api/v1/people/mara", &headers, r#"{"role":"owner"}"#).await.status, 422);
    assert_eq!(hub.send("POST", "/api/v1/people/mara", &headers, r#"{"rights":1}"#).await.status, 422);
    assert_eq!(hub.send("POST", "/api/v1/people/mara", &headers, r#"{"role":"viewer"}"#).await.status, 200);
    hub.clock.pass_ms(6 * 60_000);
    let late = hub.send("POST", "/api/v1/people/mara", &headers, r#"{"role":"operator"}"#).await;
    assert_eq!((late.status, late.json()["code"].as_str()), (403, Some("sign_in_again")));
}
