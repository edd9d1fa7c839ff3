//! Measures acknowledged records per second with one writer and with many.
//!
//! `cargo run --release -p cathedral-store --example commits -- FOLDER`, or with the feature
//! `postgres` and the address of an empty database instead of the folder.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cathedral_model::ids::{NodeId, Seq, SpokeName};
use cathedral_model::ports::store::{Record, Store};
use cathedral_model::run::{Priority, Request, RunSummary, SyncRequest, Work};
use cathedral_model::time::Timestamp;
use cathedral_store::SqliteStore;

const SPAN: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = std::env::args().nth(1).ok_or("usage: commits FOLDER|postgres://…")?;
    let store = open(&place).await?;
    for writers in [1, 64] {
        let before = Instant::now();
        let tasks: Vec<_> =
            (0..writers).map(|n| tokio::spawn(write(store.clone(), format!("w{writers}-{n}")))).collect();
        let mut records = 0;
        for task in tasks {
            records += task.await??;
        }
        let per_second = f64::from(records) / before.elapsed().as_secs_f64();
        println!("row=store_records writers={writers} ours={per_second:.0}/s");
    }
    Ok(())
}

async fn open(place: &str) -> Result<Arc<dyn Store>, Box<dyn Error>> {
    #[cfg(feature = "postgres")]
    if place.starts_with("postgres") {
        return Ok(Arc::new(cathedral_store::PostgresStore::connect(place).await?));
    }
    let before = Instant::now();
    let path = std::path::Path::new(place).join("commits.db");
    SqliteStore::open(&path).await?.close().await;
    println!("row=store_create ours={:.1}ms", before.elapsed().as_secs_f64() * 1e3);
    let before = Instant::now();
    let store = SqliteStore::open(&path).await?;
    println!("row=store_open ours={:.1}ms", before.elapsed().as_secs_f64() * 1e3);
    Ok(Arc::new(store))
}

/// One run with as many records as fit into the span.
async fn write(store: Arc<dyn Store>, name: String) -> Result<u32, String> {
    let text = |e: cathedral_model::ports::PortError| e.to_string();
    let spokes = vec![SpokeName::new(&name).map_err(|e| e.to_string())?];
    let work = Work::Sync(SyncRequest { spokes, ..SyncRequest::default() });
    store
        .enqueue(&Request { priority: Priority::Manual, cause: name.clone(), work }, Timestamp(0))
        .await
        .map_err(text)?;
    let claim = store.claim(&NodeId::new(&name), Timestamp(0), 3_600_000).await.map_err(text)?;
    let claim = claim.ok_or("nothing to claim")?;
    let start = Instant::now();
    let mut seq = 0;
    while start.elapsed() < SPAN {
        let record = Record {
            seq: Seq(seq.into()),
            event: serde_json::json!({ "event": "pinned", "spoke": name }),
            summary: RunSummary::default(),
            effects: vec![],
            events: vec![],
            messages: vec![],
            finished: false,
        };
        store.record(&claim, &record, Timestamp(i64::from(seq))).await.map_err(text)?;
        seq += 1;
    }
    Ok(seq)
}
