//! Messages to endpoints, over real sockets of this machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use cathedral_model::config::{Capabilities, Lookup, parse};
use cathedral_model::event::Message;
use cathedral_model::ports::OutgoingStore;
use cathedral_model::ports::outgoing::{Attempted, Outgoing};
use cathedral_store::SqliteStore;
use cathedral_web::notify::post::Limits;
use cathedral_web::notify::sender::{Sender, TAKEN_MS};
use cathedral_web::notify::{Ready, Setup};
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::hub::TestEnv;
use super::receiver::{Receiver, Says, says};
use cathedral_model::ports::Env as _;

struct Secrets;

impl Lookup for Secrets {
    fn env(&self, name: &str) -> Result<String, String> {
        let word = name.to_ascii_lowercase().repeat(32);
        Ok(format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(&word.as_bytes()[..32])))
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("no files here".into())
    }
}

/// Whom to tell: name and address, all with the secret `A`.
fn setup(endpoints: &[(&str, String)], allow: &str) -> Setup {
    let list: Vec<String> = endpoints
        .iter()
        .map(|(name, url)| format!("    - {{ name: {name}, kind: webhook, url: \"{url}\", secret: \"${{A}}\" }}\n"))
        .collect();
    let text = format!(
        "cathedral_ecosystem:\n  master_repository: atlas\n  notifications:\n{}  egress: {{ allow: [{allow}] }}\n",
        list.concat()
    );
    let config = parse(&text, "f", &Secrets, &Capabilities::everything()).unwrap();
    let declared = &config.cathedral_ecosystem;
    Setup {
        ecosystem: "atlas".into(),
        public_url: None,
        allow: declared.allowed(),
        endpoints: declared.endpoints().iter().map(|e| Ready::of(e).unwrap()).collect(),
    }
}

struct Post {
    store: Arc<SqliteStore>,
    env: Arc<TestEnv>,
    sender: Arc<Sender>,
    setup: Setup,
}

impl Post {
    async fn new(endpoints: &[(&str, String)], allow: &str) -> Self {
        let store = Arc::new(SqliteStore::in_memory().await.unwrap());
        let env = Arc::new(TestEnv::default());
        let limits = Limits { connect: Duration::from_secs(2), whole: Duration::from_millis(400), ..Limits::default() };
        let outgoing: Arc<dyn OutgoingStore> = Arc::clone(&store) as _;
        let sender = Arc::new(Sender { outgoing, env: Arc::clone(&env) as _, limits });
        Self { store, env, sender, setup: setup(endpoints, allow) }
    }

    async fn file(&self, key: &str, endpoint: &str) -> Outgoing {
        let message = Message { key: key.into(), topic: "run.failed".into(), payload: json!({ "run": 7 }) };
        let now = self.env.now();
        OutgoingStore::file(self.store.as_ref(), &message, endpoint, now, now).await.unwrap()
    }

    /// Sends what is due, and gives all deliveries, oldest first.
    async fn once(&self) -> Vec<Outgoing> {
        self.sender.once(&self.setup).await.unwrap();
        let mut all = self.store.outgoing(None, 100).await.unwrap();
        all.reverse();
        all
    }

    /// One message to one receiver: how it stands after one try.
    async fn tried(receiver: &Receiver) -> Outgoing {
        let post = Self::new(&[("ops", receiver.url("/in?x=1"))], "127.0.0.1").await;
        post.file("k", "ops").await;
        post.once().await.remove(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_signed_with_the_time_of_the_try() {
    let receiver = Receiver::always("204 No Content");
    let row = Post::tried(&receiver).await;
    assert_eq!((row.state, row.attempts, row.last.as_str()), (Attempted::Delivered, 1, "204 No Content"));
    let came = receiver.all().remove(0);
    assert_eq!(came.line, "POST /in?x=1 HTTP/1.1");
    assert_eq!(came.header("host"), format!("127.0.0.1:{}", receiver.port));
    assert_eq!(came.header("content-type"), "application/json");
    let body = came.json();
    assert_eq!((&body["type"], &body["version"], &body["data"]["run"]), (&json!("run.failed"), &json!(1), &json!(7)));
    assert_eq!(body["timestamp"], row.filed_at.to_rfc3339());
    let signed = came.header("webhook-signature");
    assert!(signed.starts_with("v1,") && !signed.contains(' '), "{signed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_but_success_is_a_reason_to_come_again() {
    for (says, last) in [
        (says("500 Internal Server Error", ""), "500 Internal Server Error"),
        (says("404 Not Found", ""), "404 Not Found"),
        (says("302 Found", "location: http://127.0.0.1:1/\r\n"), "302 Found: redirects are not followed"),
        (Says::Nothing, "no answer within 0 s"),
        (Says::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "the receiver broke off, or does not speak HTTP"),
        (Says::Bytes(vec![]), "the receiver broke off, or does not speak HTTP"),
        (
            Says::Bytes([b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &[b'x'; 1 << 20]].concat()),
            "the receiver broke off, or does not speak HTTP",
        ),
    ] {
        let receiver = Receiver::start(move |_, _| says.clone());
        let row = Post::tried(&receiver).await;
        assert_eq!((row.state, row.attempts, row.last.as_str()), (Attempted::Waiting, 1, last));
        let wait = row.due_at.ms_since(row.filed_at);
        assert!((5_000..=6_000).contains(&wait), "{last}: {wait} ms");
        assert_eq!(receiver.all().len(), 1, "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_holds_nothing_up() {
    let receiver = Receiver::start(|_, _| Says::Endless);
    let began = Instant::now();
    let row = Post::tried(&receiver).await;
    assert_eq!((row.state, row.last.as_str()), (Attempted::Delivered, "200 OK"));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_says_when_to_come_again() {
    let receiver = Receiver::start(|_, _| says("503 Service Unavailable", "retry-after: 1000\r\n"));
    let row = Post::tried(&receiver).await;
    assert_eq!(row.due_at.ms_since(row.filed_at), 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ten_tries_over_three_days_a_person_is_needed() {
    let receiver = Receiver::start(|n, _| says(if n < 10 { "500 No" } else { "200 OK" }, ""));
    let post = Post::new(&[("ops", receiver.url("/"))], "127.0.0.1").await;
    post.file("k", "ops").await;
    for attempt in 1..=10 {
        let row = post.once().await.remove(0);
        assert_eq!(row.attempts, attempt);
        let expected = if attempt < 10 { Attempted::Waiting } else { Attempted::GivenUp };
        assert_eq!(row.state, expected, "{attempt}");
        post.env.pass_ms(i64::try_from(row.due_at.ms_since(post.env.now())).unwrap());
    }
    let came = receiver.all();
    assert!(came.iter().all(|c| c.header("webhook-id") == came[0].header("webhook-id") && c.body == came[0].body));
    assert_ne!(came[0].header("webhook-signature"), came[9].header("webhook-signature"), "the time is signed too");
    let standings = post.store.standings().await.unwrap();
    assert!(standings[0].failing_since.is_some());
    post.store.retry(1, post.env.now()).await.unwrap();
    assert_eq!(post.once().await[0].state, Attempted::Delivered);
    assert_eq!(post.store.standings().await.unwrap()[0].failing_since, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_gone_gets_nothing_new_until_a_person_tries() {
    let receiver = Receiver::start(|n, _| says(if n == 0 { "410 Gone" } else { "200 OK" }, ""));
    let post = Post::new(&[("ops", receiver.url("/"))], "127.0.0.1").await;
    post.file("1", "ops").await;
    assert_eq!(post.once().await[0].state, Attempted::GivenUp);
    post.file("2", "ops").await;
    let all = post.once().await;
    assert_eq!((all[1].state, receiver.all().len()), (Attempted::GivenUp, 1), "{all:?}");
    assert!(post.store.standings().await.unwrap()[0].is_gone());
    post.store.retry(2, post.env.now()).await.unwrap();
    assert_eq!(post.once().await[1].state, Attempted::Delivered);
    post.file("3", "ops").await;
    assert_eq!(post.once().await[2].state, Attempted::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_listed_is_not_called() {
    let receiver = Receiver::always("200 OK");
    // A name that stands for this machine: seen only when it is resolved.
    for allow in ["", "10.0.0.0/8", "\"127.0.0.1:1\"", "\"localhost:1\""] {
        let post = Post::new(&[("ops", format!("http://localhost:{}/", receiver.port))], allow).await;
        post.file("k", "ops").await;
        let row = post.once().await.remove(0);
        assert!(row.last.starts_with("not sent: ") && row.last.contains("this machine"), "{allow}: {}", row.last);
        assert_eq!(row.state, Attempted::Waiting);
    }
    assert!(receiver.all().is_empty(), "no connection was made");
    let post = Post::new(&[("ops", format!("http://localhost:{}/", receiver.port))], "localhost").await;
    post.file("k", "ops").await;
    assert_eq!(post.once().await[0].state, Attempted::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_slow_holds_no_other_up() {
    let slow = Receiver::start(|_, _| Says::Nothing);
    let quick = Receiver::always("200 OK");
    let post = Post::new(&[("slow", slow.url("/")), ("quick", quick.url("/"))], "127.0.0.1").await;
    for n in 0..40 {
        post.file(&format!("s{n}"), "slow").await;
    }
    post.file("q", "quick").await;
    let (stop, stopped) = watch::channel(false);
    let (_setup, in_force) = watch::channel(Arc::new(post.setup.clone()));
    let running = tokio::spawn(Arc::clone(&post.sender).run(in_force, Arc::new(Notify::new()), |_| {}, stopped));
    quick.wait("the quick one's", |came| came.first().cloned());
    assert!(slow.all().len() <= 8, "at most four at a time: {}", slow.all().len());
    stop.send(true).unwrap();
    running.await.unwrap();
    let all = post.store.outgoing(None, 100).await.unwrap();
    assert!(
        all.iter().all(|row| row.endpoint != "slow" || row.attempts == u32::from(row.last.starts_with("no answer")))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_is_declared_for_is_given_up_and_a_burst_is_sent_at_once() {
    let receiver = Receiver::always("200 OK");
    let post = Post::new(&[("ops", receiver.url("/"))], "127.0.0.1").await;
    post.file("gone", "removed").await;
    for n in 0..30 {
        post.file(&format!("m{n}"), "ops").await;
    }
    let (stop, stopped) = watch::channel(false);
    let (_setup, in_force) = watch::channel(Arc::new(post.setup.clone()));
    let running = tokio::spawn(Arc::clone(&post.sender).run(in_force, Arc::new(Notify::new()), |_| {}, stopped));
    receiver.wait("all", |came| (came.len() == 30).then(|| came[0].clone()));
    stop.send(true).unwrap();
    running.await.unwrap();
    let all = post.store.outgoing(None, 100).await.unwrap();
    let given_up: Vec<&Outgoing> = all.iter().filter(|row| row.state == Attempted::GivenUp).collect();
    assert_eq!(given_up.len(), 1);
    assert!(given_up[0].last.contains("no such endpoint"), "{given_up:?}");
    assert!(all.iter().all(|row| row.endpoint == "removed" || row.state == Attempted::Delivered));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_on_one_store_send_each_message_once() {
    let receiver = Receiver::always("200 OK");
    let post = Post::new(&[("ops", receiver.url("/"))], "127.0.0.1").await;
    for n in 0..60 {
        post.file(&format!("m{n}"), "ops").await;
    }
    let limits = Limits { whole: Duration::from_secs(20), ..Limits::default() };
    let outgoing: Arc<dyn OutgoingStore> = Arc::clone(&post.store) as _;
    let other = Sender { outgoing, env: Arc::clone(&post.env) as _, limits };
    let (one, two) = tokio::join!(post.sender.once(&post.setup), other.once(&post.setup));
    one.unwrap();
    two.unwrap();
    let mut ids: Vec<String> = receiver.all().iter().map(|c| c.header("webhook-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((receiver.all().len(), ids.len()), (60, 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_dies_leaves_it_to_the_next_under_the_same_id() {
    let receiver = Receiver::start(|n, _| if n == 0 { Says::Nothing } else { says("200 OK", "") });
    let post = Post::new(&[("ops", receiver.url("/"))], "127.0.0.1").await;
    post.file("k", "ops").await;
    let dying = {
        let (sender, setup) = (Arc::clone(&post.sender), post.setup.clone());
        tokio::spawn(async move { sender.once(&setup).await })
    };
    receiver.wait("the first", |came| came.first().cloned());
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    let row = post.once().await.remove(0);
    assert_eq!((row.state, row.attempts, receiver.all().len()), (Attempted::Waiting, 0, 1), "still taken");
    post.env.pass_ms(i64::try_from(TAKEN_MS).unwrap());
    assert_eq!(post.once().await[0].state, Attempted::Delivered);
    let came = receiver.all();
    assert_eq!(came[0].header("webhook-id"), came[1].header("webhook-id"));
    assert_eq!(came[0].body, came[1].body);
}
