//! Signing in with cookies: links, sessions, forms.

use cathedral_model::access::Role;
use cathedral_web::auth::welcome;

use super::hub;

const WORD: &str = "a+long+password";

#[tokio::test]
async fn the_first_admin_comes_in_by_a_link_that_works_once() {
    let hub = hub::start().await;
    let (accounts, env) = (hub.state.ports.accounts.as_ref(), hub.state.env.as_ref());
    let first = welcome::first_admin(accounts, env).await.unwrap().unwrap();
    let link = welcome::first_admin(accounts, env).await.unwrap().unwrap();
    let html = [("Accept", "text/html")];
    assert_eq!(hub.send("GET", &first, &html, "").await.status, 404, "a newer link ends the older");
    let page = hub.send("GET", &link, &html, "").await;
    assert!(page.status == 200 && page.body.contains("Welcome, admin"), "{page:?}");
    assert_eq!(hub.post_form(&link, "", "password=short&again=short").await.status, 422);
    assert_eq!(hub.post_form(&link, "", &format!("password={WORD}&again=another+long+one")).await.status, 422);
    let done = hub.post_form(&link, "", &format!("password={WORD}&again={WORD}")).await;
    assert_eq!((done.status, done.header("location")), (303, "/"), "{done:?}");
    let cookie = done.cookie();
    let me = hub.send("GET", "/api/v1/me", &[("Cookie", &cookie)], "").await.json();
    assert_eq!((me["data"]["name"].as_str(), me["data"]["role"].as_str()), (Some("admin"), Some("admin")));
    assert_eq!(hub.post_form(&link, "", &format!("password={WORD}&again={WORD}")).await.status, 404);
    assert_eq!(hub.send("GET", &link, &html, "").await.status, 404);
    assert_eq!(welcome::first_admin(accounts, env).await.unwrap(), None, "somebody can sign in now");
    let (_, _) = hub.sign_in("admin", WORD).await;
}

#[tokio::test]
async fn a_page_sends_strangers_to_the_door_and_back() {
    let hub = hub::start().await;
    hub.person("jo", Role::Viewer, "a long password").await;
    let away = hub.send("GET", "/?x=1", &[("Accept", "text/html")], "").await;
    assert_eq!((away.status, away.header("location")), (303, "/sign-in?next=/%3Fx%3D1"));
    let back = hub.post_form("/sign-in", "", &format!("name=Jo&password={WORD}&next=%2F%3Fx%3D1")).await;
    assert_eq!((back.status, back.header("location")), (303, "/?x=1"));
    let evil = hub.post_form("/sign-in", "", &format!("name=jo&password={WORD}&next=%2F%2Fevil.example")).await;
    assert_eq!(evil.header("location"), "/");
    for (name, word) in [("jo", "wrong+password+1"), ("nobody", WORD), ("root", "")] {
        let reply = hub.post_form("/sign-in", "", &format!("name={name}&password={word}")).await;
        assert_eq!((reply.status, reply.header("set-cookie")), (401, ""), "{name}");
        assert!(reply.body.contains("Name or password is not right."));
    }
}

#[tokio::test]
async fn a_session_is_new_at_sign_in_and_ends_by_sign_out_idleness_and_age() {
    let hub = hub::start().await;
    hub.person("jo", Role::Admin, "a long password").await;
    let planted = format!("cathedral={}", "A".repeat(43));
    let reply = hub.post_form("/sign-in", &planted, &format!("name=jo&password={WORD}")).await;
    assert!(reply.cookie() != planted && reply.header("set-cookie").contains("HttpOnly; SameSite=Lax"));
    let (cookie, csrf) = hub.sign_in("jo", WORD).await;
    let works = async |cookie: &str| hub.send("GET", "/api/v1/me", &[("Cookie", cookie)], "").await.status == 200;
    assert!(works(&cookie).await);
    assert_eq!(hub.post_form("/sign-out", &cookie, "").await.status, 403, "a form without its token");
    let out = hub.post_form("/sign-out", &cookie, &format!("csrf={csrf}")).await;
    assert_eq!((out.status, out.header("location")), (303, "/sign-in"));
    assert!(!works(&cookie).await, "signed out");

    let (cookie, _) = hub.sign_in("jo", WORD).await;
    for _ in 0..3 {
        hub.clock.pass_ms(11 * 3_600_000);
        assert!(works(&cookie).await, "used within 12 hours");
    }
    hub.clock.pass_ms(12 * 3_600_000);
    assert!(!works(&cookie).await, "not used for 12 hours");

    let (cookie, _) = hub.sign_in("jo", WORD).await;
    let mut hours = 0;
    while works(&cookie).await {
        hub.clock.pass_ms(11 * 3_600_000);
        hours += 11;
    }
    assert!((7 * 24..=8 * 24).contains(&hours), "{hours} h: used or not, a session ends");
}

#[tokio::test]
async fn changes_come_from_pages_of_the_hub_only() {
    let hub = hub::start().await;
    hub.person("jo", Role::Operator, "a long password").await;
    let (cookie, csrf) = hub.sign_in("jo", WORD).await;
    let (_, other) = hub.sign_in("jo", WORD).await;
    let ask = async |headers: &[(&str, &str)]| {
        let mut all = vec![("Cookie", cookie.as_str())];
        all.extend_from_slice(headers);
        hub.send("POST", "/api/v1/runs", &all, "{}").await
    };
    let (json, own) = (("Content-Type", "application/json"), ("Origin", "http://localhost"));
    let token = ("X-CSRF-Token", csrf.as_str());
    for (name, headers) in [
        ("nothing", vec![json]),
        ("no token", vec![json, own]),
        ("no origin", vec![json, token]),
        ("another session's token", vec![json, own, ("X-CSRF-Token", other.as_str())]),
        ("foreign origin", vec![json, token, ("Origin", "https://evil.example")]),
        ("null origin", vec![json, token, ("Origin", "null")]),
        ("another port", vec![json, token, ("Origin", "http://localhost:1")]),
        ("cross site", vec![json, token, own, ("Sec-Fetch-Site", "cross-site")]),
        ("same site", vec![json, token, own, ("Sec-Fetch-Site", "same-site")]),
        ("text/plain", vec![("Content-Type", "text/plain"), own]),
    ] {
        let reply = ask(&headers).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (403, Some("cross_site")), "{name}");
    }
    assert!(
        hub.send("GET", "/api/v1/runs", &[("Cookie", &cookie)], "").await.json()["data"]["runs"]
            == serde_json::json!([])
    );
    let good = ask(&[json, own, token]).await;
    assert_eq!((good.status, good.header("location")), (202, "/api/v1/runs/1"), "{good:?}");
    assert_eq!(ask(&[json, token, ("Sec-Fetch-Site", "same-origin")]).await.status, 202);
}

#[tokio::test]
async fn behind_https_the_cookie_is_bound_to_the_host() {
    let hub = hub::start_with(hub::quick(), Some("https://hub.example:8443")).await;
    hub.person("jo", Role::Admin, "a long password").await;
    let headers = [
        ("Host", "hub.example:8443"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Origin", "https://hub.example:8443"),
    ];
    let reply = hub.send("POST", "/sign-in", &headers, &format!("name=jo&password={WORD}")).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    let set = reply.header("set-cookie");
    assert!(set.starts_with("__Host-cathedral=") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{set}");
    assert!(reply.header("strict-transport-security").starts_with("max-age="));
    let plain = [
        ("Host", "hub.example:8443"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Origin", "http://hub.example:8443"),
    ];
    assert_eq!(hub.send("POST", "/sign-in", &plain, "name=jo&password=x").await.status, 403);
}
