//! Measures accepted deliveries per second with one sender and with many.
//!
//! `cargo run --release -p cathedral-store --example deliveries -- FOLDER`, or with the feature
//! `postgres` and the address of an empty database instead of the folder.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cathedral_model::ids::Digest;
use cathedral_model::intake::{Delivery, Hint};
use cathedral_model::ports::Intake;
use cathedral_model::time::Timestamp;
use cathedral_store::SqliteStore;

const SPAN: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = std::env::args().nth(1).ok_or("usage: deliveries FOLDER|postgres://…")?;
    let store = open(&place).await?;
    for senders in [1, 64] {
        let before = Instant::now();
        let tasks: Vec<_> = (0..senders).map(|n| tokio::spawn(send(store.clone(), format!("{senders}-{n}")))).collect();
        let (mut count, mut slowest) = (0, Duration::ZERO);
        for task in tasks {
            let (sent, longest) = task.await??;
            count += sent;
            slowest = slowest.max(longest);
        }
        let per_second = f64::from(count) / before.elapsed().as_secs_f64();
        let slowest = slowest.as_secs_f64() * 1e3;
        println!("row=store_deliveries senders={senders} ours={per_second:.0}/s slowest={slowest:.1}ms");
    }
    Ok(())
}

async fn open(place: &str) -> Result<Arc<dyn Intake>, Box<dyn Error>> {
    #[cfg(feature = "postgres")]
    if place.starts_with("postgres") {
        return Ok(Arc::new(cathedral_store::PostgresStore::connect(place).await?));
    }
    let path = std::path::Path::new(place).join("deliveries.db");
    Ok(Arc::new(SqliteStore::open(&path).await?))
}

/// As many deliveries, one after the other, as fit into the span; and the longest wait.
async fn send(store: Arc<dyn Intake>, name: String) -> Result<(u32, Duration), String> {
    let start = Instant::now();
    let (mut count, mut longest) = (0, Duration::ZERO);
    while start.elapsed() < SPAN {
        let hint = Hint {
            repository: Some("ada/stone-grimoire".to_owned()),
            urls: vec!["https://forge.example/ada/stone-grimoire.git".to_owned()],
            reference: Some("refs/heads/main".to_owned()),
            ..Hint::default()
        };
        let delivery = Delivery {
            source: "github".to_owned(),
            id: format!("{name}-{count}"),
            event: "push".to_owned(),
            hint,
            body_digest: Digest::of(name.as_bytes()),
            body_bytes: 8_000,
        };
        let before = Instant::now();
        store.accept(&delivery, Timestamp(i64::from(count))).await.map_err(|e| e.to_string())?;
        longest = longest.max(before.elapsed());
        count += 1;
    }
    Ok((count, longest))
}
