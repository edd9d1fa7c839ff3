//! People, sessions, links, tokens.

use cathedral_model::access::{Invitation, Person, Role, Session, Token};
use cathedral_model::ports::Cause;
use futures_util::future::join_all;

use super::{Subject, assert_permanent, at, digest};
use crate::contracts::store::promises;

promises! {
    people_are_listed_by_name,
    the_last_enabled_admin_stays,
    of_two_last_admins_one_stays,
    a_name_that_is_not_plain_is_refused,
    a_session_lives_until_it_expires,
    a_session_has_the_role_of_now,
    a_change_of_role_or_password_ends_sessions,
    a_disabled_person_has_no_way_in,
    a_used_session_is_noted,
    sessions_are_closed,
    a_session_is_of_somebody,
    a_link_works_once,
    a_new_link_ends_the_earlier_one,
    what_expired_is_forgotten,
    a_token_lives_until_it_is_revoked,
    a_token_expires,
    tokens_are_listed_newest_first,
}

fn person(name: &str, role: Role) -> Person {
    let password = Some(format!("$argon2id${name}"));
    Person { name: name.to_owned(), role, password, created_at: at(0), disabled: false }
}

/// Two people: ada, the admin, and bob.
async fn people(hub: &Subject) -> (Person, Person) {
    let (ada, bob) = (person("ada", Role::Admin), person("bob", Role::Viewer));
    hub.put_person(&ada, at(0)).await.expect("the contract holds");
    hub.put_person(&bob, at(0)).await.expect("the contract holds");
    (ada, bob)
}

fn session(secret: &str, person: &str) -> Session {
    Session {
        secret: digest(secret),
        person: person.to_owned(),
        created_at: at(1),
        signed_in_at: at(1),
        seen_at: at(1),
        expires_at: at(100),
    }
}

async fn open(hub: &Subject, secret: &str, person: &str) {
    hub.open_session(&session(secret, person)).await.expect("the contract holds");
}

async fn lives(hub: &Subject, secret: &str) -> bool {
    hub.session(&digest(secret), at(2)).await.expect("the contract holds").is_some()
}

fn link(secret: &str, person: &str, expires: i64) -> Invitation {
    Invitation { secret: digest(secret), person: person.to_owned(), expires_at: at(expires) }
}

fn token(id: &str, created: i64) -> Token {
    Token {
        id: id.to_owned(),
        secret: digest(id),
        label: "ci ☃".to_owned(),
        scope: Role::Operator,
        created_by: "ada".to_owned(),
        created_at: at(created),
        expires_at: None,
        used_at: None,
        revoked_at: None,
    }
}

async fn people_are_listed_by_name(hub: Subject) {
    assert!(hub.people().await.expect("the contract holds").is_empty());
    assert_eq!(hub.person("ada").await.expect("the contract holds"), None);
    let (ada, bob) = people(&hub).await;
    let aa = Person { password: None, ..person("a_a", Role::Operator) };
    hub.put_person(&aa, at(1)).await.expect("the contract holds");
    assert_eq!(hub.people().await.expect("the contract holds"), [aa, ada.clone(), bob]);
    assert_eq!(hub.person("ada").await.expect("the contract holds"), Some(ada));
    assert_eq!(hub.person("Ada").await.expect("the contract holds"), None);
}

async fn the_last_enabled_admin_stays(hub: Subject) {
    assert_permanent(hub.put_person(&person("bob", Role::Viewer), at(0)).await, Cause::Refused);
    let (ada, bob) = people(&hub).await;
    open(&hub, "s", "ada").await;
    let demoted = Person { role: Role::Operator, ..ada.clone() };
    let disabled = Person { disabled: true, ..ada.clone() };
    for change in [&demoted, &disabled] {
        assert_permanent(hub.put_person(change, at(1)).await, Cause::Refused);
        assert_eq!(hub.person("ada").await.expect("the contract holds").as_ref(), Some(&ada));
        assert!(lives(&hub, "s").await, "what is refused ends no session");
    }
    hub.put_person(&Person { role: Role::Admin, disabled: true, ..bob.clone() }, at(2))
        .await
        .expect("the contract holds");
    assert_permanent(hub.put_person(&demoted, at(3)).await, Cause::Refused);
    hub.put_person(&Person { role: Role::Admin, ..bob }, at(4)).await.expect("the contract holds");
    hub.put_person(&demoted, at(5)).await.expect("the contract holds");
    assert!(!lives(&hub, "s").await);
}

async fn of_two_last_admins_one_stays(hub: Subject) {
    let both = [person("ada", Role::Admin), person("bob", Role::Admin)];
    for person in &both {
        hub.put_person(person, at(0)).await.expect("the contract holds");
    }
    let demoted = both.map(|person| Person { role: Role::Viewer, ..person });
    let found = join_all(demoted.iter().map(|person| hub.put_person(person, at(1)))).await;
    assert_eq!(found.iter().filter(|f| f.is_ok()).count(), 1, "{found:?}");
    let admins = hub.people().await.expect("the contract holds").into_iter().filter(|p| p.role == Role::Admin);
    assert_eq!(admins.count(), 1);
}

async fn a_name_that_is_not_plain_is_refused(hub: Subject) {
    for name in ["", "Ada", "a b", "-a", "a\0b", "<b>"] {
        assert_permanent(hub.put_person(&person(name, Role::Admin), at(0)).await, Cause::Invalid);
    }
    assert!(hub.people().await.expect("the contract holds").is_empty());
}

async fn a_session_lives_until_it_expires(hub: Subject) {
    people(&hub).await;
    open(&hub, "s", "bob").await;
    let found = hub.session(&digest("s"), at(99)).await.expect("the contract holds");
    assert_eq!(found, Some((session("s", "bob"), Role::Viewer)));
    assert_eq!(hub.session(&digest("s"), at(100)).await.expect("the contract holds"), None);
    assert_eq!(hub.session(&digest("t"), at(2)).await.expect("the contract holds"), None);
}

async fn a_session_has_the_role_of_now(hub: Subject) {
    let (_, bob) = people(&hub).await;
    hub.put_person(&Person { role: Role::Operator, ..bob }, at(1)).await.expect("the contract holds");
    open(&hub, "s", "bob").await;
    assert_eq!(
        hub.session(&digest("s"), at(2)).await.expect("the contract holds").expect("the contract holds").1,
        Role::Operator
    );
}

async fn a_change_of_role_or_password_ends_sessions(hub: Subject) {
    let (ada, bob) = people(&hub).await;
    open(&hub, "of ada", "ada").await;
    let changes = [
        Person { role: Role::Admin, ..bob.clone() },
        Person { role: Role::Viewer, ..bob.clone() },
        Person { password: Some("$argon2id$other".to_owned()), ..bob.clone() },
        Person { password: None, ..bob.clone() },
        Person { disabled: true, password: None, ..bob },
    ];
    for (number, change) in changes.iter().enumerate() {
        let secret = format!("s{number}");
        open(&hub, &secret, "bob").await;
        hub.put_person(change, at(2)).await.expect("the contract holds");
        assert!(!lives(&hub, &secret).await, "{change:?}");
    }
    hub.put_person(&ada, at(3)).await.expect("the contract holds");
    assert!(lives(&hub, "of ada").await, "nothing was changed for ada");
}

async fn a_disabled_person_has_no_way_in(hub: Subject) {
    let (_, bob) = people(&hub).await;
    open(&hub, "s", "bob").await;
    hub.invite(&link("l", "bob", 100), at(1)).await.expect("the contract holds");
    hub.put_person(&Person { disabled: true, ..bob.clone() }, at(1)).await.expect("the contract holds");
    assert!(!lives(&hub, "s").await);
    assert_permanent(hub.open_session(&session("t", "bob")).await, Cause::Refused);
    assert_permanent(hub.invite(&link("m", "bob", 100), at(2)).await, Cause::Refused);
    assert_eq!(hub.redeem(&digest("l"), "$x", at(2)).await.expect("the contract holds"), None);
    hub.put_person(&bob, at(3)).await.expect("the contract holds");
    assert!(!lives(&hub, "s").await, "what was ended stays ended");
    assert_eq!(hub.invitation(&digest("l"), at(3)).await.expect("the contract holds"), None);
}

async fn a_used_session_is_noted(hub: Subject) {
    people(&hub).await;
    open(&hub, "s", "bob").await;
    hub.touch_session(&digest("s"), None, at(5)).await.expect("the contract holds");
    let seen = Session { seen_at: at(5), ..session("s", "bob") };
    assert_eq!(
        hub.session(&digest("s"), at(6)).await.expect("the contract holds").expect("the contract holds").0,
        seen
    );
    hub.touch_session(&digest("s"), Some(at(7)), at(8)).await.expect("the contract holds");
    let anew = Session { seen_at: at(8), signed_in_at: at(7), ..seen };
    assert_eq!(
        hub.session(&digest("s"), at(9)).await.expect("the contract holds").expect("the contract holds").0,
        anew
    );
    hub.touch_session(&digest("unknown"), None, at(5)).await.expect("the contract holds");
}

async fn sessions_are_closed(hub: Subject) {
    people(&hub).await;
    for secret in ["1", "2", "3"] {
        open(&hub, secret, "bob").await;
    }
    open(&hub, "of ada", "ada").await;
    hub.close_session(&digest("1")).await.expect("the contract holds");
    hub.close_session(&digest("1")).await.expect("the contract holds");
    assert!(!lives(&hub, "1").await && lives(&hub, "2").await);
    assert_eq!(hub.close_sessions("bob").await.expect("the contract holds"), 2);
    assert_eq!(hub.close_sessions("nobody").await.expect("the contract holds"), 0);
    assert!(!lives(&hub, "2").await && lives(&hub, "of ada").await);
}

async fn a_session_is_of_somebody(hub: Subject) {
    people(&hub).await;
    assert_permanent(hub.open_session(&session("s", "nobody")).await, Cause::NotFound);
    assert_permanent(hub.invite(&link("l", "nobody", 100), at(1)).await, Cause::NotFound);
    open(&hub, "s", "bob").await;
    assert_permanent(hub.open_session(&session("s", "ada")).await, Cause::Refused);
    assert_eq!(
        hub.session(&digest("s"), at(2)).await.expect("the contract holds").expect("the contract holds").0.person,
        "bob"
    );
}

async fn a_link_works_once(hub: Subject) {
    let (_, bob) = people(&hub).await;
    open(&hub, "s", "bob").await;
    hub.invite(&link("l", "bob", 50), at(1)).await.expect("the contract holds");
    assert_eq!(hub.invitation(&digest("l"), at(2)).await.expect("the contract holds"), Some(link("l", "bob", 50)));
    assert_eq!(hub.invitation(&digest("l"), at(50)).await.expect("the contract holds"), None);
    assert_eq!(hub.redeem(&digest("l"), "$late", at(50)).await.expect("the contract holds"), None);
    assert_eq!(hub.redeem(&digest("m"), "$other", at(2)).await.expect("the contract holds"), None);
    assert!(lives(&hub, "s").await);
    let secret = digest("l");
    let found = join_all(["$a", "$b"].map(|password| hub.redeem(&secret, password, at(3)))).await;
    let found: Vec<Person> = found.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(found.len(), 1, "one of two gets in");
    assert_eq!(found[0], Person { password: found[0].password.clone(), ..bob });
    assert_eq!(hub.person("bob").await.expect("the contract holds").as_ref(), Some(&found[0]));
    assert_eq!(hub.invitation(&digest("l"), at(3)).await.expect("the contract holds"), None);
    assert!(!lives(&hub, "s").await, "a new password ends sessions");
}

async fn a_new_link_ends_the_earlier_one(hub: Subject) {
    people(&hub).await;
    hub.invite(&link("of ada", "ada", 50), at(1)).await.expect("the contract holds");
    hub.invite(&link("1", "bob", 50), at(1)).await.expect("the contract holds");
    hub.invite(&link("2", "bob", 60), at(2)).await.expect("the contract holds");
    assert_eq!(hub.invitation(&digest("1"), at(3)).await.expect("the contract holds"), None);
    assert!(hub.invitation(&digest("2"), at(3)).await.expect("the contract holds").is_some());
    assert!(hub.invitation(&digest("of ada"), at(3)).await.expect("the contract holds").is_some());
}

async fn what_expired_is_forgotten(hub: Subject) {
    people(&hub).await;
    open(&hub, "s", "bob").await;
    hub.open_session(&Session { expires_at: at(200), ..session("t", "bob") }).await.expect("the contract holds");
    hub.invite(&link("l", "bob", 90), at(1)).await.expect("the contract holds");
    hub.invite(&link("m", "ada", 200), at(1)).await.expect("the contract holds");
    assert_eq!(hub.forget_expired(at(80)).await.expect("the contract holds"), 0);
    assert_eq!(hub.forget_expired(at(100)).await.expect("the contract holds"), 2);
    assert_eq!(hub.forget_expired(at(100)).await.expect("the contract holds"), 0);
    assert!(!lives(&hub, "s").await && lives(&hub, "t").await);
    assert!(hub.invitation(&digest("m"), at(100)).await.expect("the contract holds").is_some());
}

async fn a_token_lives_until_it_is_revoked(hub: Subject) {
    let ci = token("ci", 1);
    hub.add_token(&ci).await.expect("the contract holds");
    assert_permanent(hub.add_token(&Token { secret: digest("x"), ..ci.clone() }).await, Cause::Refused);
    assert_permanent(hub.add_token(&Token { id: "x".to_owned(), ..ci.clone() }).await, Cause::Refused);
    assert_eq!(hub.token(&ci.secret, at(1_000_000)).await.expect("the contract holds").as_ref(), Some(&ci));
    hub.touch_token("ci", at(5)).await.expect("the contract holds");
    hub.touch_token("unknown", at(5)).await.expect("the contract holds");
    assert_eq!(
        hub.token(&ci.secret, at(6)).await.expect("the contract holds").expect("the contract holds").used_at,
        Some(at(5))
    );
    let revoked = hub.revoke_token("ci", at(7)).await.expect("the contract holds");
    assert_eq!(revoked.revoked_at, Some(at(7)));
    assert_eq!(hub.token(&ci.secret, at(6)).await.expect("the contract holds"), None);
    assert_eq!(hub.revoke_token("ci", at(8)).await.expect("the contract holds"), revoked, "the first revocation stays");
    assert_permanent(hub.revoke_token("unknown", at(7)).await, Cause::NotFound);
}

async fn a_token_expires(hub: Subject) {
    let short = Token { expires_at: Some(at(50)), ..token("ci", 1) };
    hub.add_token(&short).await.expect("the contract holds");
    assert_eq!(hub.token(&short.secret, at(49)).await.expect("the contract holds"), Some(short.clone()));
    assert_eq!(hub.token(&short.secret, at(50)).await.expect("the contract holds"), None);
    assert_eq!(hub.token(&digest("unknown"), at(2)).await.expect("the contract holds"), None);
}

async fn tokens_are_listed_newest_first(hub: Subject) {
    for (id, created) in [("a", 2), ("b", 3), ("c", 1)] {
        hub.add_token(&token(id, created)).await.expect("the contract holds");
    }
    hub.revoke_token("a", at(9)).await.expect("the contract holds");
    let ids: Vec<String> = hub.tokens().await.expect("the contract holds").into_iter().map(|t| t.id).collect();
    assert_eq!(ids, ["b", "a", "c"], "revoked ones too");
}
